"""What operators did: newest first, by who, what, topic and time; and one action with what it caused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dashboard import visible
from dashboard.actions.models import Action
from dashboard.record.rows import clean

PER_PAGE: Final = 50
MAX_EXPORTED: Final = 50_000
MAX_CHOICES: Final = 200
MAX_EVENTS: Final = 50
DAY_MS: Final = 86_400_000
AGES: Final[Mapping[str, int]] = {"1h": DAY_MS // 24, "24h": DAY_MS, "7d": 7 * DAY_MS, "30d": 30 * DAY_MS}


def activity(asked: Mapping[str, str], *, now_ms: int, before: int = 0, limit: int = PER_PAGE) -> dict[str, Any]:
    """Actions that fit; `next` is the `before` of the following page, None on the last."""
    found = _chosen(asked, now_ms)
    if before:
        found = found.filter(pk__lt=before)
    rows = list(found.order_by("-pk")[: limit + 1])
    return {"actions": [told(row) for row in rows[:limit]], "next": rows[limit - 1].pk if len(rows) > limit else None}


def choices() -> dict[str, list[str]]:
    """Who acted, what was done, on which topics: for the filters."""
    seen, names = _seen(Action.objects.all()), ("who", "deed", "topic")
    known = {name: seen.values_list(name, flat=True).distinct().order_by(name)[:MAX_CHOICES] for name in names}
    return {name: [one for one in known[name] if one] for name in names}


def action(pk: int) -> dict[str, Any] | None:
    """One action with its parts and the events it touched."""
    row = _seen(Action.objects.filter(pk=pk)).select_related("parent").first()
    if row is None:
        return None
    outcome = msgspec.json.decode(row.outcome) if row.outcome else {}
    return {
        **told(row),
        "parent": row.parent_id,
        "parts": [told(part) for part in _seen(row.parts.all()).order_by("pk")[:MAX_EVENTS]],
        "events": list(outcome.get("events", ()))[:MAX_EVENTS],
        "of_events": len(outcome.get("events", ())),
        "count": outcome.get("count"),
        "moves": (outcome.get("details") or {}).get("moves", []),
    }


def of_event(event_id: str) -> list[dict[str, Any]]:
    """The newest actions that touched an event."""
    wanted = clean(event_id)
    rows = _seen(Action.objects.filter(touched__event_id=wanted)).order_by("-pk").distinct()[:10]
    return [told(row) for row in rows]


def told(row: Action) -> dict[str, Any]:
    """An action as pages and the API say it."""
    return {
        "id": row.pk,
        "who": row.who,
        "via": row.via,
        "deed": row.deed,
        "topic": row.topic,
        "group": row.group,
        "filter": msgspec.json.decode(row.filter) if row.filter else {},
        "frozen_count": row.frozen_count,
        "reason": row.reason,
        "result": row.result,
        "told": row.told,
        "began_ms": row.began_ms,
        "ended_ms": row.ended_ms,
        "event_id": row.event_id,
    }


def _seen(found: Any) -> Any:
    """Those about topics that are seen; what is about all topics is for who sees all."""
    if visible.sees_all():
        return found
    return found.filter(topic__in=visible.of(Action.objects.values_list("topic", flat=True).distinct()))


def _chosen(asked: Mapping[str, str], now_ms: int) -> Any:
    names = {
        name: clean(value, 150) for name in ("who", "deed", "topic", "group", "result") if (value := asked.get(name))
    }
    found = _seen(Action.objects.filter(**names))
    if age := AGES.get(asked.get("since", "")):
        found = found.filter(began_ms__gte=now_ms - age)
    return found
