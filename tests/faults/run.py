"""One run: start everything, do the faults, let it settle, gather the evidence."""

from __future__ import annotations

import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bus import inspect, operations, tail
from bus.config import Config
from bus.operations import entry_order
from bus.streams import connect
from tests.bus.swallower import Swallower
from tests.faults import effects
from tests.faults import evidence as reading
from tests.faults.attacks import Attacks, Patience
from tests.faults.disk import SlowDisk
from tests.faults.evidence import Evidence
from tests.faults.handlers import GROUPS, ORDERED, PARTITIONS, TOPIC, WITH_INBOX
from tests.faults.processes import Keeper, Process
from tests.faults.publishers import Source
from tests.faults.schedule import schedule
from tests.servers import Server

WORKERS: Final = 4
SYNC_SECONDS: Final = 3.0  # how late the slow disk of `relaxed` is


@dataclass(frozen=True)
class Plan:
    """What was asked for. `without`: the safety that is left out, "inbox" or "fence"."""

    program: Path
    folder: Path
    seed: int
    seconds: float
    counts: Mapping[str, int]
    without: str = ""
    relaxed: bool = False
    rate: float = 80.0  # events a second, of all publishers
    patience: float = 180.0  # seconds until all must be settled
    database: str = ""


@dataclass
class Ran:
    """What was done, and the evidence of what came of it."""

    server: str
    durability: str
    seconds: float
    faults: Counter[str]
    seen: Counter[str]
    evidence: Evidence
    troubles: list[str] = field(default_factory=list)


class Run:
    """The processes of one run, and the faults that are done to them."""

    def __init__(self, plan: Plan, stack: ExitStack) -> None:
        self.plan = plan
        self.troubles: list[str] = []
        self._server = stack.enter_context(
            Server(plan.program, plan.folder / "server", appendfsync="everysec" if plan.relaxed else "always")
        )
        disk = SlowDisk(self._server.folder, sync_seconds=SYNC_SECONDS) if plan.relaxed else None
        if disk:
            stack.callback(disk.stop)
        self._config = Config(url=self._server.url, data_folder=plan.folder, source="faults")
        self._client = connect(self._config)
        stack.callback(self._client.close)
        self._client.run(operations.declare_topic(self._config.prefix, TOPIC, PARTITIONS))
        self._proxies = [Swallower(self._server.url) for _ in range(3)]
        for proxy in self._proxies:
            stack.callback(proxy.close)
        self._processes = stack.enter_context(self._started())
        self._patience = Patience(self._client, seconds=plan.patience)
        self._attacks = Attacks(self._server, self._processes, self._proxies, patience=self._patience, disk=disk)

    @contextmanager
    def _started(self) -> Iterator[dict[str, list[Process]]]:
        processes = {
            "worker": [self._worker(number) for number in range(WORKERS)],
            "recorder": [self._process("recorder", ["recorder"], lambda said: b"recording what happens" in said)],
            "web": [self._web()],
        }
        everyone = [process for some in processes.values() for process in some]
        keeper = Keeper(everyone)
        try:
            yield processes
        finally:
            keeper.stop()
            for process in everyone:
                process.end()

    def _worker(self, number: int) -> Process:
        url = self._proxies[number].url if number < 2 else self._server.url
        arguments = ["worker", "tests.faults.handlers"]
        return self._process(f"worker-{number}", arguments, lambda said: b" handles " in said, BUS_URL=url)

    def _web(self) -> Process:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = int(probe.getsockname()[1])
        return self._process("web", ["web", "--port", str(port)], lambda _: _accepts(port))

    def _process(self, name: str, arguments: list[str], ready: Callable[[bytes], bool], **extra: str) -> Process:
        environment = {
            **os.environ,
            "BUS_URL": self._server.url,
            "FAULTS_SEED": str(self.plan.seed),
            "FAULTS_WITHOUT": self.plan.without,
            **extra,
        }
        return Process(name, arguments, folder=self.plan.folder, environment=environment, ready=ready)

    def go(self) -> Ran:
        """Do all faults of the schedule, wait until all is settled, read the evidence."""
        self._patience.wait_until(self._all_ready, "every process at work")
        sources = self._sources()
        began = time.monotonic()
        self._attacks.carry_out(schedule(self.plan.seed, self.plan.seconds, self.plan.counts))
        seconds = time.monotonic() - began
        acknowledged = self._finish(sources)
        return self._ran(seconds, acknowledged)

    def _sources(self) -> list[Source]:
        rate, seed = self.plan.rate / 3, self.plan.seed
        through_proxy = Config(url=self._proxies[2].url, data_folder=self.plan.folder, source="faults")
        return [
            Source("first", self._config, seed=seed, rate=rate, keyed=True),
            Source("second", through_proxy, seed=seed, rate=rate, keyed=True),
            Source("third", self._config, seed=seed, rate=rate, keyed=False),
        ]

    def _all_ready(self) -> bool:
        return all(process.is_ready() for some in self._processes.values() for process in some)

    def _finish(self, sources: list[Source]) -> dict[str, str]:
        """No more faults: publish what was begun, wait until it is settled and recorded, then stop everybody."""
        for proxy in self._proxies:
            proxy.lose = 0
        acknowledged: dict[str, str] = {}
        for source in sources:
            if not source.stop(self.plan.patience):
                self.troubles.append("a publisher got no acknowledgement although the faults were over")
            acknowledged |= source.acknowledged
            self._attacks.done["publishers_troubles"] += source.troubles
        for condition, what in ((self._is_settled, "everything settled"), (self._is_recorded, "everything recorded")):
            try:
                self._patience.wait_until(condition, what)
            except TimeoutError as error:
                self.troubles.append(str(error))
        if count := self._said(b"unexpected; starting this cycle afresh"):
            self.troubles.append(f"a cycle met an exception that nobody expected, {count} times")
        return acknowledged

    def _is_settled(self) -> bool:
        states = self._states()
        return bool(states) and all(not state.pending and state.last_delivered == state.newest for state in states)

    def _states(self) -> list[inspect.GroupState]:
        prefix = self._config.prefix
        found = self._patience.ask(inspect.groups(prefix, self._patience.ask(tail.partitions(prefix))))
        states: list[inspect.GroupState] = self._patience.ask(inspect.details(prefix, found))
        return states

    def _is_recorded(self) -> bool:
        partitions = self._patience.ask(tail.partitions(self._config.prefix))
        newest = self._patience.ask(tail.newest(self._config.prefix, partitions))
        rows = query("SELECT topic, number, events_cursor, journal_cursor FROM dashboard_partition")
        stored = {(topic, number): cursors for topic, number, *cursors in rows}
        return newest.keys() <= stored.keys() and all(
            entry_order(mine) >= entry_order(theirs)
            for partition, position in newest.items()
            for mine, theirs in zip(stored[partition], position, strict=True)
        )

    def _ran(self, seconds: float, acknowledged: dict[str, str]) -> Ran:
        events, journal = reading.read_bus(self._client)
        found = Evidence(
            groups=GROUPS,
            events=events,
            journal=journal,
            acknowledged=acknowledged,
            effects=effects.written(),
            with_inbox=WITH_INBOX,
            ordered=ORDERED,
            letters=reading.read_letters(self._client),
            problems=reading.read_problems(self._client),
            left=reading.read_left(self._client),
            differences=reading.differences(query, events, journal),
        )
        state = self._client.run(inspect.server())
        return Ran(
            server=f"{state.product} {state.version}",
            durability=f"appendfsync {state.appendfsync}",
            seconds=seconds,
            faults=self._attacks.done,
            seen=self._seen(),
            evidence=found,
            troubles=self.troubles,
        )

    def _seen(self) -> Counter[str]:
        """What the workers said of it."""
        seen = Counter(
            stale_settles=self._said(b"was settled elsewhere"),
            stopped_by_the_inbox=self._said(b"was done before"),
            replies_lost=sum(proxy.swallowed for proxy in self._proxies),
        )
        for some in self._processes.values():
            for process in some:
                for how, count in process.ends.items():
                    seen[f"{process.name.partition('-')[0]} {how}"] += count
        return seen

    def _said(self, part: bytes) -> int:
        return sum(worker.said(part) for worker in self._processes["worker"])


def prepare(plan: Plan) -> None:
    """Make this process a Django program on the run's folder, with an empty database."""
    os.environ.update(
        BUS_DATA=str(plan.folder),
        DJANGO_SETTINGS_MODULE="tests.faults.settings",
        SECRET_KEY="faults",
        BUS_HANDLERS="",
        DATABASE_URL=plan.database,
    )
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    effects.make_table()


def query(sql: str) -> set[tuple[Any, ...]]:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return set(cursor.fetchall())


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False
