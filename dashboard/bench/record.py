"""Recording: does it keep up with a worker, how fast a long history is asked, how large it gets.

On SQLite and on PostgreSQL, each with a server of its own. Says plainly what was left out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from bus.errors import BusError, ConfigError
from bus.server import EmbeddedServer
from dashboard.bench.databases import NAMES, Database, opened
from dashboard.bench.record_tables import tables
from dashboard.bench.report import Report

EVENTS: Final = 100_000
ASKED: Final = 100
TENTH: Final = 10
PAIRS: Final = 5
EVENTS_OF_A_PAIR: Final = 20_000
EVEN_SECONDS: Final = 10
NOTES: Final = (
    """Worker and recorder take turns on the same events on one server (`appendfsync everysec`): one worker process,
    three groups, handlers that do nothing. Each figure is the median of the turns, with the least and the most.""",
    """The history is made up (four topics with three groups each, 48 types, 250 bytes of data, traces of 1–50 events,
    2 % of deliveries tried again, 0.5 % dead with a traceback) and stored by the recorder's own code.""",
    """Masking: recording the same events with it and without, in alternating pairs of one process.""",
    """Each question is asked with another argument each time, in a process that has asked a few before; times are those
    of the query, without the page around it. The text of an event is indexed nowhere: a search for it stops where the
    last column says, tells so, and offers to go on.""",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """How much, and on what."""
    parser.add_argument("--events", type=int, default=EVENTS, help=f"events of the history (default: {EVENTS:,})")
    parser.add_argument(
        "--asked", type=int, default=ASKED, help=f"times that each question is asked (default: {ASKED})"
    )
    parser.add_argument("--pairs", type=int, default=PAIRS, help=f"turns of worker and recorder (default: {PAIRS})")
    parser.add_argument(
        "--pair-events", type=int, default=EVENTS_OF_A_PAIR, help=f"events of a turn (default: {EVENTS_OF_A_PAIR:,})"
    )
    parser.add_argument(
        "--seconds", type=float, default=EVEN_SECONDS, help=f"of the run at an even pace (default: {EVEN_SECONDS})"
    )
    parser.add_argument("--on", choices=NAMES, action="append", help="only this database (default: all that are here)")
    parser.add_argument("--database-url", metavar="URL", help="a PostgreSQL to make databases on (default: its own)")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="fill databases in this folder, once: a later run only asks them"
    )
    parser.add_argument(
        "--only-ask", action="store_true", help="leave out how recording keeps up, and what masking costs"
    )


def run(options: Mapping[str, Any]) -> Report:
    """Measure every database that can be had."""
    if options["events"] < 10 * ASKED:
        raise ConfigError(f"expected --events of at least {10 * ASKED:,}, got {options['events']:,}")
    found: dict[str, Any] = {}
    notes = [" ".join(note.split()) for note in NOTES]
    for name in options["on"] or NAMES:
        with _stopped_in_order(), workplace(options["keep"], name) as folder:
            try:
                with opened(name, folder, options["database_url"], keep=bool(options["keep"])) as database:
                    _say(f"{database.name}:")
                    found[database.name] = _measured(database, folder, options)
            except ConfigError as left_out:
                notes.append(str(left_out))
    return Report("record", tables(found), notes)


@contextmanager
def _stopped_in_order() -> Iterator[None]:
    """A SIGTERM unwinds, so that our servers do not outlive us."""
    if threading.current_thread() is not threading.main_thread():  # which alone may say so
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def workplace(keep: Path | None, name: str) -> Iterator[Path]:
    """Where to work: in a folder that stays, or one that goes."""
    if keep:
        (keep / name).mkdir(parents=True, exist_ok=True)
        yield (keep / name).absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="fanlight-") as folder:
            yield Path(folder)


def _measured(database: Database, folder: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [options["pairs"], options["pair_events"], options["seconds"]]
    sizes = (options["events"] // TENTH, options["events"])
    answered = [_filled(database, folder, size, options["asked"]) for size in sizes]
    if options["only_ask"]:
        return {"kept_up": None, "masked": None, "filled": answered}
    for name in ("kept_up", "masked"):
        database.forget(name)
    return {
        "kept_up": _program("kept_up", database.room("kept_up"), pairs, folder / "kept_up.json"),
        "masked": _program("masked", database.room("masked"), pairs[:2], folder / "masked.json"),
        "filled": answered,
    }


def _filled(database: Database, folder: Path, events: int, asked: int) -> dict[str, Any]:
    """How fast so many events were written, now or when the folder's database was filled, and how fast it answers."""
    told = filled(database, folder, events)
    arguments = [folder / f"filled_{events}.json", asked]
    answers = _program("asked", database.room(f"filled_{events}"), arguments, folder / f"asked_{events}.json")
    return {**told["figures"], **answers}


def filled(database: Database, folder: Path, events: int) -> dict[str, Any]:
    """Fill the room `filled_EVENTS` with so many events, unless it is; what `dashboard.bench.filled` wrote of it."""
    room, target = f"filled_{events}", folder / f"filled_{events}.json"
    if target.exists():  # it is whole
        told: dict[str, Any] = json.loads(target.read_text())
        return told
    database.forget(room)
    return dict(_program("filled", database.room(room), [events], target))


def _program(name: str, database_url: str, arguments: list[Any], target: Path) -> Any:
    """What one of our programs wrote to `target`, on a bus of its own."""
    with (
        tempfile.TemporaryDirectory(prefix="fanlight-") as data,
        EmbeddedServer(Path(data) / name, durability="relaxed") as server,
    ):
        environment = {
            **os.environ, "BUS_URL": server.url, "BUS_DATA": data, "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        }  # fmt: skip
        command = [sys.executable, "-m", f"dashboard.bench.{name}", *map(str, arguments), str(target)]
        ended = subprocess.run(command, cwd=settings.BASE_DIR, env=environment, stdout=sys.stderr, check=False)
    if ended.returncode:
        raise BusError(
            f"expected {name} to end well on {database_url.partition(':')[0]}, it ended with {ended.returncode}"
        )
    return json.loads(target.read_text())


def _say(line: str) -> None:
    """Progress, beside the report."""
    print(line, file=sys.stderr, flush=True)
