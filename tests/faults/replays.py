"""`python -m tests.faults.replays --letters 1000000`: replay dead letters while client and server are killed.

The letters are made by the bus' own operations: published, taken and settled as dead, 500 in a call. Then
`manage.py replay` runs until none is left, killed at replies that the seed chose: the server did it, the client never
heard. Exit code 0: each letter was replayed once.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from bus import operations
from bus.config import Config
from bus.journal import Failure, Record, Step, SubscriptionRecord
from bus.keys import Keys
from bus.operations import MAX_BATCH, Settlement
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.wire import Operation
from tests.bus.swallower import Swallower
from tests.faults.__main__ import program_named
from tests.faults.evidence import Evidence, read_bus
from tests.faults.processes import ROOT
from tests.servers import Server

GROUP: Final = "email"
SERVER_SHARE: Final = 4  # every fourth crash is the server's
REPLIES_A_BATCH: Final = 3  # its letters, whether the group keeps order, the replay
KILL_SECONDS: Final = 0.02  # the server dies within this time after the reply
HELD_SECONDS: Final = 60.0
LOAD_SECONDS: Final = 600.0  # a million letters are a log of hundreds of megabytes
PAGE: Final = 10_000


class Holder(Swallower):
    """Holds back the reply number `count` from now on; once it may go on, it loses it."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._left = 0
        self.held = threading.Event()
        self.may_go_on = threading.Event()

    def hold(self, count: int) -> None:
        self.held.clear()
        self.may_go_on.clear()
        self._left = count

    def _is_lost(self) -> bool:
        if self._left == 0:
            return False
        self._left -= 1
        if self._left:
            return False
        self.held.set()
        self.may_go_on.wait(HELD_SECONDS)
        return True


class Replays:
    """Dead letters on a server, and the attempts to replay them."""

    def __init__(self, server: Server, folder: Path, *, letters: int, seed: int) -> None:
        self.letters = letters
        self.kills: Counter[str] = Counter()
        self.recorded = 0  # replays that the journal tells of
        self._server = server
        self._config = Config(url=server.url, data_folder=folder, source="faults")
        self._keys = Keys(self._config.prefix, "orders", 0)
        self._dice = random.Random(seed)
        django = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "SECRET_KEY": "faults"}
        self._environment = {**os.environ, **django, "BUS_DATA": str(folder)}

    def fill(self) -> None:
        """Publish, take and give up."""
        publisher = Publisher(self._config)
        with closing(connect(self._config)) as client:
            publisher.declare("orders", 1)
            client.run(operations.subscribe(self._keys, GROUP, SubscriptionRecord(), start="0-0", worker="w"))
            for first in range(0, self.letters, MAX_BATCH):
                numbers = range(first, min(first + MAX_BATCH, self.letters))
                publisher.publish_many([publisher.draft("orders", "order_placed", {"number": n}) for n in numbers])
                client.run(self._give_up(client))
        publisher.close()

    def _give_up(self, client: Client) -> Operation[frozenset[str]]:
        take = operations.take_new(self._keys, GROUP, "w#0", count=MAX_BATCH, block_ms=None)
        failure = Failure("ValueError", "no")
        ended = [
            Settlement(b"d", Record(Step.DEAD_LETTERED, event.entry, event.attempt, failure=failure))
            for event in client.run(take).events
        ]
        return operations.settle(self._keys, GROUP, "w#0", ended, holds=len(ended))

    def replay(self, crashes: int) -> None:
        """Run the command until it ends by itself, after so many crashes."""
        for number in range(crashes):
            self._crash(of_server=number % SERVER_SHARE == SERVER_SHARE - 1, crashes=crashes)
        done = self._command(self._server.url)
        code = done.wait(3600)
        if code:
            raise RuntimeError(f"expected the last replay to end well, its exit code is {code}")

    def _crash(self, *, of_server: bool, crashes: int) -> None:
        """Let it run up to some reply, and kill client or server there."""
        batches = -(-self.letters // MAX_BATCH)
        holder = Holder(self._server.url)
        holder.hold(3 + self._dice.randrange(max(REPLIES_A_BATCH * batches // (crashes + 1), REPLIES_A_BATCH)))
        client = self._command(holder.url)
        while not holder.held.wait(0.1):
            if client.poll() is not None:
                raise RuntimeError(f"expected the replay to be killed half-way, it ended with {client.returncode}")
        if of_server:
            holder.may_go_on.set()
            threading.Event().wait(self._dice.uniform(0, KILL_SECONDS))
            self._server.kill()
            client.wait(60)
            self._server.start(seconds=LOAD_SECONDS)
        else:
            client.kill()
            client.wait()
            holder.may_go_on.set()
        holder.close()
        self.kills["server" if of_server else "client"] += 1

    def _command(self, url: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "manage.py", "replay", "orders", GROUP]
        environment = {**self._environment, "BUS_URL": url}
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdin=quiet, stdout=quiet, stderr=quiet)

    def findings(self) -> Iterator[str]:
        """What is not as it should be: each letter once pending, due and in the journal, and none left."""
        with closing(connect(self._config)) as client:
            left = client.run(Operation([(b"XLEN", self._keys.dead(GROUP))], lambda replies: int(replies[0])))
            if left:
                yield f"{left:,} dead letters were not replayed"
            yield from self._wrong_pending(client)
            yield from self._wrong_journal(client)

    def _wrong_pending(self, client: Client) -> Iterator[str]:
        due = client.run(Operation([(b"ZCARD", self._keys.due(GROUP))], lambda replies: int(replies[0])))
        entries = set()
        for row in self._pending(client):
            entry, owner, _, count = row
            entries.add(entry)
            if (owner, count) != (b"~", 1):
                yield f"{entry.decode()} is pending of {owner.decode()} at count {count}, expected ~ at 1"
        if (len(entries), due) != (self.letters, self.letters):
            yield f"expected {self.letters:,} pending and due, got {len(entries):,} and {due:,}"

    def _pending(self, client: Client) -> Iterator[list[Any]]:
        start = b"-"
        while rows := client.run(self._page(start)):
            yield from rows
            start = b"(" + rows[-1][0]

    def _page(self, start: bytes) -> Operation[list[list[Any]]]:
        command = (b"XPENDING", self._keys.events, GROUP.encode(), start, b"+", b"%d" % PAGE)
        return Operation([command], lambda replies: list(replies[0]))

    def _wrong_journal(self, client: Client) -> Iterator[str]:
        events, journal = read_bus(client)
        told = Evidence(groups={GROUP}, events=events, journal=journal)
        replayed = Counter(delivery.entry for delivery, record in told.records() if record.step == Step.REPLAYED)
        doubled = sum(count > 1 for count in replayed.values())
        self.recorded = replayed.total()
        if (len(replayed), doubled) != (self.letters, 0):
            yield f"expected {self.letters:,} letters replayed once, got {len(replayed):,}, {doubled:,} of them twice"
        if len({event.id for event in events}) != self.letters:
            yield f"expected {self.letters:,} events on the stream, got {len(events):,}"


def main(words: list[str]) -> int:
    options = _parser().parse_args(words)
    with tempfile.TemporaryDirectory(prefix="fanlight-replays-") as folder:
        server = Server(options.server, Path(folder) / "server")
        with server:
            replays = Replays(server, Path(folder), letters=options.letters, seed=options.seed)
            began = time.monotonic()
            replays.fill()
            filled = time.monotonic()
            replays.replay(options.crashes)
            replayed = time.monotonic()
            wrong = list(replays.findings())
    kills = ", ".join(f"{who} {count:,}" for who, count in replays.kills.items())
    print(f"{options.letters:,} dead letters made by settle in {filled - began:.0f} s, strict, seed {options.seed}")
    print(f"replayed in {replayed - filled:.0f} s; killed: {kills}")
    print(f"the journal tells of {replays.recorded:,} replays")
    print("\n".join(wrong[:10]) or f"{options.letters:,} unique, 0 doubled, 0 left")
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.replays", description=__doc__)
    parser.add_argument("--letters", type=int, default=5_000, help="how many dead letters (default 5000)")
    parser.add_argument("--crashes", type=int, default=8, help="every fourth is the server's (default 8)")
    parser.add_argument("--seed", type=int, default=1, help="decides where it is killed (default 1)")
    parser.add_argument("--server", type=program_named, default="valkey-9", help="a name or a path")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
