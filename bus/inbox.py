"""Effects once: a handler's database work and the note that it was done commit together, or neither does.

At-least-once delivery hands an event to its handler again when a worker dies after the work and before that
is settled. With `inbox=True` the second time finds the note and changes nothing. Holds for what the handler
writes through Django to the same database; for effects elsewhere, pass `event.id` on as an idempotency key.
Source: "Idempotent Receiver", Hohpe and Woolf, Enterprise Integration Patterns.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from bus.errors import ConfigError
from bus.event import Event

KEPT_DAYS: Final = 30  # longer than any event is kept waiting, and than ids are deduplicated
MAX_ID: Final = 512
PURGED_AT_ONCE: Final = 1_000
_INSERT: Final = (
    'INSERT INTO bus_inboxentry ("group", topic, event_id, run, done_at) VALUES (%s, %s, %s, %s, %s)'
    " ON CONFLICT DO NOTHING"
)

log = logging.getLogger("bus.inbox")


def run_once(group: str, handler: Callable[[Event], object], event: Event) -> None:
    """Call the handler in a transaction of the default database, unless it has handled this event before.

    Moving the group back past the event is what asks for its effects again: that begins another `run`.

    Raises what the handler raises; then neither its work nor the note is kept.
    """
    from django.db import close_old_connections, connection, transaction
    from django.utils import timezone

    close_old_connections()
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(_INSERT, [group, event.topic, noted_id(event.id), event.run, timezone.now()])
                fresh = cursor.rowcount == 1
            if fresh:
                handler(event)
            else:
                log.info("%s was done before; its effects are not repeated", event.id)
    finally:
        close_old_connections()


def noted_id(event_id: str) -> str:
    """The id as any database can hold it: a stranger's may be long, or have what PostgreSQL refuses."""
    plain = event_id.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    if len(plain) <= MAX_ID:
        return plain
    return f"{plain[:400]}…{hashlib.blake2b(plain.encode(), digest_size=16).hexdigest()}"


def purge() -> int:
    """Forget notes older than 30 days, up to 1,000 at a time. Result: how many."""
    from django.db import close_old_connections
    from django.utils import timezone

    from bus.models import InboxEntry

    close_old_connections()
    old = InboxEntry.objects.filter(done_at__lt=timezone.now() - timedelta(days=KEPT_DAYS))
    count = InboxEntry.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:PURGED_AT_ONCE])).delete()[0]
    close_old_connections()
    return count


def check_usable() -> None:
    """Raise `ConfigError` unless this program runs Django with the bus among its apps."""
    if not has_tables():
        raise ConfigError(
            "expected Django with 'bus' in INSTALLED_APPS for a subscription with inbox=True, got a program without"
            " it; start the worker by 'manage.py worker', or leave inbox out"
        )


def has_tables() -> bool:
    """Whether this program runs Django with the bus among its apps."""
    try:
        from django.apps import apps
    except ImportError:
        return False
    return apps.models_ready and apps.is_installed("bus")
