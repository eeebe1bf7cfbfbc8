"""What the bus' own commands do, kept like every other action: who, as the account of this machine.

A command is the way in when all else is down, so a database that is away stops no pause; it is said instead.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from bus.errors import BusError, one_line
from bus.management.groups import Act, operator
from dashboard.actions import audit
from dashboard.actions.audit import Actor, Outcome, Wanted
from dashboard.actions.models import Action
from dashboard.actions.roles import Deed

log = logging.getLogger("dashboard.actions")


@contextmanager
def kept(act: Act) -> Iterator[None]:
    """Record the act before it is done, and what became of it."""
    action = _begun(act)
    try:
        yield
    except (BusError, CommandError) as error:
        _ended(action, "failed", Outcome(one_line(error)))
        raise
    except BaseException as error:
        _ended(action, "cancelled", Outcome(f"stopped half-way: {type(error).__name__}"))
        raise
    _ended(action, "done", Outcome(act.told, act.events, act.count))


def _begun(act: Act) -> Action | None:
    wanted = Wanted(Deed(act.deed), act.topic, act.group, act.reason, act.filter)
    if _has_no_record():
        return None
    try:
        return audit.begin(Actor(operator(), "command line"), wanted)
    except DatabaseError as error:
        log.warning("this %s will not be on the Activity page, the database can't take it: %s", act.deed, error)
        return None


def _has_no_record() -> bool:
    """Whether nothing is recorded on this machine: a service's, that has the bus alone. Then no page is missing it."""
    if connection.vendor == "sqlite" and not Path(connection.settings_dict["NAME"]).exists():
        return True  # and asking would make one
    try:
        with connection.cursor() as cursor:
            return Action._meta.db_table not in connection.introspection.table_names(cursor)
    except DatabaseError:
        return False  # there may be one, and it is away: that is said


def _ended(action: Action | None, result: str, outcome: Outcome) -> None:
    if action is not None:
        audit.end(action, result, outcome)
