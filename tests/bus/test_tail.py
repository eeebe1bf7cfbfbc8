"""Reading events and journal: nothing skipped, nothing twice, an event before its records."""

from __future__ import annotations

import asyncio

import pytest

from bus import operations, streams, tail
from bus.journal import JournalEntry, Record, Step, SubscriptionRecord, pack
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client
from bus.wire import Operation

ORDERS = ("orders", 0)


def publish(publisher: Publisher, count: int) -> list[str]:
    drafts = [publisher.draft("orders", "order_placed", n) for n in range(count)]
    return [event.entry for event in publisher.publish_many(drafts)]


def handle_all(client: Client) -> None:
    keys = Keys(client.config.prefix, *ORDERS)
    client.run(operations.subscribe(keys, "g", SubscriptionRecord(), start="0-0", worker="w"))
    while events := client.run(operations.take_new(keys, "g", "w#0", count=10, block_ms=None)).events:
        ended = [Settlement(b"a", Record(Step.SUCCEEDED, event.entry, 1)) for event in events]
        client.run(operations.settle(keys, "g", "w#0", ended, holds=10))


def read_on(client: Client, position: tail.Position, count: int) -> tail.Chunk | None:
    chunks = client.run(tail.read(client.config.prefix, {ORDERS: position}, count=count, block_ms=None))
    return chunks[0] if chunks else None


@pytest.mark.parametrize("count", [1, 7, 500])
def test_every_event_is_read_once_and_before_its_records(client: Client, publisher: Publisher, count: int) -> None:
    published = publish(publisher, 95)
    handle_all(client)
    position, events, settled = tail.Position(), list[str](), list[str]()
    while chunk := read_on(client, position, count):
        events += [event.entry for event in chunk.events]
        for record in (record for entry in chunk.journal for record in entry.records):
            assert record.entry in events
            settled.append(record.entry)
        position = chunk.position
    assert events == settled == published


def test_waiting_for_news_ends_with_the_first_event(client: Client, publisher: Publisher) -> None:
    publish(publisher, 1)
    [now] = client.run(tail.newest(client.config.prefix, [ORDERS])).values()
    async_read = tail.read(client.config.prefix, {ORDERS: now}, block_ms=5000)
    entry = publish(publisher, 1)[0]
    [chunk] = client.run(async_read)
    assert [event.entry for event in chunk.events] == [entry]


def test_a_strangers_journal_entry_is_passed_over(client: Client, publisher: Publisher) -> None:
    publish(publisher, 1)
    journal = Keys(client.config.prefix, *ORDERS).journal
    odd = [b"\xc1", pack([Record(Step.SUCCEEDED, "no entry", 1)])]
    client.run(Operation([(b"XADD", journal, b"*", b"b", blob) for blob in odd], len))
    client.run(Operation([(b"XADD", journal, b"*", b"x", b"y")], len))
    handle_all(client)
    for count in (100, 1):  # with all there is to read, and with more to come
        chunk = read_on(client, tail.Position(), count)
        assert chunk
    chunk = read_on(client, tail.Position(), 100)
    assert chunk
    assert [len(entry.records) for entry in chunk.journal] == [0, 1, 0, 0, 1]
    assert isinstance(chunk.journal[0], JournalEntry)


def test_the_catalogue_lists_every_partition(client: Client, publisher: Publisher) -> None:
    publisher.declare("users", 2)
    publish(publisher, 1)
    assert client.run(tail.partitions(client.config.prefix)) == [("orders", 0), ("users", 0), ("users", 1)]


def test_a_stream_that_a_stranger_wrote_is_discovered(client: Client) -> None:
    for name in ("handmade/0", "bad name/0", "handmade/x"):
        key = f"{client.config.prefix}:{{{name}}}".encode()
        client.run(Operation([(b"XADD", key, b"*", b"data", b"1")], len))
    cursor, found = client.run(tail.discover(client.config.prefix))
    while cursor:
        cursor, more = client.run(tail.discover(client.config.prefix, cursor))
        found += more
    assert found == [("handmade", 0)]


def test_trimming_keeps_what_a_group_has_yet_to_settle(client: Client, publisher: Publisher) -> None:
    entries = publish(publisher, 50)
    keys = Keys(client.config.prefix, *ORDERS)
    client.run(operations.subscribe(keys, "slow", SubscriptionRecord(), start="0-0", worker="w"))
    client.run(operations.take_new(keys, "slow", "w#0", count=10, block_ms=None))
    done = [Settlement(b"a", Record(Step.SUCCEEDED, entry, 1)) for entry in entries[:10] if entry != entries[4]]
    client.run(operations.settle(keys, "slow", "w#0", done, holds=10))
    stored = tail.Position(entries[-1], "9999999999999-0")
    client.run(tail.trim(client.config.prefix, ORDERS, stored, 5))
    left = read_on(client, tail.Position(), 100)
    assert left
    assert [event.entry for event in left.events] == entries[4:], "the oldest pending entry and all after it stay"


def test_trimming_keeps_what_the_recorder_has_not_stored(client: Client, publisher: Publisher) -> None:
    entries = publish(publisher, 50)
    client.run(tail.trim(client.config.prefix, ORDERS, tail.Position(entries[19], "0-0"), 5))
    left = read_on(client, tail.Position(), 100)
    assert left
    assert [event.entry for event in left.events] == entries[19:]


def test_screens_hear_which_traces_were_recorded(client: Client) -> None:
    async def heard() -> list[str]:
        aclient = streams.aconnect(client.config)
        try:
            announcements = tail.announcements(aclient)
            first = asyncio.ensure_future(anext(announcements))
            while not first.done():  # the subscription takes a moment: say it until it is heard
                await asyncio.to_thread(tail.announce, client, ["a", "b"])
                await asyncio.wait([first], timeout=0.05)
            return await first
        finally:
            await aclient.aclose()

    assert asyncio.run(asyncio.wait_for(heard(), 10)) == ["a", "b"]


def test_nothing_wanted_is_nothing_found(client: Client) -> None:
    assert client.run(tail.newest(client.config.prefix, [])) == {}
