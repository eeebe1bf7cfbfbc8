"""The outbox: what is published inside a database transaction commits with it, or is never heard of.

With `BUS["outbox"]` on, `publish` inside `transaction.atomic()` writes a row instead; the relay (`bus.relay`) publishes
what was committed, with the event's own id, so that sending again stores nothing twice. An entry goes new → sent (the
server answered) → confirmed (the recorder has stored the event), and is kept for a day, to repair a server that lost
it. One of the bus' few files that need Django; it is imported when needed. Knows rows; must not know the server.
Source: "Transactional outbox", Richardson, Microservices Patterns.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from bus.config import Config
from bus.errors import ConfigError, EventInvalid
from bus.event import Draft, Event, entry_ms
from bus.inbox import has_tables
from bus.publisher import Publisher

if TYPE_CHECKING:
    from bus.models import OutboxEntry

BATCH: Final = 500
KEPT_SECONDS: Final = 86_400  # after confirmation: as long as ids are deduplicated
PURGED_AT_ONCE: Final = 1_000
MOVED_AT_ONCE: Final = 1_000
MAX_ERROR_TEXT: Final = 500
_pack: Final = msgspec.msgpack.Encoder().encode
_unpack: Final = msgspec.msgpack.Decoder(Draft).decode
# Compare-and-set: whoever else has moved the entry meanwhile is right.
_MARK: Final = (
    "UPDATE bus_outboxentry SET state = %s, moved_ms = %s, partition = %s, entry = %s, entry_ms = %s"
    " WHERE id = %s AND state = %s AND entry = %s"
)
_CONFIRM: Final = (
    "UPDATE bus_outboxentry SET state = 'confirmed', moved_ms = %s WHERE id = %s AND state = 'sent' AND entry = %s"
)


class OutboxPublisher(Publisher):
    """Publishes at once, except inside a transaction: there it writes entries."""

    def publish(self, draft: Draft) -> Event:
        return write([draft])[0] if _in_transaction() else super().publish(draft)

    def publish_many(self, drafts: Sequence[Draft]) -> list[Event]:
        return write(drafts) if _in_transaction() else super().publish_many(drafts)


class Sent(NamedTuple):
    """An entry that the server has answered for, and where it said that the event is."""

    id: int
    event_id: str
    topic: str
    partition: int
    entry: str


def publisher_of(config: Config) -> Publisher:
    """The publisher that the settings ask for. Raises `ConfigError` for an outbox in a program without Django."""
    if not config.outbox:
        return Publisher(config)
    if not has_tables():
        raise ConfigError(
            "expected Django with 'bus' in INSTALLED_APPS for BUS['outbox'], got a program without it;"
            " leave outbox out, or run django.setup() first"
        )
    return OutboxPublisher(config)


def write(drafts: Sequence[Draft]) -> list[Event]:
    """Write entries in the transaction at hand. Result: the events, complete but for their place."""
    from bus.models import OutboxEntry

    for draft in drafts:
        if "\0" in draft.id:
            raise EventInvalid(f"expected an id that a database can hold, got {draft.id!r}; leave the NUL out")
    moved_ms = _now_ms()
    entries = [OutboxEntry(topic=d.topic, event_id=d.id, draft=_pack(d), moved_ms=moved_ms) for d in drafts]
    OutboxEntry.objects.bulk_create(entries, batch_size=BATCH)
    return [draft.placed(0, "") for draft in drafts]


def draft_of(entry: OutboxEntry) -> Draft:
    """The event as it was drafted; publishing it again stores it once. Raises `EventInvalid`."""
    try:
        return msgspec.structs.replace(_unpack(entry.draft), dedupe=True)
    except msgspec.DecodeError as error:
        raise EventInvalid(f"expected outbox entry {entry.pk} to hold a draft, got something else: {error}") from None


def new(*, without: Sequence[str] = ()) -> list[OutboxEntry]:
    """The oldest entries that wait to be published, leaving out some topics.

    By state and never from a cursor on: of two transactions the one with the lower ids may commit last.
    """
    from bus.models import OutboxEntry, OutboxState

    return list(OutboxEntry.objects.filter(state=OutboxState.NEW).exclude(topic__in=without).order_by("id")[:BATCH])


def unconfirmed(*, for_seconds: float, without: Sequence[str] = ()) -> list[OutboxEntry]:
    """Entries that were sent so long ago, and that nobody has confirmed; in order."""
    from bus.models import OutboxEntry, OutboxState

    sent = OutboxEntry.objects.filter(state=OutboxState.SENT, moved_ms__lte=_now_ms() - int(for_seconds * 1000))
    return sorted(sent.exclude(topic__in=without).order_by("moved_ms")[:BATCH], key=lambda entry: entry.pk)


def mark_sent(entries: Sequence[OutboxEntry], events: Sequence[Event], *, confirm_after_ms: int) -> None:
    """The server has answered. One that it still has so long after is confirmed: no recorder shares this database."""
    from django.db import connection, transaction

    now_ms = _now_ms()
    values = []
    for entry, event in zip(entries, events, strict=True):
        at_ms = entry_ms(event.entry)
        lasted = entry.entry == event.entry and now_ms - at_ms >= confirm_after_ms
        state = "confirmed" if lasted else "sent"
        values.append((state, now_ms, event.partition, event.entry, at_ms, entry.pk, entry.state, entry.entry))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(_MARK, values)


def mark_refused(entry: OutboxEntry, reason: str) -> None:
    """It can't be published as it is: it stays, with the reason, and holds up nobody."""
    from bus.models import OutboxEntry, OutboxState

    text = reason.replace("\0", "\\0")[:MAX_ERROR_TEXT]
    same = OutboxEntry.objects.filter(pk=entry.pk, state=entry.state)
    same.update(state=OutboxState.REFUSED, error=text, moved_ms=_now_ms())


def sent() -> list[Sent]:
    """Entries that wait for the recorder's word, those first that have waited longest. One indexed query."""
    from bus.models import OutboxEntry, OutboxState

    waiting = OutboxEntry.objects.filter(state=OutboxState.SENT).order_by("moved_ms")
    return [Sent(*row) for row in waiting.values_list("id", "event_id", "topic", "partition", "entry")[:BATCH]]


def confirm(stored: Sequence[Sent]) -> None:
    """The recorder has stored these events, at these places."""
    from django.db import connection, transaction

    now_ms = _now_ms()
    with transaction.atomic(), connection.cursor() as cursor:  # in the order in which the relay locks rows
        cursor.executemany(_CONFIRM, [(now_ms, one.id, one.entry) for one in sorted(stored)])


def send_again(topic: str, partition: int, *, since_ms: int) -> int:
    """The server may have lost what it stored since then (its clock): publish it once more. Result: how many.

    What it still has is stored once, within the dedupe window: when in doubt, send again.
    """
    from bus.models import OutboxEntry, OutboxState

    states = (OutboxState.SENT, OutboxState.CONFIRMED)
    lost = OutboxEntry.objects.filter(state__in=states, topic=topic, partition=partition, entry_ms__gte=since_ms)
    count = 0
    while ids := list(lost.order_by("id").values_list("id", flat=True)[:MOVED_AT_ONCE]):
        count += OutboxEntry.objects.filter(id__in=ids).update(state=OutboxState.NEW, moved_ms=_now_ms())
    return count


def purge() -> bool:
    """Forget entries that were confirmed a day ago, up to 1,000. Result: whether there may be more of them."""
    from bus.models import OutboxEntry, OutboxState

    old = OutboxEntry.objects.filter(state=OutboxState.CONFIRMED, moved_ms__lt=_now_ms() - KEPT_SECONDS * 1000)
    ids = list(old.order_by("moved_ms").values_list("id", flat=True)[:PURGED_AT_ONCE])
    OutboxEntry.objects.filter(id__in=ids).delete()
    return len(ids) == PURGED_AT_ONCE


def _in_transaction() -> bool:
    from django.db import transaction

    inside: bool = transaction.get_connection().in_atomic_block
    return inside


def _now_ms() -> int:
    return int(time.time() * 1000)
