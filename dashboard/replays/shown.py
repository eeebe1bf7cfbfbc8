"""Replays as people see them: how each stands, the letters of one, and which replays a delivery went through."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from django.db.models import Exists, F, OuterRef, Q

from dashboard import visible
from dashboard.models import NUMBER_BITS
from dashboard.queries.bus_state import bus_state
from dashboard.queries.facts import preview
from dashboard.queries.lag import partitions
from dashboard.replays import desk, shaped
from dashboard.replays.models import CANARY, ENDED, LEFT_OUT, Fate, Replay, Stage
from dashboard.sql import rows, rows_in, spread

PER_PAGE: Final = 50
IN_HAND: Final = 5
SILENT_MS: Final = 10_000  # a runner says every second that it has a replay in hand
RECENT_MS: Final = 600_000  # what ended so lately is still news
_LETTERS: Final = (
    'SELECT l.number, l.event_id AS pk, l."group", l.fate, l.kind, l.error, l.earlier, l.replayed_ms, l.moved_ms,'
    " e.event_id AS id, e.type, e.key, e.at_ms, substr(e.payload, 1, 480) AS head, d.state, d.error AS now"
    " FROM dashboard_replayletter l LEFT JOIN dashboard_event e ON e.id = l.event_id"
    ' LEFT JOIN dashboard_delivery d ON d.event_id = l.event_id AND d."group" = l."group"'
    " WHERE l.replay_id = %s AND l.fate IN (…) ORDER BY l.number LIMIT %s"
)
_AGAIN: Final = (
    "SELECT COUNT(*) AS count, MAX(earlier) AS newest FROM dashboard_replayletter"
    " WHERE replay_id = %s AND fate = 'planned' AND earlier IS NOT NULL"
)
_EARLIER: Final = "SELECT id, who, began_ms FROM dashboard_replay WHERE id IN (…)"
_RETRYING: Final = (
    "SELECT COUNT(*) AS count FROM (SELECT 1 AS one FROM dashboard_replayletter l JOIN dashboard_delivery d"
    ' ON d.event_id = l.event_id AND d."group" = l."group" WHERE l.replay_id = %s AND l.fate = \'waiting\''
    " AND d.state = 'retrying' LIMIT 1000) AS found"
)
_GROUPS: Final = (
    'SELECT DISTINCT event_id >> %s AS partition_id, "group" FROM dashboard_replayletter WHERE replay_id = %s'
)
_OF_DELIVERY: Final = (
    'SELECT l.event_id, l."group", l.replay_id, l.fate, l.error, l.replayed_ms, r.who FROM dashboard_replayletter l'
    " JOIN dashboard_replay r ON r.id = l.replay_id JOIN dashboard_event e ON e.id = l.event_id"
    " WHERE l.replayed_ms IS NOT NULL AND e.event_id IN (…) ORDER BY l.replay_id DESC"
)


def replays(*, before: int | None = None, limit: int = PER_PAGE) -> dict[str, Any]:
    """Confirmed replays, newest first. `next`: give it as `before` for the following page."""
    found = seen().exclude(stage__in=(Stage.PLANNING, Stage.PLANNED))
    if before is not None:
        found = found.filter(pk__lt=before)
    listed = list(found.order_by("-pk")[: limit + 1])
    return {
        "replays": [told(replay) for replay in listed[:limit]],
        "next": listed[limit - 1].pk if len(listed) > limit else None,
    }


def in_hand(topic: str | None = None, group: str | None = None) -> list[dict[str, Any]]:
    """Replays that want somebody's eye, newest first: of all, or of one group.

    Those that run, those that ended within the last minutes, and those that stopped by themselves: until somebody
    lets them go on or cancels them, or a newer replay of the same letters takes their place.
    """
    mine = {"topic": topic, "group": group} if topic else {}
    later = Replay.objects.filter(
        pk__gt=OuterRef("pk"), topic=OuterRef("topic"), group=OuterRef("group"), error=OuterRef("error"),
        began_ms__isnull=False,
    )  # fmt: skip
    unfinished = Q(stage=Stage.STOPPED, planned__gt=F("touched") + F("missed")) & ~Exists(later)
    ended = Q(ended_ms__gte=int(time.time() * 1000) - RECENT_MS)
    found = seen().filter(Q(stage=Stage.RUNNING) | unfinished | ended, **mine)
    return [told(one) for one in found.order_by("-pk")[:IN_HAND]]


def replay(pk: int) -> dict[str, Any] | None:
    """One replay with all that is known of it; None when there is none, or when its plan is not complete."""
    found = seen().filter(pk=pk).exclude(stage=Stage.PLANNING).first()
    if found is None:
        return None
    counts = desk.counts(found)
    return {
        **told(found),
        "counts": {fate.value: counts.get(fate, 0) for fate in Fate},
        "again": _again(found) if found.stage == Stage.PLANNED else None,
        "shape": shaped.compared(found) if found.stage == Stage.PLANNED else None,
        "retrying": rows(_RETRYING, [pk])[0]["count"] if found.waiting else 0,
        "hindrances": _hindrances(found) if found.stage == Stage.RUNNING else [],
    }


def seen() -> Any:
    """Replays of topics that are seen; what is of several topics is for who sees all."""
    found = Replay.objects.select_related("action")
    if visible.sees_all():
        return found
    return found.filter(topic__in=visible.of(Replay.objects.values_list("topic", flat=True).distinct()))


def told(replay: Replay) -> dict[str, Any]:
    """How it stands, as numbers and words."""
    action = replay.action
    return {
        "id": replay.pk,
        "stage": replay.stage,
        "who": replay.who,
        "reason": action.reason if action else "",
        "action": action.pk if action else None,
        "filter": msgspec.json.decode(replay.filter),
        "topic": replay.topic or None,
        "group": replay.group or None,
        "error": replay.error or None,
        **{name: getattr(replay, name) for name in desk.NUMBERS},
        "pace": replay.pace,
        "canary": _canary(replay),
        "made_ms": replay.made_ms,
        "began_ms": replay.began_ms,
        "ended_ms": replay.ended_ms,
        "told": replay.told,
        "can_go_on": replay.stage in (Stage.STOPPED, Stage.CANCELLED) and replay.left > 0,
    }


def letters(pk: int, fates: Sequence[str], *, limit: int = PER_PAGE) -> list[dict[str, Any]]:
    """The first letters of these fates."""
    found = rows(spread(_LETTERS, len(fates)), [pk, *fates, limit])
    topics = {place.id: place.topic for place in partitions().values()}
    earlier = {row["id"]: row for row in rows_in(_EARLIER, sorted({r["earlier"] for r in found if r["earlier"]}))}
    return [
        {
            **{name: value for name, value in row.items() if name not in ("head", "pk", "earlier")},
            "topic": topics.get(row["pk"] >> NUMBER_BITS, ""),
            "preview": preview(row["head"]),
            "earlier": earlier.get(row["earlier"]),
        }
        for row in found
    ]


def of_event(event_id: str) -> dict[str, list[dict[str, Any]]]:
    """The replays that deliveries of an event went through, by group, newest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows_in(_OF_DELIVERY, [event_id]):
        found.setdefault(row["group"], []).append(row)
    return found


def _canary(replay: Replay) -> dict[str, Any] | None:
    """Which step of it runs; None without one, or when it is over."""
    if replay.stage != Stage.RUNNING or replay.canary >= len(CANARY):
        return None
    return {"step": replay.canary + 1, "steps": len(CANARY) + 1, "until": min(CANARY[replay.canary], replay.planned)}


def _again(replay: Replay) -> dict[str, Any] | None:
    """Letters of the plan that an earlier replay brought back to life in vain."""
    (found,) = rows(_AGAIN, [replay.pk])
    if not found["count"]:
        return None
    newest = rows_in(_EARLIER, [found["newest"]])
    return {"count": found["count"], "newest": newest[0] if newest else None}


def _hindrances(replay: Replay) -> list[dict[str, str]]:
    """Why it does not move, if it does not."""
    found = []
    now_ms = int(time.time() * 1000)
    if now_ms - max(replay.beat_ms, replay.began_ms or 0) > SILENT_MS:
        found.append({"what": "no runner", "group": "", "who": ""})
    state = bus_state()
    if not state.available:
        return [*found, {"what": "server away", "group": "", "who": ""}]
    topics = {place.id: (place.topic, place.number) for place in partitions().values()}
    for row in rows(_GROUPS, [NUMBER_BITS, replay.pk])[:10]:
        group = state.groups.get((*topics.get(row["partition_id"], ("", 0)), row["group"]))
        if group is not None and group.paused_by:
            found.append({"what": "paused", "group": row["group"], "who": group.paused_by})
        elif not state.workers_alive(row["group"]):
            found.append({"what": "no worker", "group": row["group"], "who": ""})
    return found


def fates_shown(replay: Mapping[str, Any]) -> list[str]:
    """The fates that the page can list, in the order of interest."""
    planned = replay["stage"] == Stage.PLANNED
    order = (Fate.PLANNED, *LEFT_OUT) if planned else (Fate.NEW_ERROR, Fate.SAME_ERROR, Fate.WAITING, *ENDED)
    rest = () if planned else (Fate.MISSED, Fate.PLANNED, *LEFT_OUT)
    return [fate.value for fate in dict.fromkeys((*order, *rest)) if replay["counts"][fate.value]]
