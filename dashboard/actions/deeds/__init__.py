"""The deeds: each says what it would do (`plan`), and does what was frozen (`do`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from bus.streams import Client
from dashboard.actions.audit import Outcome
from dashboard.actions.deeds import entries, events, groups, holds, letters
from dashboard.actions.plan import Asked, Doing, Plan
from dashboard.actions.roles import Deed


class Way(NamedTuple):
    """How a deed is planned, and done."""

    plan: Callable[[Client, Asked], Plan]
    do: Callable[[Doing], Outcome]


WAYS: Final[Mapping[Deed, Way]] = {
    Deed.PAUSE: Way(groups.plan_pause, groups.pause),
    Deed.RESUME: Way(groups.plan_resume, groups.resume),
    Deed.REWIND: Way(groups.plan_rewind, groups.rewind),
    Deed.HOLD: Way(holds.plan_hold, holds.hold),
    Deed.UNHOLD: Way(holds.plan_unhold, holds.unhold),
    Deed.RELEASE: Way(entries.plan_release, entries.release),
    Deed.SKIP: Way(entries.plan_skip, entries.skip),
    Deed.DEAD_LETTER: Way(entries.plan_dead_letter, entries.dead_letter),
    Deed.DISCARD: Way(letters.plan_discard, letters.discard),
    Deed.RESTORE: Way(letters.plan_restore, letters.restore),
    Deed.PUBLISH: Way(events.plan_publish, events.publish),
    Deed.REVEAL: Way(events.plan_reveal, events.reveal),
    Deed.REPUBLISH: Way(events.plan_republish, events.republish),
}
