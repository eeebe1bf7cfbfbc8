"""Edit and replay: a new event in the place of a dead letter, for the group that gave the letter up and no other.

Events never change, so what is edited is published anew: new id, end of the topic, the header `onlygroup`. Then the
letter is discarded. Masked values travel to no browser: what comes back as it was shown becomes the original again.
"""

from __future__ import annotations

import difflib
import time
from typing import Any, Final, NamedTuple

import msgspec

import bus
from bus import control, letters
from bus.keys import Keys
from bus.operations import DeadLetter
from bus.streams import Client, connect
from bus.subscription import ONLY_GROUP
from dashboard.actions import audit
from dashboard.actions.audit import Actor, Outcome, Wanted
from dashboard.actions.models import Action
from dashboard.actions.roles import Deed
from dashboard.models import Delivery, Event, Partition
from dashboard.queries import shapes
from dashboard.record.masking import MARK, masker
from dashboard.record.rows import clean
from dashboard.replays.desk import ReplayInvalid
from dashboard.replays.models import EditedLetter

REPLACES: Final = "replaces"  # a header: the id of the event that was edited
RECORD_SECONDS: Final = 3.0  # that the record may be behind
MAX_EDITED: Final = 262_144  # bytes of data that a form may hold


class Place(NamedTuple):
    """A delivery: the event's row, its partition on the bus, and the group."""

    event: Event
    keys: Keys
    group: str


class Opened(NamedTuple):
    """A dead letter as it may be edited. `text`: its data as indented JSON, masked."""

    place: Place
    letter: DeadLetter
    text: str


def opened(client: Client, event_id: str, group: str) -> Opened:
    """The letter of this event and group. Raises `ReplayInvalid` when there is none, or none that can be edited."""
    place, died_ms = _place(client, event_id, group)
    (found,) = client.run(letters.find(place.keys, group, [(place.event.entry, died_ms)])).ids
    letter = client.run(letters.one(place.keys, group, found)) if found else None
    if letter is None:
        raise ReplayInvalid(f"expected a dead letter of {group}, it was replayed or discarded meanwhile; reload")
    raw = letter.event.raw
    if len(raw) > MAX_EDITED:
        raise ReplayInvalid(
            f"expected at most {MAX_EDITED:,} bytes of data, got {len(raw):,}; publish it from a program"
        )
    try:
        msgspec.json.decode(raw)
        text = msgspec.json.format(masker().payload(raw, len(raw)), indent=2).decode()
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise ReplayInvalid("expected data that is JSON, it is not; publish it anew from a program") from None
    return Opened(place, letter, text)


def _place(client: Client, event_id: str, group: str) -> tuple[Place, int]:
    event = Event.objects.filter(event_id=clean(event_id)).order_by("-pk").first()
    found = event and _dead(event, group)
    if event is None or not found:
        raise ReplayInvalid(f"expected a dead letter of {group[:80]}, this event has none")
    partition = Partition.objects.get(pk=event.partition_id)
    return Place(event, Keys(client.config.prefix, partition.topic, partition.number), group), found.moved_ms


def _dead(event: Event, group: str) -> Delivery | None:
    """The delivery that died. One that was held may have been given up just now: the record is a moment behind."""
    ends = time.monotonic() + RECORD_SECONDS
    while True:
        found = Delivery.objects.filter(event_id=event.pk, group=clean(group, 120)).first()
        if found is None or found.state != "held" or time.monotonic() > ends:
            return found if found is not None and found.state == "dead" else None
        time.sleep(0.1)


def edited(was: Opened, text: str) -> Any:
    """The data that the text says, with what is masked in it as it was. Raises `ReplayInvalid`."""
    try:
        data = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise ReplayInvalid(f"expected JSON: {error}") from None
    shown = msgspec.json.decode(was.text)
    whole = _unmasked(data, shown, msgspec.json.decode(was.letter.event.raw))
    if MARK in msgspec.json.encode(whole).decode():
        raise ReplayInvalid(f"expected no {MARK} in a place that was not masked so: write the whole value there")
    if data == shown:
        raise ReplayInvalid("expected a change, the data is as it was; replay the letter instead")
    return whole


def _unmasked(data: Any, shown: Any, original: Any) -> Any:
    """`data`, where it is as it was shown, as it originally is."""
    if data == shown:
        return original
    if isinstance(data, dict) and isinstance(shown, dict) and isinstance(original, dict):
        return {k: _unmasked(v, shown[k], original[k]) if k in shown and k in original else v for k, v in data.items()}
    if isinstance(data, list) and isinstance(shown, list) and isinstance(original, list):
        return [
            _unmasked(one, shown[at], original[at]) if at < min(len(shown), len(original)) else one
            for at, one in enumerate(data)
        ]
    return data


def difference(was: Opened, text: str) -> list[dict[str, str]]:
    """The lines of both, each with what became of it: same, gone, new."""
    new = msgspec.json.format(text.encode(), indent=2).decode()
    signs = {"  ": "same", "- ": "gone", "+ ": "new"}
    lines = difflib.ndiff(was.text.splitlines(), new.splitlines())
    return [{"look": signs[line[:2]], "sign": line[0], "text": line[2:]} for line in lines if line[:2] in signs]


class Checked(NamedTuple):
    """How the edited data differs in shape, in words: from newer events of its type, and from the original."""

    compared: int
    newer: str
    original: str


def checked(was: Opened, text: str) -> Checked:
    """It tells and blocks nothing. Names of fields are payload: for who may see payloads of the topic."""
    event = was.place.event
    now = shapes.newer(was.place.keys.topic, event.type, (event.at_ms, event.at_seq))
    new, old = shapes.shape(msgspec.json.decode(text)), shapes.shape(msgspec.json.decode(was.text))
    found = shapes.sentence(shapes.differences(new, now), len(now))
    return Checked(len(now), found, shapes.edit_sentence(shapes.differences(new, [old])))


def replay_edited(actor: Actor, was: Opened, text: str, *, new_id: str, reason: str = "") -> Action:
    """Publish the edited event, then discard the letter. Asked again with the same id it publishes nothing twice.

    Raises `Forbidden`, `ReplayInvalid` and what publishing raises: then the letter is as it was.
    """
    data = edited(was, text)
    event, group = was.letter.event, was.place.group

    def do(action: Action) -> Outcome:
        row, _ = EditedLetter.objects.get_or_create(
            new_id=new_id[:64],
            defaults={
                "action": action, "event_id": was.place.event.pk, "group": group, "original_id": event.id[:512],
                "who": actor.name[:150], "made_ms": int(time.time() * 1000),
            },
        )  # fmt: skip
        headers = {**event.headers, ONLY_GROUP: group, REPLACES: event.id}
        bus.publish(
            event.topic, event.type, data, key=event.key, id=row.new_id, source=actor.name[:150], headers=headers,
            correlation_id=event.correlation_id,
        )  # fmt: skip
        EditedLetter.objects.filter(pk=row.pk).update(is_published=True)
        client = connect(bus.config())
        try:
            aside = client.run(
                control.discard(was.place.keys, group, [was.letter.id], who=f"{actor.name}#edit:{row.pk}")
            )
        finally:
            client.close()
        told = f"published as {row.new_id} for {group} alone"
        told += ", the original is discarded" if aside else "; the original was no longer there to discard"
        return Outcome(told, events=[row.new_id], count=1, details={"original": event.id, "new": row.new_id})

    wanted = Wanted(Deed.EDIT_REPLAY, event.topic, group, reason, {"event": event.id}, 1)
    return audit.perform(actor, wanted, do)


def links_of(event_id: str) -> dict[str, list[dict[str, Any]]]:
    """What an event was replaced by, and what it replaces."""
    columns = ("new_id", "original_id", "group", "who", "made_ms")
    found = EditedLetter.objects.filter(is_published=True)
    return {
        "by": list(found.filter(original_id=event_id[:512]).values(*columns)[:20]),
        "of": list(found.filter(new_id=event_id[:64]).values(*columns)[:1]),
    }
