"""Routing, without a server: which node is asked what, and that what was done is never asked for again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from redis.crc import key_slot

from bus.cluster import SLOTS, Address, Cluster, Redirect, Talk, key_of, slot_of
from bus.errors import ServerUnavailable
from bus.keys import Keys
from bus.wire import Command

A, B, C = ("a", 1), ("b", 2), ("c", 3)
MAP = [[0, 4999, [b"a", 1]], [5000, 9999, [b"b", 2]], [10_000, SLOTS - 1, [b"c", 3]]]
IN_A, IN_B, IN_C = b"{b}", b"{g}", b"{a}"  # keys by the node that owns them
Requests = Mapping[Address, Sequence[Command]]
Told = Callable[[Address, Command], Any]


def held(talk: Talk[Any], node: Told) -> tuple[Any, list[Requests]]:
    """Hold a conversation with nodes that answer so. Result: what came of it, and what was asked."""
    asked: list[Requests] = []
    try:
        step = next(talk)
        while True:
            asked.append(step.requests)
            step = talk.send({address: answered(node, address, some) for address, some in step.requests.items()})
    except StopIteration as end:
        return end.value, asked


def answered(node: Told, address: Address, commands: Sequence[Command]) -> list[Any] | Exception:
    replies = [MAP if command[0] == b"CLUSTER" else node(address, command) for command in commands]
    return next((reply for reply in replies if isinstance(reply, OSError)), replies)


def place(address: Address, command: Command) -> Any:
    return address, command


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(A)
    held(made.converse([(b"PING",)], 0), place)
    return made


@pytest.mark.parametrize("key", [b"foo", b"{foo}.bar", b"x{foo}{bar}", b"{}foo", b"foo{", b"{{foo}}", b"}{", b"\xff"])
def test_slots_are_those_of_the_specification(key: bytes) -> None:
    assert slot_of(key) == key_slot(key)


def test_all_keys_of_a_partition_are_in_one_slot() -> None:
    keys = Keys("bus", "orders", 3)
    names = [keys.events, keys.journal, keys.meta, keys.due("g}{"), keys.dead("g"), keys.seen("{x}")]
    assert len({slot_of(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("XADD k * a b", b"k"),
        ("XREADGROUP GROUP STREAMS STREAMS COUNT 1 BLOCK 5 STREAMS k >", b"k"),
        ("XREAD COUNT 1 STREAMS k 0-0", b"k"),
        ("EVALSHA 0f 2 k l m", b"k"),
        ("EVALSHA 0f 0 m", None),
        ("XINFO GROUPS k", b"k"),
        ("SCRIPT LOAD text", None),
        ("TIME", None),
        ("NOSUCH", None),
    ],
)
def test_the_key_of_a_command_is_found(words: str, key: bytes | None) -> None:
    assert key_of(words.encode().split()) == key


def test_each_node_is_asked_once_and_the_replies_are_put_back_in_order(cluster: Cluster) -> None:
    commands = [(b"GET", key) for key in (IN_A, IN_B, IN_A, IN_C, IN_B)]
    replies, asked = held(cluster.converse(commands, 0), place)
    assert replies == list(zip([A, B, A, C, B], commands, strict=True))
    assert [set(requests) for requests in asked] == [{A, B, C}]


def test_what_has_no_key_goes_along_with_the_next_that_has_one(cluster: Cluster) -> None:
    commands = [(b"TIME",), (b"GET", IN_C), (b"SCRIPT", b"LOAD", b"x"), (b"GET", IN_B), (b"INFO",)]
    replies, _ = held(cluster.converse(commands, 0), place)
    assert [address for address, _ in replies] == [C, C, B, B, B]


def test_a_transaction_stays_in_one_piece(cluster: Cluster) -> None:
    commands = [(b"MULTI",), (b"XADD", IN_B), (b"XADD", IN_B), (b"EXEC",), (b"GET", IN_A)]
    replies, _ = held(cluster.converse(commands, 0), place)
    assert [address for address, _ in replies] == [B, B, B, B, A]


def test_only_what_was_not_carried_out_is_asked_again(cluster: Cluster) -> None:
    def moved(address: Address, command: Command) -> Any:
        return Redirect(C, slot_of(IN_A)) if address == A and command[1] == IN_A else address

    commands = [(b"INCR", IN_A), (b"INCR", IN_B), (b"INCR", IN_A)]
    replies, asked = held(cluster.converse(commands, 0), moved)
    assert replies == [C, B, C]
    assert asked[1:] == [{C: [commands[0], commands[2]]}]
    assert cluster.node_of(IN_A) == C, "the next command goes there at once"


def test_a_transaction_of_which_one_command_was_redirected_is_asked_again_as_a_whole(cluster: Cluster) -> None:
    def moved(address: Address, command: Command) -> Any:
        return Redirect(("", 9), slot_of(IN_A)) if address == A and command[0] == b"XADD" else address

    commands = [(b"MULTI",), (b"XADD", IN_A), (b"EXEC",)]
    replies, asked = held(cluster.converse(commands, 0), moved)
    assert replies == [("a", 9)] * 3, "without a name it is another port of the same host"
    assert asked[-1] == {("a", 9): commands}


def test_a_script_goes_along_where_its_call_is_redirected_to(cluster: Cluster) -> None:
    def moved(address: Address, command: Command) -> Any:
        return Redirect(B, slot_of(IN_A)) if address == A and command[0] == b"EVALSHA" else address

    commands = [(b"SCRIPT", b"LOAD", b"return 1"), (b"EVALSHA", b"0f", b"1", IN_A)]
    replies, asked = held(cluster.converse(commands, 0), moved)
    assert (replies, asked[-1]) == ([B, B], {B: commands})


def test_a_slot_on_its_way_is_asked_for_there_this_once(cluster: Cluster) -> None:
    def asked_for(address: Address, command: Command) -> Any:
        return Redirect(B, slot_of(IN_A), asking=True) if address == A else address

    replies, asked = held(cluster.converse([(b"GET", IN_A)], 0), asked_for)
    assert replies == [B]
    assert asked[-1] == {B: [(b"ASKING",), (b"GET", IN_A)]}
    assert cluster.node_of(IN_A) == A


@pytest.mark.parametrize("redirect", [Redirect(), Redirect(A, 1), Redirect(B, 1, asking=True)])
def test_nodes_that_do_not_agree_are_given_up(cluster: Cluster, redirect: Redirect) -> None:
    asked = 0

    def forever(address: Address, command: Command) -> Any:
        nonlocal asked
        asked += command[0] == b"GET"
        return redirect

    with pytest.raises(ServerUnavailable, match="its nodes sent us from one to the other"):
        held(cluster.converse([(b"GET", IN_A)], 0), forever)
    assert asked == 6


def test_a_lost_connection_is_an_error_and_nothing_is_asked_again(cluster: Cluster) -> None:
    asked: list[Command] = []

    def lost(address: Address, command: Command) -> Any:
        asked.append(command)
        return OSError("gone") if address == B else 1

    commands = [(b"INCR", IN_A), (b"INCR", IN_B)]
    with pytest.raises(OSError, match="gone"):
        held(cluster.converse(commands, 0), lost)
    assert asked == commands


def test_the_map_is_asked_of_another_node_when_one_is_gone(cluster: Cluster) -> None:
    gone: set[Address] = {A}

    def node(address: Address, command: Command) -> Any:
        return OSError("gone") if address in gone else address

    with pytest.raises(OSError, match="gone"):
        held(cluster.converse([(b"GET", IN_A)], 0), node)
    _, asked = held(cluster.converse([(b"GET", IN_B)], 0), node)
    assert [[*requests.items()] for requests in asked] == [[(B, [(b"GET", IN_B)])]], "not twice within a moment"
    cluster._next_refresh = 0
    _, asked = held(cluster.converse([(b"PING",)], 0), node)
    assert [list(requests) for requests in asked] == [[B], [B]], "rather nodes that answered"


def test_every_primary_that_answers_tells_its_version() -> None:
    def node(address: Address, command: Command) -> Any:
        return OSError("gone") if address == B else b"version of " + address[0].encode()

    infos, asked = held(Cluster(C).infos(), node)
    assert infos == [b"version of a", b"version of c"]
    assert set(asked[-1]) == {A, B, C}


def test_a_search_visits_every_node(cluster: Cluster) -> None:
    def scan(address: Address, command: Command) -> Any:
        return [b"0" if command[1] == b"7" else b"7", [address[0].encode() + command[1]]]

    cursor, found = 0, list[bytes]()
    while cursor or not found:
        [[text, names]], _ = held(cluster.converse([(b"SCAN", b"%d" % cursor)], 0), scan)
        cursor, found = int(text), found + names
    assert found == [b"a0", b"a7", b"b0", b"b7", b"c0", b"c7"]


def test_a_read_of_several_slots_is_split_and_blocks_nobody(cluster: Cluster) -> None:
    command = (b"XREAD", b"COUNT", b"9", b"BLOCK", b"50", b"STREAMS", IN_A, IN_B, IN_A, b"1", b"2", b"3")

    looks: list[Address] = []

    def rows(address: Address, command: Command) -> Any:
        looks.append(address)
        return [[address, command]] if len(looks) > 4 else None  # two looks in vain

    [reply], asked = held(cluster.converse([command], 30), rows)
    head = (b"XREAD", b"COUNT", b"9", b"STREAMS")
    in_a, in_b = (*head, IN_A, IN_A, b"1", b"3"), (*head, IN_B, b"2")
    assert asked == [{A: [in_a], B: [in_b]}] * 3
    assert reply == [[A, in_a], [B, in_b]]


def test_a_read_of_one_slot_is_left_as_it_is(cluster: Cluster) -> None:
    command = (b"XREAD", b"BLOCK", b"50", b"STREAMS", b"{x}", b"{x}:journal", b"1", b"2")
    _, asked = held(cluster.converse([command], 0.05), lambda *_: None)
    assert [list(requests.values()) for requests in asked] == [[[command]]]
