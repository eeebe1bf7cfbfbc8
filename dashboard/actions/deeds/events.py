"""Publish an event from a form, and publish one again that is on its topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

import bus
from bus import history
from bus.errors import DataInvalid
from bus.event import Event, check_topic, new_id
from bus.keys import Keys
from bus.streams import Client
from dashboard.actions.audit import Outcome
from dashboard.actions.plan import Asked, Doing, Plan, Unclear
from dashboard.actions.roles import Deed
from dashboard.models import Event as Recorded
from dashboard.models import Subscription
from dashboard.queries.bus_state import bus_state
from dashboard.record.masking import MARK

REPUBLISHED: str = "fanlight-republished"  # header: the id of the event that this one repeats


def plan_publish(client: Client, asked: Asked) -> Plan:  # noqa: ARG001  as every plan
    """Checked as the bus would, and who would get it."""
    topic, type_, key = check_topic(asked.needed("topic")), asked.needed("type"), asked.get("key") or None
    data = _parsed(asked.get("data") or "null")
    draft = bus.draft(topic, type_, data, key=key, id=new_id())
    return Plan(
        Deed.PUBLISH, topic, f"Publish {type_} on {topic}?", _reach(topic, type_),
        "No. An event can't be taken back; publish another one that corrects it.", f"Publish {type_}",
        reason="by hand", count=len(reached(topic, type_)),
        columns=("Type", "Key", "Size", "Data"),
        rows=[(type_, key or "–", f"{len(draft.raw):,} bytes", draft.raw.decode("utf-8", "replace")[:2000])],
        chosen={"type": type_, "key": key or ""},
        frozen={"id": draft.id, "type": type_, "key": key, "data": draft.raw.decode()},
    )  # fmt: skip


def publish(doing: Doing) -> Outcome:
    """Publish it, under the id that was frozen: asked for twice, it is there once."""
    said = doing.frozen
    data = msgspec.json.decode(said["data"])
    event = bus.publish(
        doing.topic, said["type"], data, key=said["key"], id=said["id"], source=f"operator {doing.who}"[:120]
    )
    return Outcome(f"{event.type} published on {doing.topic}", [event.id], 1, {"entry": event.entry})


def plan_republish(client: Client, asked: Asked) -> Plan:
    """The event as it is on the topic now, and who would get it."""
    event = original(client, asked.needed("event"))
    return Plan(
        Deed.REPUBLISH, event.topic, f"Publish {event.type} on {event.topic} once more?",
        [
            *_reach(event.topic, event.type),
            "It is a new event with a new id, the same data, key and trace: also groups that handled the first get it.",
            "To hand it to one group only, replay its dead letter instead.",
        ],
        "No. An event can't be taken back.", f"Publish {event.type} once more",
        reason="to let all groups have it again", count=len(reached(event.topic, event.type)),
        columns=("Event", "Type", "Key", "Size"),
        rows=[(event.id, event.type, event.key or "–", f"{len(event.raw):,} bytes")],
        chosen={"event": event.id}, frozen={"event": event.id, "id": new_id()},
    )  # fmt: skip


def republish(doing: Doing) -> Outcome:
    """Publish the original's data again, as the stream has it, secrets included."""
    first = original(doing.client, doing.frozen["event"])
    event = bus.publish(
        first.topic, first.type, first.data, key=first.key, id=doing.frozen["id"], source=first.source,
        headers={**first.headers, REPUBLISHED: first.id}, correlation_id=first.correlation_id,
    )  # fmt: skip
    return Outcome(f"{event.type} published on {event.topic} once more", [event.id, first.id], 1, {"of": first.id})


def original(client: Client, event_id: str) -> Event:
    """The event as its stream holds it. Raises `Unclear` when it is not recorded, or has left the stream."""
    row = Recorded.objects.filter(event_id=event_id, epoch__gte=0).select_related("partition").order_by("-id").first()
    if row is None:
        raise Unclear(f"expected an event that is recorded, got {event_id[:80]!r}")
    keys = Keys(client.config.prefix, row.partition.topic, row.partition.number)
    page = client.run(history.found_at(keys, row.entry))
    if not page.rows:
        raise Unclear("expected an event that is still on its topic, this one was trimmed; publish it from the form")
    return history.event_of(keys, page.rows[0])


def reached(topic: str, type_: str) -> list[str]:
    """Groups on the topic that take events of this type, by what they said last."""
    said: Mapping[str, str] = dict(
        Subscription.objects.filter(partition__topic=topic).order_by("id").values_list("group", "types")
    )
    there = sorted({name for (of, _, name) in bus_state().groups if of == topic})
    return [name for name in there if _takes(said.get(name, ""), type_)]


def _takes(types: str, type_: str) -> bool:
    return not types or types == "null" or type_ in msgspec.json.decode(types)


def _reach(topic: str, type_: str) -> list[str]:
    names = reached(topic, type_)
    if not names:
        return [f"No group on {topic} takes {type_}: the event is kept, nobody gets it."]
    return [f"It would reach {len(names):,} group{'s' * (len(names) != 1)}: {', '.join(names[:20])}."]


def _parsed(text: str) -> Any:
    if MARK in text:
        raise DataInvalid(f"expected data without masked values, got one that holds {MARK}; write the value itself")
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogateescape"))
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise DataInvalid(f"expected data that is JSON, got {text[:40]!r} ({error})") from None
