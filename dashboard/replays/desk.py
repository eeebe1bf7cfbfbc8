"""What people ask of replays: plan, confirm, cancel, go on. Page, API and command line share these.

Who may is `actions`' business, and so is the record: a confirmed replay is one action, from beginning to end.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from django.db import transaction

from bus.errors import BusError
from dashboard.actions import audit
from dashboard.actions.audit import Actor, Outcome, Wanted
from dashboard.actions.models import Action
from dashboard.actions.roles import Deed
from dashboard.models import NUMBER_BITS, Partition
from dashboard.replays import plan as planning
from dashboard.replays.models import UNWATCHED, WATCHED, Fate, Replay, ReplayLetter, Stage
from dashboard.replays.plan import Asked
from dashboard.sql import rows

MAX_PACE: Final = 2_000  # letters a second
USUAL_PACE: Final = 50
PLAN_KEPT_MS: Final = 3_600_000
LETTERS_KEPT_MS: Final = 30 * 86_400_000
SWEPT: Final = 5_000  # letters at once
_COUNTS: Final = "SELECT fate, COUNT(*) AS count FROM dashboard_replayletter WHERE replay_id = %s GROUP BY fate"
_PLACES: Final = (
    'SELECT DISTINCT event_id >> %s AS partition_id, "group" FROM dashboard_replayletter WHERE replay_id = %s'
)
_KINDS: Final = "SELECT DISTINCT kind FROM dashboard_replayletter WHERE replay_id = %s LIMIT 2"
_ERROR: Final = (
    "SELECT d.error FROM dashboard_replayletter l JOIN dashboard_delivery d ON d.event_id = l.event_id"
    ' AND d."group" = l."group" WHERE l.replay_id = %s ORDER BY l.number DESC LIMIT 1'
)


class ReplayInvalid(BusError):
    """What was asked of a replay can't be done; the text says why."""


@dataclass(frozen=True)
class Terms:
    """How a replay runs. `pace`: letters a second. `superseded`: replay those too."""

    pace: int = USUAL_PACE
    canary: bool = True
    superseded: bool = False
    reason: str = ""


def plan(who: str, asked: Asked) -> Replay:
    """Freeze a list. It changes nothing on the bus, and is forgotten after an hour unless it is confirmed.

    Raises `PlanInvalid` or `QueryInvalid`.
    """
    replay = Replay.objects.create(who=who[:150], made_ms=_now_ms(), filter=planning.to_json(asked))
    try:
        planning.freeze(replay, asked)
    except BusError:
        _forget(replay)
        raise
    replay.planned = counts(replay).get(Fate.PLANNED, 0)
    replay.topic, replay.group = _place(replay)
    replay.error = _error(replay)
    replay.stage = Stage.PLANNED
    replay.save()
    return replay


def confirm(actor: Actor, replay: Replay, terms: Terms) -> Replay:
    """Start it. Raises `Forbidden` or `ReplayInvalid`."""
    audit.admit(actor, _wanted(replay, Deed.REPLAY, terms.reason))
    if not 1 <= terms.pace <= MAX_PACE:
        raise ReplayInvalid(f"expected a pace from 1 to {MAX_PACE:,} letters a second, got {terms.pace}")
    known = counts(replay)
    planned = known.get(Fate.PLANNED, 0) + (known.get(Fate.SUPERSEDED, 0) if terms.superseded else 0)
    if replay.stage != Stage.PLANNED:
        raise ReplayInvalid(f"expected a replay that is planned, replay {replay.pk} is {replay.stage}")
    if not planned:
        raise ReplayInvalid("expected letters to replay, all of them are left out; see the plan")
    action = audit.begin(actor, _wanted(replay, Deed.REPLAY, terms.reason, count=planned))
    with transaction.atomic():
        begun = Replay.objects.filter(pk=replay.pk, stage=Stage.PLANNED).update(
            stage=Stage.RUNNING, planned=planned, pace=terms.pace, canary=0 if terms.canary else UNWATCHED,
            action=action, who=actor.name[:150], began_ms=_now_ms(),
        )  # fmt: skip
        if begun and terms.superseded:
            ReplayLetter.objects.filter(replay=replay, fate=Fate.SUPERSEDED).update(fate=Fate.PLANNED)
    if not begun:
        audit.end(action, "failed", Outcome("somebody else had confirmed it"))
        raise ReplayInvalid(f"expected a replay that is planned, somebody else has confirmed replay {replay.pk}")
    replay.refresh_from_db()
    return replay


def cancel(actor: Actor, replay: Replay, reason: str = "") -> Replay:
    """Hand nothing more back; what was handed back goes on. Of one that stopped: leave it so, and say no more of it.

    Raises `Forbidden` or `ReplayInvalid`.
    """

    def do(_action: Action) -> Outcome:
        told = f"{replay.told} Cancelled by {actor.name}.".strip()
        if not Replay.objects.filter(pk=replay.pk, stage__in=(Stage.RUNNING, Stage.STOPPED), told=replay.told).update(
            stage=Stage.CANCELLED, ended_ms=_now_ms(), told=told[:500]
        ):
            replay.refresh_from_db()
            raise ReplayInvalid(f"expected a replay that runs or has stopped, replay {replay.pk} is {replay.stage}")
        replay.refresh_from_db()
        return Outcome(f"{replay.left:,} of {replay.planned:,} letters stay dead", count=replay.left)

    audit.perform(actor, _wanted(replay, Deed.CANCEL_REPLAY, reason, parent=replay.action), do)
    return replay


def go_on(actor: Actor, replay: Replay, reason: str = "") -> Replay:
    """Replay the rest of one that stopped by itself, or was cancelled. Raises `Forbidden` or `ReplayInvalid`."""
    audit.admit(actor, _wanted(replay, Deed.RESUME_REPLAY, reason, parent=replay.action))
    if replay.stage not in (Stage.STOPPED, Stage.CANCELLED) or not replay.left:
        raise ReplayInvalid(f"expected a replay that ended early, replay {replay.pk} is {replay.stage}")
    record_end(replay)
    action = audit.begin(actor, _wanted(replay, Deed.RESUME_REPLAY, reason, count=replay.left, parent=replay.action))
    changed = Replay.objects.filter(pk=replay.pk, stage=replay.stage).update(
        stage=Stage.RUNNING, canary=WATCHED, action=action, ended_ms=None, told=""
    )
    if not changed:
        audit.end(action, "failed", Outcome("somebody else was first"))
        raise ReplayInvalid(f"expected a replay that ended early, somebody else let replay {replay.pk} go on")
    replay.refresh_from_db()
    return replay


def end(replay: Replay, stage: Stage, told: str = "") -> None:
    """The runner's word: it is over."""
    told = told or f"{replay.touched:,} replayed."
    if Replay.objects.filter(pk=replay.pk, stage=Stage.RUNNING).update(stage=stage, ended_ms=_now_ms(), told=told):
        replay.stage, replay.told = stage, told
        record_end(replay)
    else:
        replay.refresh_from_db()


def record_end(replay: Replay) -> None:
    """Add the result to the action, once."""
    if replay.action is None or replay.action.result:
        return
    numbers = {name: getattr(replay, name) for name in NUMBERS}
    result = {Stage.DONE: "done", Stage.STOPPED: "failed"}.get(Stage(replay.stage), "cancelled")
    audit.end(replay.action, result, Outcome(summary(replay), count=replay.touched, details=numbers))


NUMBERS: Final = (
    "total", "planned", "touched", "succeeded", "same_error", "new_error", "other", "waiting", "missed", "left",
)  # fmt: skip


def summary(replay: Replay) -> str:
    """How it stands, in a sentence."""
    parts = [f"{replay.succeeded:,} succeeded"]
    for count, words in (
        (replay.same_error, "failed with the same error"),
        (replay.new_error, "with a new error"),
        (replay.waiting, "waiting"),
        (replay.left, "not touched"),
    ):
        if count:
            parts.append(f"{count:,} {words}")
    return f"{replay.told} {', '.join(parts)}".strip()


def counts(replay: Replay) -> dict[str, int]:
    """Letters by fate."""
    return {row["fate"]: row["count"] for row in rows(_COUNTS, [replay.pk])}


def sweep() -> None:
    """Forget plans that nobody confirmed, and the letters of replays of long ago."""
    now_ms = _now_ms()
    drafts = Replay.objects.filter(stage__in=(Stage.PLANNING, Stage.PLANNED), made_ms__lt=now_ms - PLAN_KEPT_MS)
    for replay in drafts[:20]:
        _forget(replay)
    old = Replay.objects.filter(
        stage__in=(Stage.STOPPED, Stage.CANCELLED, Stage.DONE), made_ms__lt=now_ms - LETTERS_KEPT_MS
    )
    for replay in old.filter(pk__in=ReplayLetter.objects.values("replay_id").distinct())[:5]:
        _forget_letters(replay)


def _wanted(
    replay: Replay, deed: Deed, reason: str, *, count: int | None = None, parent: Action | None = None
) -> Wanted:
    chosen: Mapping[str, Any] = {"replay": replay.pk, **msgspec.json.decode(replay.filter)}
    return Wanted(deed, replay.topic, replay.group, reason, chosen, count, parent)


def _place(replay: Replay) -> tuple[str, str]:
    """The one topic and the one group of all its letters, or "" for each that is not one."""
    found = rows(_PLACES, [NUMBER_BITS, replay.pk])
    ids = {row["partition_id"] for row in found}
    topics = set(Partition.objects.filter(pk__in=ids).values_list("topic", flat=True))
    groups = {row["group"] for row in found}
    return topics.pop() if len(topics) == 1 else "", groups.pop() if len(groups) == 1 else ""


def _error(replay: Replay) -> str:
    """The error of a list whose letters are all of one kind."""
    kinds = rows(_KINDS, [replay.pk])
    if len(kinds) != 1:
        return ""
    found = rows(_ERROR, [replay.pk])
    return str(found[0]["error"]) if found else ""


def _forget(replay: Replay) -> None:
    _forget_letters(replay)
    Replay.objects.filter(pk=replay.pk).delete()


def _forget_letters(replay: Replay) -> None:
    while True:
        numbers = list(ReplayLetter.objects.filter(replay=replay).values_list("number", flat=True)[:SWEPT])
        if not numbers:
            return
        ReplayLetter.objects.filter(replay=replay, number__gte=min(numbers), number__lte=max(numbers)).delete()


def _now_ms() -> int:
    return int(time.time() * 1000)
