"""One run: start everything, do the faults, let it settle, gather the evidence."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bus import inspect, tail
from bus.config import Config
from bus.errors import ServerError
from bus.operations import entry_order
from bus.streams import connect
from bus.wire import Operation
from tests.bus.swallower import Swallower
from tests.faults import effects
from tests.faults import evidence as reading
from tests.faults.disk import SlowDisk
from tests.faults.evidence import Evidence
from tests.faults.processes import Keeper, Process
from tests.faults.publishers import Source
from tests.faults.schedule import Step, schedule
from tests.servers import Server

WORKERS: Final = 4
LOOK_SECONDS: Final = 0.05
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
        self.done: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._server = stack.enter_context(
            Server(plan.program, plan.folder / "server", appendfsync="everysec" if plan.relaxed else "always")
        )
        self._disk = SlowDisk(self._server.folder, sync_seconds=SYNC_SECONDS) if plan.relaxed else None
        if self._disk:
            stack.callback(self._disk.stop)
        self._config = Config(url=self._server.url, data_folder=plan.folder, source="faults")
        self._client = connect(self._config)
        stack.callback(self._client.close)
        self._proxies = [Swallower(self._server.url) for _ in range(3)]
        for proxy in self._proxies:
            stack.callback(proxy.close)
        self._processes = stack.enter_context(self._started())

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
        self._wait_until(self._all_ready, "every process at work")
        sources = self._sources()
        began = time.monotonic()
        steps = schedule(self.plan.seed, self.plan.seconds, self.plan.counts)
        of_server = steps.pop("server", [])
        with ThreadPoolExecutor(len(steps) + 1) as threads:
            futures = [threads.submit(self._do_all, some, began) for some in steps.values()]
            # In this thread: Linux ends the server with the thread that started it.
            self._do_all(of_server, began)
        for future in futures:
            future.result()
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

    def _do_all(self, steps: list[Step], began: float) -> None:
        for step in steps:
            threading.Event().wait(max(began + step.at - time.monotonic(), 0))
            getattr(self, f"_{step.kind}")(step)
            self.done[step.kind] += 1

    def _worker_kills(self, step: Step) -> None:
        self._strike("worker", step, Process.kill)

    def _recorder_kills(self, step: Step) -> None:
        self._strike("recorder", step, Process.kill)

    def _web_kills(self, step: Step) -> None:
        self._strike("web", step, Process.kill)

    def _zombies(self, step: Step) -> None:
        frozen = self._strike("worker", step, Process.freeze)
        threading.Event().wait(step.lasts)
        frozen.wake()

    def _server_kills(self, step: Step) -> None:
        self._server.kill()
        if self._disk:
            self.done["bytes_of_log_lost"] += self._disk.cut_power()
        threading.Event().wait(step.lasts)
        self._server.start()

    def _server_pauses(self, step: Step) -> None:
        self._server.signal(signal.SIGSTOP)
        threading.Event().wait(step.lasts)
        self._server.signal(signal.SIGCONT)

    def _memory_fills(self, step: Step) -> None:
        used = self._ask(inspect.server()).used_memory
        self._ask(_set_maxmemory(used - 1024))
        threading.Event().wait(step.lasts)
        self._ask(_set_maxmemory(0))

    def _script_flushes(self, _step: Step) -> None:
        self._ask(Operation([(b"SCRIPT", b"FLUSH")], lambda replies: replies[0]))

    def _lost_replies(self, step: Step) -> None:
        proxy = self._proxies[step.chance % len(self._proxies)]
        proxy.lose += 1 + step.chance // 8 % 3

    def _strike(self, role: str, step: Step, strike: Callable[[Process], bool]) -> Process:
        """Strike the process that the step chose, or the next one that is at work."""
        victims = self._processes[role]
        first = step.chance % len(victims)
        turned = [*victims[first:], *victims[:first]]
        struck: list[Process] = []

        def found() -> bool:
            struck.extend(victim for victim in turned if not struck and strike(victim))
            return bool(struck)

        self._wait_until(found, f"a {role} at work")
        return struck[0]

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
            self.done["publishers_troubles"] += source.troubles
        for condition, what in ((self._is_settled, "everything settled"), (self._is_recorded, "everything recorded")):
            try:
                self._wait_until(condition, what)
            except TimeoutError as error:
                self.troubles.append(str(error))
        return acknowledged

    def _is_settled(self) -> bool:
        states = self._states()
        return bool(states) and all(not state.pending and state.last_delivered == state.newest for state in states)

    def _states(self) -> list[inspect.GroupState]:
        prefix = self._config.prefix
        found = self._ask(inspect.groups(prefix, self._ask(tail.partitions(prefix))))
        states: list[inspect.GroupState] = self._ask(inspect.details(prefix, found))
        return states

    def _is_recorded(self) -> bool:
        partitions = self._ask(tail.partitions(self._config.prefix))
        newest = self._ask(tail.newest(self._config.prefix, partitions))
        rows = query("SELECT topic, number, events_cursor, journal_cursor FROM dashboard_partition")
        stored = {(topic, number): cursors for topic, number, *cursors in rows}
        return newest.keys() <= stored.keys() and all(
            entry_order(mine) >= entry_order(theirs)
            for partition, position in newest.items()
            for mine, theirs in zip(stored[partition], position, strict=True)
        )

    def _ran(self, seconds: float, acknowledged: dict[str, str]) -> Ran:
        from tests.faults import handlers

        events, journal = reading.read_bus(self._client)
        found = Evidence(
            groups=handlers.GROUPS,
            events=events,
            journal=journal,
            acknowledged=acknowledged,
            effects=effects.written(),
            with_inbox=handlers.WITH_INBOX,
            ordered=handlers.ORDERED,
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
            faults=self.done,
            seen=self._seen(),
            evidence=found,
            troubles=self.troubles,
        )

    def _seen(self) -> Counter[str]:
        """What the workers said of it."""
        workers = self._processes["worker"]
        seen = Counter(
            stale_settles=sum(worker.said(b"was settled elsewhere") for worker in workers),
            stopped_by_the_inbox=sum(worker.said(b"was done before") for worker in workers),
            unexpected=sum(worker.said(b"unexpected; starting this cycle afresh") for worker in workers),
            replies_lost=sum(proxy.swallowed for proxy in self._proxies),
        )
        for some in self._processes.values():
            for process in some:
                for how, count in process.ends.items():
                    seen[f"{process.name.partition('-')[0]} {how}"] += count
        return seen

    def _ask(self, operation: Operation[Any]) -> Any:
        """The answer, as soon as the server gives one."""
        deadline = time.monotonic() + self.plan.patience
        while True:
            try:
                return self._client.run(operation)
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(LOOK_SECONDS)

    def _wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self.plan.patience
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {self.plan.patience:g} s for {what}")
            threading.Event().wait(LOOK_SECONDS)


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


def _set_maxmemory(size: int) -> Operation[Any]:
    return Operation([(b"CONFIG", b"SET", b"maxmemory", b"%d" % size)], lambda replies: replies[0])


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False
