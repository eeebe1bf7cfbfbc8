"""A cluster's slot map, and which node gets which command of an operation.

Conversations are generators: they yield what to ask of which nodes, get the answers, and return the replies in the
commands' own order, so that sync and async clients hold the same ones. Knows slots and redirections; must not know
connections. See the cluster specification, https://valkey.io/topics/cluster-spec.
"""

from __future__ import annotations

import time
from binascii import crc_hqx
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from bus.errors import ServerUnavailable
from bus.wire import Command

T = TypeVar("T")
Address = tuple[str, int]
Answers = Mapping[Address, list[Any] | Exception]  # a node's replies, or why there are none

SLOTS: Final = 16_384
REFRESH_SECONDS: Final = 0.5  # the map is asked for twice a second at most
REDIRECTED_SECONDS: Final = (0.0, 0.02, 0.05, 0.1, 0.2)  # pauses before a command goes elsewhere: so often at most
NEWS_SECONDS: Final = (0.01, 0.1)  # first and longest pause between two looks at partitions of several slots
_KEYLESS: Final = frozenset(
    b"ASKING CLIENT CLUSTER CONFIG DBSIZE EXEC FLUSHALL FLUSHDB INFO MULTI PING SCAN SCRIPT TIME".split()
)
_KEY_PLACES: Final = {b"EVALSHA": 3, b"XINFO": 2, b"XGROUP": 2}  # of all others the first argument is a key


class Round(NamedTuple):
    """What to do next: wait, then ask each of these nodes, all of them before the first answer is read."""

    requests: Mapping[Address, Sequence[Command]]
    wait_seconds: float = 0.0


Talk = Generator[Round, Answers, T]


class Redirect(NamedTuple):
    """In the place of a reply: the node did nothing, because another one must (`address` None: not now, TRYAGAIN)."""

    address: Address | None = None
    slot: int = 0
    asking: bool = False  # for this one time only: the slot is on its way to there


@dataclass
class _Block:
    """Commands that stay together on one node. `places`: where their replies belong."""

    places: range
    commands: list[Command]
    key: bytes | None
    address: Address = ("", 0)
    asking: bool = False
    first: int = 0  # of its replies among those of its node


class Cluster:
    """What one client knows of its cluster. Safe to share between threads: every change replaces a whole."""

    def __init__(self, seed: Address) -> None:
        self._seed = seed
        self._owners: dict[int, Address] = {}
        self._stale = True
        self._next_refresh = 0.0  # monotonic
        self._suspects: frozenset[Address] = frozenset()  # they did not answer when asked last
        self.primaries: list[Address] = []

    def node_of(self, key: bytes | None) -> Address:
        """The node that owns a key, as far as we know; for None any one, rather one that answered last time."""
        owner = None if key is None else self._owners.get(slot_of(key))
        return owner or next((node for node in self.primaries if node not in self._suspects), self._seed)

    def converse(self, commands: Sequence[Command], block_seconds: float) -> Talk[list[Any]]:
        """The replies to the commands. A node that can't be asked ends it with that error: nothing is asked twice."""
        if not self._owners or (self._stale and time.monotonic() >= self._next_refresh):
            yield from self._refresh()
        parts = [_split(command) for command in commands]
        replies = yield from self._exchange([command for part in parts for command in part])
        if len(replies) == len(commands):
            return replies
        rest = iter(replies)
        joined = [_joined([next(rest) for _ in part]) for part in parts]
        for place, part in enumerate(parts):
            if joined[place] is None and len(part) > 1:
                joined[place] = yield from self._await_news(part, block_seconds)
        return joined

    def infos(self) -> Talk[list[bytes]]:
        """INFO of every primary that answers."""
        yield from self._refresh()
        answers = yield Round({node: [(b"INFO", b"server")] for node in self.primaries})
        return [answer[0] for answer in answers.values() if isinstance(answer, list) and isinstance(answer[0], bytes)]

    def _refresh(self) -> Talk[None]:
        """Ask for the map, node after node until one answers."""
        self._next_refresh = time.monotonic() + REFRESH_SECONDS
        nodes = dict.fromkeys([*self.primaries, self._seed])
        trouble: Exception | None = None
        for node in sorted(nodes, key=self._suspects.__contains__):
            answer = (yield Round({node: [(b"CLUSTER", b"SLOTS")]}))[node]
            if isinstance(answer, list) and isinstance(answer[0], list):
                self._learn(answer[0], node)
                return
            trouble = answer if isinstance(answer, Exception) else answer[0]
        assert trouble
        raise trouble

    def _learn(self, ranges: list[Any], teller: Address) -> None:
        owners: dict[int, Address] = {}
        for first, last, primary, *_ in ranges:
            address = ((primary[0] or b"").decode() or teller[0], int(primary[1]))  # no name: where we asked
            owners.update(dict.fromkeys(range(first, last + 1), address))
        self._owners, self.primaries = owners, sorted(set(owners.values()))
        self._stale = False

    def _exchange(self, commands: Sequence[Command], wait_seconds: float = 0.0) -> Talk[list[Any]]:
        replies: list[Any] = [None] * len(commands)
        blocks = _blocks(commands)
        for block in blocks:
            block.address = self.node_of(block.key)
        scans = self._aim_scans(blocks)
        for pause in (wait_seconds, *REDIRECTED_SECONDS):
            answers = yield Round(_requests(blocks), pause)
            self._notice(answers)
            blocks = [block for block in blocks if self._is_redirected(block, answers[block.address], replies)]
            if not blocks:
                for place, (index, count) in scans.items():
                    replies[place] = _scanned(replies[place], index, count)
                return replies
        raise ServerUnavailable(
            "no answer from the cluster: expected one node to own the key, its nodes sent us from one to the other;"
            " look at CLUSTER INFO and CLUSTER NODES"
        )

    def _await_news(self, part: list[Command], block_seconds: float) -> Talk[Any]:
        """Look again and again: one command can't block on streams of several slots."""
        deadline, pause = time.monotonic() + block_seconds, NEWS_SECONDS[0]
        while (left := deadline - time.monotonic()) > 0:
            found = _joined((yield from self._exchange(part, min(pause, left))))
            if found is not None:
                return found
            pause = min(pause * 2, NEWS_SECONDS[1])
        return None

    def _aim_scans(self, blocks: list[_Block]) -> dict[int, tuple[int, int]]:
        """SCAN goes from node to node: its cursor tells the node too. Result: by place, which node of how many."""
        scans = {}
        for block in blocks:
            if block.commands[0][0] == b"SCAN":
                nodes = self.primaries or [self._seed]
                cursor, index = divmod(int(block.commands[0][1]), len(nodes))
                block.commands = [(b"SCAN", b"%d" % cursor, *block.commands[0][2:])]
                block.address = nodes[index]
                scans[block.places.start] = (index, len(nodes))
        return scans

    def _notice(self, answers: Answers) -> None:
        """Who does not answer may have lost its slots to another. Raises what such a node was asked in vain."""
        failed = {node: answer for node, answer in answers.items() if isinstance(answer, Exception)}
        if failed or self._suspects:
            self._suspects = (self._suspects - answers.keys()) | failed.keys()
        for error in failed.values():
            self._stale = True
            raise error

    def _is_redirected(self, block: _Block, answer: list[Any] | Exception, replies: list[Any]) -> bool:
        """Whether the block has to be asked again, elsewhere; else its replies are in their places."""
        assert isinstance(answer, list)
        got = answer[block.first : block.first + len(block.commands)]
        redirect = next((reply for reply in got if isinstance(reply, Redirect)), None)
        if redirect is None:
            replies[block.places.start : block.places.stop] = got
            return False
        block.asking = redirect.asking
        if redirect.address:
            block.address = (redirect.address[0] or block.address[0], redirect.address[1])
            if not redirect.asking:
                self._owners = {**self._owners, redirect.slot: block.address}
                self._stale = True
        return True


def slot_of(key: bytes) -> int:
    """The slot of a key: CRC-16 (XMODEM) of what is between its first braces, or of all of it."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1)
    return crc_hqx(key[start + 1 : end] if -1 < start < end - 1 else key, 0) % SLOTS


def key_of(command: Command) -> bytes | None:
    """The first key of a command, if it has one."""
    name = command[0]
    if name in _KEYLESS or (name == b"EVALSHA" and command[2] == b"0"):
        return None
    if name in (b"XREAD", b"XREADGROUP"):
        return command[_streams_at(command)]
    place = _KEY_PLACES.get(name, 1)
    return command[place] if place < len(command) else None


def _streams_at(command: Command) -> int:
    """Where the names of the streams begin. A group or an owner may be called STREAMS too."""
    return list(command).index(b"STREAMS", 4 if command[0] == b"XREADGROUP" else 1) + 1


def _split(command: Command) -> list[Command]:
    """An XREAD of streams in several slots: one for each slot, which do not block. Any other command: itself."""
    if command[0] != b"XREAD":
        return [command]
    start = _streams_at(command)
    count = (len(command) - start) // 2
    by_slot: dict[int, list[int]] = defaultdict(list)
    for place in range(start, start + count):
        by_slot[slot_of(command[place])].append(place)
    if len(by_slot) == 1:
        return [command]
    head = list(command[:start])
    if b"BLOCK" in head:
        at = head.index(b"BLOCK")
        del head[at : at + 2]
    return [(*head, *(command[p] for p in some), *(command[p + count] for p in some)) for some in by_slot.values()]


def _joined(replies: list[Any]) -> Any:
    """The reply to a command from those to its parts."""
    if len(replies) == 1:
        return replies[0]
    error = next((reply for reply in replies if isinstance(reply, Exception)), None)
    return error or [row for reply in replies for row in reply or ()] or None


def _blocks(commands: Sequence[Command]) -> list[_Block]:
    """Transactions stay in one piece, and a script's text with its call. What has no key goes along with the next."""
    blocks: list[_Block] = []
    start, inside = 0, False
    for place, command in enumerate(commands):
        inside = command[0] == b"MULTI" or (inside and command[0] != b"EXEC")
        if not inside and command[:2] != (b"SCRIPT", b"LOAD"):
            own = list(commands[start : place + 1])
            blocks.append(_Block(range(start, place + 1), own, next(filter(None, map(key_of, own)), None)))
            start = place + 1
    for some in (reversed(blocks), blocks):
        key = None
        for block in some:
            key = block.key = block.key if block.key is not None else key
    return blocks


def _requests(blocks: list[_Block]) -> dict[Address, list[Command]]:
    requests: dict[Address, list[Command]] = defaultdict(list)
    for block in blocks:
        asked = requests[block.address]
        if block.asking:
            asked.append((b"ASKING",))
        block.first = len(asked)
        asked += block.commands
    return requests


def _scanned(reply: Any, index: int, count: int) -> Any:
    """SCAN's reply with a cursor that tells the node too; 0 behind the last node."""
    if isinstance(reply, Exception):
        return reply
    cursor = int(reply[0])
    if cursor == 0 and index + 1 < count:
        index += 1
    elif cursor == 0:
        return [b"0", reply[1]]
    return [b"%d" % (cursor * count + index), reply[1]]
