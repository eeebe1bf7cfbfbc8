"""Programs that know nothing of us publish to our topics and read them with groups of their own: neither side breaks
the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bus import fsck, tail
from bus.event import Event
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Subscription
from bus.wire import Operation
from dashboard import queries
from dashboard.models import Event as Stored
from tests.acceptance.strangers import Stranger, strangers
from tests.bus.conftest import records_of, steps_of
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record, bus_client, config, record  # noqa: F401  # fixtures

GROUP = "theirs"
ODD: list[dict[str, str]] = [
    {"x": "1"},
    {"type": "", "data": "", "id": ""},
    {"data": "{not json"},
    {"data": "1" * 5_001},
    {"data": "[" * 5_000},
    {"id": "the same", "type": "order_placed"},
    {"id": "the same", "type": "order_placed", "data": "2"},
    {"id": "<script>alert(1)</script>", "type": "'; DROP TABLE events; --", "source": "\u202e\u0007"},
    {"time": "yesterday", "correlationid": "{}", "traceparent": "00-zz", "causationid": "*"},
    {"causationattempt": "-5", "causationgroup": "email", "causationtopic": "../.."},
    {"partitionkey": "k\r\nDEL *\r\n", "type": "a b\tc"},
    {"partitionkey": "k" * 5_000, "type": "t" * 5_000, "ä☃": "ö"},
    {"*": "$", ">": "~", "STREAMS": "MKSTREAM", "__proto__": "x", "constructor": "y"},
    {f"field-{n}": "x" for n in range(600)},
]


@pytest.fixture
def client(bus_client: Client) -> Client:  # noqa: F811
    return bus_client


@pytest.fixture(params=strangers())
def stranger(request: pytest.FixtureRequest, server_url: str) -> Iterator[Stranger]:
    with strangers()[request.param](server_url.removeprefix("unix://").partition("?")[0]) as made:
        yield made


@pytest.fixture
def keys(client: Client) -> Keys:
    return Keys(client.config.prefix, "orders", 0)


@pytest.fixture
def stream(keys: Keys) -> str:
    return keys.events.decode()


def read_all(stranger: Stranger, stream: str) -> list[tuple[str, dict[str, str]]]:
    """Read and acknowledge, a few at a time, until there is nothing left."""
    found = []
    while some := stranger.read(stream, GROUP, 7):
        assert stranger.acknowledge(stream, GROUP, [entry for entry, _ in some]) == len(some)
        found += some
    return found


def groups_pending(client: Client, keys: Keys) -> dict[str, int]:
    replies = client.run(Operation([(b"XINFO", b"GROUPS", keys.events)], lambda replies: list(replies[0])))
    rows: list[dict[bytes, Any]] = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in replies]
    return {row[b"name"].decode(): row[b"pending"] for row in rows}


@pytest.mark.parametrize("is_ordered", [False, True])
def test_each_side_gets_every_event_once(
    stranger: Stranger,
    stream: str,
    client: Client,
    keys: Keys,
    publisher: Publisher,
    run_worker: RunWorker,
    wait_until: WaitUntil,
    is_ordered: bool,
) -> None:
    stranger.join(stream, GROUP)
    seen: list[Event] = []
    with run_worker(Subscription("orders", "email", seen.append, start="earliest", ordered=is_ordered)):
        entries = []
        for number, fields in enumerate(ODD):
            entries.append(stranger.add(stream, fields))
            entries.append(publisher.publish(publisher.draft("orders", "ours", number, key="k")).entry)
        wait_until(lambda: len(seen) == len(entries))
        found = read_all(stranger, stream)
        wait_until(lambda: groups_pending(client, keys) == {"email": 0, GROUP: 0})
    assert [entry for entry, _ in found] == entries
    assert [fields for entry, fields in found if fields.get("type") != "ours"] == ODD
    assert sorted(event.entry for event in seen) == sorted(entries)
    assert steps_of(client, "orders").count("succeeded") == len(entries) == len(records_of(client, "orders"))
    assert list(fsck.check(client)) == []


def test_what_a_stranger_publishes_can_be_retried_and_given_up(
    stranger: Stranger, stream: str, client: Client, keys: Keys, run_worker: RunWorker, wait_until: WaitUntil
) -> None:
    def refuse(event: Event) -> None:
        raise ValueError(event.id)

    with run_worker(Subscription("orders", "email", refuse, start="earliest")):
        for fields in ODD[:3]:
            stranger.add(stream, {**fields, "data": "\\ud800"})
        wait_until(lambda: steps_of(client, "orders").count("retry_scheduled") >= 3)
    assert list(fsck.check(client)) == []


def test_trimming_waits_for_a_strangers_group(
    stranger: Stranger, stream: str, client: Client, publisher: Publisher
) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(30)])
    stranger.join(stream, GROUP)
    entries = [entry for entry, _ in stranger.read(stream, GROUP, 20)]
    stranger.acknowledge(stream, GROUP, entries[:10])

    def left() -> int:
        client.run(tail.trim(client.config.prefix, ("orders", 0), tail.Position("9999999999999-0", "0-0"), 5))
        return client.run(Operation([(b"XLEN", stream.encode())], lambda replies: int(replies[0])))

    assert left() == 20, "ten are pending, ten have not been read"
    stranger.acknowledge(stream, GROUP, entries[10:])
    assert left() == 11, "the last one that was read marks their place"
    read_all(stranger, stream)
    assert left() < 10


def test_the_pages_show_a_strangers_events_and_its_group(
    stranger: Stranger,
    stream: str,
    publisher: Publisher,
    record: Record,  # noqa: F811
) -> None:
    publisher.publish(publisher.draft("orders", "t", 1))
    stranger.join(stream, GROUP)
    entries = [stranger.add(stream, fields) for fields in ODD]
    stranger.read(stream, GROUP, 3)
    assert record()
    assert set(Stored.objects.values_list("entry", flat=True)) >= set(entries)
    [row] = queries.overview()["groups"]
    assert (row["group"], row["pending"], row["waiting"], row["workers"]) == (GROUP, 3, len(ODD) - 2, 0)


@pytest.mark.parametrize("name", [b"\xff", b"a b:{c}\r\n*", b"<b>", b"STREAMS", b"~"])
def test_a_group_of_any_name_harms_nobody(
    name: bytes,
    client: Client,
    keys: Keys,
    publisher: Publisher,
    record: Record,  # noqa: F811
) -> None:
    publisher.publish_many([publisher.draft("orders", "t", n) for n in range(3)])
    read = (b"XREADGROUP", b"GROUP", name, name, b"COUNT", b"2", b"STREAMS", keys.events, b">")
    client.run(Operation([(b"XGROUP", b"CREATE", keys.events, name, b"0"), read], len))
    assert record()
    assert len(queries.overview()["groups"]) == 1
    assert list(fsck.check(client)) == []
