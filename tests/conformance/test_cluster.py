"""A cluster in motion: slots move, a node is away, replies get lost. Nothing is lost by that, and nothing is doubled.

That a cluster which is well keeps every promise is what the other modules here show.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from bus import operations, streams, tail
from bus.cluster import SLOTS, slot_of
from bus.config import Config
from bus.errors import ServerUnavailable
from bus.event import Event
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.wire import together
from tests.bus.swallower import Swallower
from tests.conftest import WaitUntil
from tests.servers import Cluster, Server, ask, programs

TOPIC = "spread"
PARTITIONS = 24


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(programs()["valkey-9"], tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def config(cluster: Cluster, tmp_path: Path) -> Config:
    cluster.wait_until_well()
    return Config(url=cluster.url, data_folder=tmp_path, prefix=f"t{uuid4().hex[:8]}", source="tests")


@pytest.fixture
def client(config: Config, publisher: Publisher) -> Iterator[Client]:
    publisher.declare(TOPIC, PARTITIONS)
    made = connect(config)
    yield made
    made.close()


def home_of(keys: Keys) -> int:
    """Which node has a partition's slot, as they were shared out."""
    return next(n for n in range(3) if slot_of(keys.events) < SLOTS * (n + 1) // 3)


def on_node(client: Client, number: int) -> Keys:
    """A partition whose home is this node."""
    found = (Keys(client.config.prefix, TOPIC, partition) for partition in range(PARTITIONS))
    return next(keys for keys in found if home_of(keys) == number)


def put(publisher: Publisher, keys: Keys, data: object, chosen: str | None = None) -> None:
    """Publish on this partition and no other."""
    draft = publisher.draft(TOPIC, "t", data, id=chosen)
    publisher._connected().run(publisher._append(draft, keys.partition))


def read(client: Client, keys: Keys) -> list[Event]:
    place = (keys.topic, keys.partition)
    chunks = client.run(tail.read(client.config.prefix, {place: tail.Position()}, block_ms=None))
    return chunks[0].events if chunks else []


def data_of(client: Client, keys: Keys) -> list[object]:
    return [event.data for event in read(client, keys)]


class Move:
    """A slot's way from its home to the next node, step by step, as an operator's tool takes it."""

    def __init__(self, cluster: Cluster, keys: Keys) -> None:
        self._keys, self._slot = keys, str(slot_of(keys.events))
        self._source = cluster.nodes[home_of(keys)]
        self._target = cluster.nodes[(home_of(keys) + 1) % 3]
        self._nodes = cluster.nodes

    def begin(self) -> None:
        self._set(self._target, "IMPORTING", self._id(self._source))
        self._set(self._source, "MIGRATING", self._id(self._target))

    def carry_over(self) -> None:
        while names := ask(self._source, "CLUSTER", "GETKEYSINSLOT", self._slot, "100").split("\r\n")[2::2]:
            address = "127.0.0.1", str(self._target.port)
            assert "+OK" in ask(self._source, "MIGRATE", *address, '""', "0", "5000", "KEYS", *names)

    def end(self) -> None:
        for node in (self._target, self._source, *self._nodes):
            self._set(node, "NODE", self._id(self._target))

    def and_back(self) -> None:
        self._source, self._target = self._target, self._source
        self.begin()
        self.carry_over()
        self.end()

    def _id(self, node: Server) -> str:
        return ask(node, "CLUSTER", "MYID").split()[-1]

    def _set(self, node: Server, *words: str) -> None:
        assert "+OK" in ask(node, "CLUSTER", "SETSLOT", self._slot, *words)


@pytest.mark.parametrize("number", range(3))
def test_any_node_leads_to_all_of_them(cluster: Cluster, client: Client, publisher: Publisher, number: int) -> None:
    for node in range(3):
        put(publisher, on_node(client, node), node)
    other = connect(Config(url=cluster.nodes[number].url, prefix=client.config.prefix))
    assert [data_of(other, on_node(other, node)) for node in range(3)] == [[0], [1], [2]]
    other.close()


def test_a_slot_that_moved_is_followed(cluster: Cluster, client: Client, publisher: Publisher) -> None:
    keys = on_node(client, 0)
    put(publisher, keys, 1)
    move = Move(cluster, keys)
    move.begin()
    move.carry_over()
    move.end()
    put(publisher, keys, 2)
    put(publisher, keys, 3, "chosen")
    assert data_of(client, keys) == [1, 2, 3]
    move.and_back()
    assert data_of(client, keys) == [1, 2, 3]


def test_async_clients_follow_too(cluster: Cluster, client: Client, publisher: Publisher) -> None:
    keys = on_node(client, 1)

    async def published_and_read() -> list[object]:
        aclient = streams.aconnect(client.config)
        await aclient.run(operations.publish(keys, publisher.draft(TOPIC, "t", 1)))
        move.begin()
        move.carry_over()
        move.end()
        await aclient.run(operations.publish(keys, publisher.draft(TOPIC, "t", 2)))
        await aclient.aclose()
        return await read_async(client.config, keys)

    move = Move(cluster, keys)
    assert asyncio.run(published_and_read()) == [1, 2]
    move.and_back()


def test_a_slot_on_its_way_takes_what_is_new(cluster: Cluster, client: Client, publisher: Publisher) -> None:
    keys = on_node(client, 2)
    move = Move(cluster, keys)
    move.begin()
    put(publisher, keys, 1)
    publisher._connected().run(operations.publish_batch(keys, [publisher.draft(TOPIC, "t", 2)], {}, 1))
    move.carry_over()
    move.end()
    assert data_of(client, keys) == [1, 2]
    move.and_back()


def test_keys_that_are_half_way_are_waited_for_and_nothing_is_doubled(
    cluster: Cluster, client: Client, publisher: Publisher
) -> None:
    keys = on_node(client, 0)
    put(publisher, keys, 1, "first")
    move = Move(cluster, keys)
    move.begin()
    with pytest.raises(ServerUnavailable, match="its nodes sent us from one to the other"):
        put(publisher, keys, 2, "second")  # its dedupe key is new there, the stream is still here
    move.carry_over()
    move.end()
    for data, chosen in ((1, "first"), (2, "second"), (2, "second")):
        put(publisher, keys, data, chosen)
    assert data_of(client, keys) == [1, 2]
    move.and_back()


def test_a_slot_that_nobody_serves_is_an_error_that_says_so(
    cluster: Cluster, client: Client, publisher: Publisher
) -> None:
    keys, other = on_node(client, 1), on_node(client, 2)
    slot = str(slot_of(keys.events))
    assert "+OK" in ask(cluster.nodes[1], "CLUSTER", "DELSLOTS", slot)
    try:
        with pytest.raises(ServerUnavailable, match="Hash slot not served; look at CLUSTER INFO"):
            put(publisher, keys, 1)
        put(publisher, other, 1)
    finally:
        assert "+OK" in ask(cluster.nodes[1], "CLUSTER", "ADDSLOTS", slot)
    put(publisher, keys, 2)
    assert (data_of(client, keys), data_of(client, other)) == ([2], [1])


def test_a_lost_reply_of_a_node_is_an_error_and_stores_the_event_once(
    cluster: Cluster, client: Client, wait_until: WaitUntil
) -> None:
    node, keys = cluster.nodes[1], on_node(client, 1)
    swallower = Swallower(node.url)
    ask(node, "CONFIG", "SET", "cluster-announce-port", str(swallower.port))
    wait_until(lambda: str(swallower.port) in ask(cluster.nodes[0], "CLUSTER", "SLOTS"), what="its new port")
    try:
        publisher = Publisher(client.config)
        publisher.partitions(TOPIC)
        swallower.swallow.set()
        with pytest.raises(ServerUnavailable):
            put(publisher, keys, 1)
        assert swallower.swallowed == 1
    finally:
        ask(node, "CONFIG", "SET", "cluster-announce-port", "0")
        wait_until(lambda: str(swallower.port) not in ask(cluster.nodes[0], "CLUSTER", "SLOTS"), what="its own port")
        swallower.close()
    assert data_of(client, keys) == [1]


def test_scripts_are_sent_to_each_node_that_lacks_them(cluster: Cluster, client: Client) -> None:
    for node in cluster.nodes:
        ask(node, "SCRIPT", "FLUSH")
    places = [on_node(client, number) for number in range(3)]
    record = SubscriptionRecord()
    many = [operations.subscribe(keys, "g", record, start="$", worker="w") for keys in places]
    assert client.run(together(*many)) == [True] * 3


def several_urls(*nodes: Server) -> str:
    return f"redis://{','.join(f'127.0.0.1:{node.port}' for node in nodes)}/0"


async def read_async(config: Config, keys: Keys) -> list[object]:
    aclient = streams.aconnect(config)
    place = (keys.topic, keys.partition)
    chunks = await aclient.run(tail.read(config.prefix, {place: tail.Position()}, block_ms=None))
    await aclient.aclose()
    return [event.data for chunk in chunks for event in chunk.events]


def test_while_a_node_is_away_the_others_go_on(
    cluster: Cluster, client: Client, publisher: Publisher, wait_until: WaitUntil
) -> None:
    lost, kept = on_node(client, 1), on_node(client, 0)
    put(publisher, lost, 1)
    cluster.nodes[1].kill()
    with pytest.raises(ServerUnavailable):
        put(publisher, lost, 2)
    for number in range(100):
        put(publisher, kept, number)
    assert data_of(client, kept) == list(range(100))
    several = replace(client.config, url=several_urls(cluster.nodes[1], cluster.nodes[2]))
    newcomer = connect(several)
    assert data_of(newcomer, kept) == list(range(100))
    newcomer.close()
    assert asyncio.run(read_async(several, kept)) == list(range(100))
    cluster.nodes[1].start()
    cluster.wait_until_well()
    put(publisher, lost, 3)
    assert data_of(client, lost) == [1, 3]


def test_a_replica_that_stands_in_is_found(
    cluster: Cluster, client: Client, publisher: Publisher, wait_until: WaitUntil
) -> None:
    """The last one here: the cluster is not as it was."""
    keys = on_node(client, 2)
    put(publisher, keys, 1, "first")
    cluster.start_replica(cluster.nodes[2])
    cluster.nodes[2].kill()

    def is_published() -> bool:
        with contextlib.suppress(ServerUnavailable):
            put(publisher, keys, 2, "second")
            return True
        return False

    wait_until(is_published, what="the replica")
    wait_until(lambda: safely_read(client, keys) == [1, 2], what="the other client, which had yet to find out")


def safely_read(client: Client, keys: Keys) -> list[object]:
    with contextlib.suppress(ServerUnavailable):
        return data_of(client, keys)
    return []
