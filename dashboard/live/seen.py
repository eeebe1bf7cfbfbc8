"""A frame as one user sees it: without topics that they may not see, and without payloads where they may not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dashboard.actions.sight import Sight
from dashboard.queries.trace import build

_NAMES: Final = ("topic", "from_topic")
_FIGURES: Final = ("dead", "retrying")


def seen(text: str, sight: Sight) -> str | None:
    """The frame's text; None when nothing of it is for this user."""
    if sight.all and sight.visible.topics is None:
        return text
    frame = msgspec.json.decode(text)
    if sight.visible.topics is not None:
        if not _is_seen(frame, sight):
            return None
        frame = _overview(_without(frame, sight))
        if "trace" in frame and (trace := _trace(frame["trace"])) is None:
            return None
        frame |= {"trace": trace} if "trace" in frame else {}
    return msgspec.json.encode(sight.of(frame)).decode()


def _without(value: Any, sight: Sight) -> Any:
    """Without the things in lists that are of topics unseen."""
    if isinstance(value, dict):
        return {name: _without(one, sight) for name, one in value.items()}
    if isinstance(value, list):
        return [_without(one, sight) for one in value if not isinstance(one, dict) or _is_seen(one, sight)]
    return value


def _is_seen(value: Mapping[str, Any], sight: Sight) -> bool:
    topics = (value.get(name) for name in _NAMES)
    return all(sight.visible.sees(topic) for topic in topics if isinstance(topic, str) and topic)


def _overview(frame: dict[str, Any]) -> dict[str, Any]:
    """Its figures as those of the groups that are left; how many are behind nobody tells again from here."""
    if "figures" not in frame or None in frame["figures"].values():
        return frame  # nobody knows them: the server is away
    groups = frame.get("groups", [])
    sums = {name: sum(group[name] or 0 for group in groups) for name in _FIGURES}
    return {**frame, "figures": {**frame["figures"], **sums, "behind": len([g for g in groups if g["lag"]])}}


def _trace(trace: dict[str, Any]) -> dict[str, Any] | None:
    events = [event for event in trace["events"] if event["topic"]]  # causes that are known by name are found anew
    if not events:
        return None
    return build(trace["id"], events, of=len(events), now_ms=trace["now_ms"])
