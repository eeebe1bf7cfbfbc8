"""What the bus says of itself."""

from __future__ import annotations

from bus import inspect, operations
from bus.journal import Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import Settlement
from bus.publisher import Publisher
from bus.streams import Client


def groups(client: Client) -> list[inspect.GroupState]:
    prefix = client.config.prefix
    found = client.run(inspect.groups(prefix, [("orders", 0), ("none", 0)]))
    return client.run(inspect.details(prefix, found))


def test_a_groups_place_is_told(client: Client, publisher: Publisher) -> None:
    entries = [e.entry for e in publisher.publish_many([publisher.draft("orders", "t", n) for n in range(5)])]
    keys = Keys(client.config.prefix, "orders", 0)
    client.run(operations.subscribe(keys, "email", SubscriptionRecord(), start="0-0", worker="w"))
    client.run(operations.take_new(keys, "email", "w#0", count=3, block_ms=None))
    retry = Settlement(b"r", Record(Step.RETRY_SCHEDULED, entries[1], 1, due_in_ms=60_000))
    dead = Settlement(b"d", Record(Step.DEAD_LETTERED, entries[2], 1))
    client.run(operations.settle(keys, "email", "w#0", [retry, dead], holds=3))
    [state] = groups(client)
    assert (state.topic, state.partition, state.group) == ("orders", 0, "email")
    assert (state.last_delivered, state.newest) == (entries[2], entries[4])
    assert (state.pending, state.due, state.dead, state.oldest_pending) == (2, 1, 1, entries[0])


def test_a_worker_is_alive_while_its_lease_holds(client: Client) -> None:
    prefix = client.config.prefix
    client.run(operations.heartbeat(prefix, "w-1", b'{"host":"h","pid":7,"groups":["email"],"lease_ms":60000}'))
    client.run(operations.heartbeat(prefix, "w-2", b'{"lease_ms":0}'))
    client.run(operations.heartbeat(prefix, "w-3", b"not json"))
    states = {worker.id: worker for worker in client.run(inspect.workers(prefix))}
    assert (states["w-1"].alive, states["w-1"].pid, states["w-1"].groups) == (True, 7, ["email"])
    assert not states["w-2"].alive
    assert states["w-3"].host == ""
    client.run(operations.farewell(prefix, "w-1"))
    assert "w-1" not in {worker.id for worker in client.run(inspect.workers(prefix))}


def test_the_server_names_its_durability(client: Client) -> None:
    state = client.run(inspect.server())
    assert state.product in ("valkey", "redis")
    assert state.aof
    assert state.appendfsync == "everysec"
    assert state.used_memory > 0
