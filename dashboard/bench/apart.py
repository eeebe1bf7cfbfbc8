"""Workers in processes of their own: what a second one brings, and what the inbox costs.

Their group is paused until all have begun, so what a program needs to start is not measured. Each is this module as a
program, `python -m dashboard.bench.apart GROUP [inbox]`, with BUS_URL and BUS_DATA saying where; the inbox is a SQLite
database in that folder.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

import bus
from bus import control, inspect, operations
from bus.config import Config
from bus.garbage import collect_rarely
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client, connect
from bus.wire import Operation
from dashboard.bench.compared import compared
from dashboard.bench.load import TOPIC, TYPE, key, payload
from dashboard.bench.pairs import Run, alternate
from dashboard.bench.report import Table

POLL_SECONDS: Final = 0.01
PATIENCE_SECONDS: Final = 120.0
PAIRS: Final = 5
COLUMNS: Final = ("", "times the baseline", "by processor time", "a second", "baseline a second")


def main(group: str, inbox: str = "") -> None:
    """A worker that looks at the data of each event, until it is told to stop."""
    if inbox:
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
        import django

        django.setup()
    bus.subscribe(TOPIC, group=group, inbox=bool(inbox))(_look)
    collect_rarely()
    worker = bus.Worker()
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()


def measured(url: str, folder: Path, events: int) -> Table:
    """One process against two, and without the inbox against with it (on fewer events: each is a transaction)."""
    config, few = Config(url=url, data_folder=folder), max(events // 20, 200)
    environ = {**os.environ, "BUS_URL": url, "BUS_DATA": str(folder), "DATABASE_URL": "", "SECRET_KEY": "bench"}
    manage = [sys.executable, "-m", "django", "migrate", "--verbosity", "0", "--settings", "dashboard.settings"]
    subprocess.run(manage, env=environ, check=True)
    with closing(connect(config)) as client, closing(Publisher(config)) as publisher:
        for first in range(0, events, 500):
            numbers = range(first, min(first + 500, events))
            publisher.publish_many([publisher.draft(TOPIC, TYPE, payload(n), key=key(n)) for n in numbers])
        settled = partial(_settled, client, environ)
        found = [
            ("two processes, against one", alternate(PAIRS, lambda: settled(events, 1), lambda: settled(events, 2))),
            (
                "inbox=True, against without",
                alternate(PAIRS, lambda: settled(few, 1), lambda: settled(few, 1, "inbox")),
            ),
        ]
    return compared(f"Workers in processes of their own, {PAIRS} pairs", found, COLUMNS)


def _settled(client: Client, environ: dict[str, str], events: int, processes: int, *words: str) -> Run:
    """From the moment when the group may go on until its last event is settled."""
    prefix, group = client.config.prefix, f"g{uuid4().hex[:8]}"
    keys = Keys(prefix, TOPIC, 0)
    start = _before_last(client, keys, events)
    client.run(operations.subscribe(keys, group, SubscriptionRecord(), start=start, worker="bench"))
    client.run(control.pause(keys, group, who="bench"))
    with _programs(environ, processes, group, *words) as pids:
        _wait(lambda: _alive(client, group) == processes, "workers to begin")
        began, used = time.perf_counter(), sum(map(_cpu, pids))
        client.run(control.resume(keys, group, who="bench"))
        _wait(lambda: _is_settled(client, group), f"{events:,} events to be settled")
        return Run(events, time.perf_counter() - began, sum(map(_cpu, pids)) - used)


def _before_last(client: Client, keys: Keys, events: int) -> str:
    """The entry after which so many follow."""
    command = (b"XREVRANGE", keys.events, b"+", b"-", b"COUNT", b"%d" % (events + 1))

    def parse(replies: list[list[list[bytes]]]) -> str:
        return replies[0][-1][0].decode() if len(replies[0]) > events else "0-0"

    return client.run(Operation([command], parse))


@contextmanager
def _programs(environ: dict[str, str], count: int, *words: str) -> Iterator[list[int]]:
    command = [sys.executable, "-m", "dashboard.bench.apart", *words]
    programs = [subprocess.Popen(command, env=environ, stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield [program.pid for program in programs]
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait()


def _alive(client: Client, group: str) -> int:
    return sum(group in worker.groups for worker in client.run(inspect.workers(client.config.prefix)) if worker.alive)


def _is_settled(client: Client, group: str) -> bool:
    prefix = client.config.prefix
    found = [one for one in client.run(inspect.groups(prefix, [(TOPIC, 0)])) if one[1]["name"] == group]
    (state,) = client.run(inspect.details(prefix, found))
    return not state.pending and state.last_delivered == state.newest


def _cpu(pid: int) -> float:
    """Seconds of the processor that a process has used; 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / os.sysconf("SC_CLK_TCK")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {what} within {PATIENCE_SECONDS:g} s, it did not happen")
        time.sleep(POLL_SECONDS)


def _look(event: bus.Event) -> None:
    event.data  # noqa: B018  # decoded when it is asked for


if __name__ == "__main__":
    main(*sys.argv[1:])
