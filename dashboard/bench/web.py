"""How the web process keeps up: many live sockets on a busy topic, and pages over a large bus and a long history."""

from __future__ import annotations

import asyncio
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from bus.config import Config
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from dashboard.bench.asking import quantile
from dashboard.bench.databases import NAMES, SQLITE
from dashboard.bench.load import payload
from dashboard.bench.pages import pages
from dashboard.bench.report import Report, Table
from dashboard.bench.sockets import Audience, reached
from dashboard.bench.visitor import Visitor, processor_seconds
from dashboard.headless import dashboard

TOPIC: Final = "orders"
SOCKETS: Final = 200
RATE: Final = 500
SECONDS: Final = 15.0
ROUNDS: Final = 3
TICK_SECONDS: Final = 0.02
NOTES: Final = (
    """Sockets: all in one process, which answers each frame as a page does; 20 of them time every row that they are
    told of, from the entry on the bus to the row at the socket. Rounds with and without a socket that never reads take
    turns. The part of a core is the processor time that the web process spent while events came.""",
    """Pages: asked for one after another over one connection, from the request to the last byte, with another argument
    each time; recorder and server run beside it.""",
    """Web process, recorder, server, publisher and the sockets share the machine.""",
)


def add_arguments(parser: ArgumentParser) -> None:
    """How many, how fast, on what."""
    parser.add_argument("--sockets", type=int, default=SOCKETS, help=f"that watch at once (default {SOCKETS})")
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second (default {RATE})")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"of each round (default {SECONDS:g})")
    parser.add_argument("--events", type=int, default=100_000, help="of the history behind the pages (default 100,000)")
    parser.add_argument("--asked", type=int, default=40, help="times that each page is asked for (default 40)")
    parser.add_argument("--on", choices=NAMES, default=SQLITE, help=f"the history's database (default {SQLITE})")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="the folder where `bench record --keep` filled it")


def run(options: Mapping[str, Any]) -> Report:
    """Measure, on a dashboard and a server of their own."""
    tables = [_sockets(options), pages(options)]
    return Report("web", tables, [" ".join(note.split()) for note in NOTES])


def _sockets(options: Mapping[str, Any]) -> Table:
    with tempfile.TemporaryDirectory(prefix="fanlight-") as place, _bus(Path(place) / "data") as config:
        raw = list(_rounds(Path(place), config, options))
    title = f"{options['sockets']:,} sockets, {options['rate']:,} events/s"
    return Table(title, _COLUMNS, [_row(raw, deaf) for deaf in (0, 1)], raw)


def _rounds(folder: Path, config: Config, options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    with (
        dashboard(folder, "up", BUS_URL=config.url or "") as link,
        closing(Visitor(link)) as visitor,
        closing(Publisher(config)) as publisher,
    ):
        publisher.publish(publisher.draft(TOPIC, "order_placed", payload(0)))
        for number in range(2 * ROUNDS):
            deaf = number % 2
            yield {"deaf": deaf, **asyncio.run(_round(visitor, publisher, deaf, options))}


_COLUMNS: Final = ("sockets that never read", "published", "missed", "p50", "p99", "of a core")


def _row(raw: list[dict[str, Any]], deaf: int) -> tuple[str, ...]:
    rounds = [one for one in raw if one["deaf"] == deaf]
    cores = [one["core"] for one in rounds if one["core"] is not None]
    return (
        "one" if deaf else "none",
        f"{median(one['published_per_second'] for one in rounds):,.0f}/s",
        f"{sum(one['missed'] for one in rounds):,}",
        f"{median(one['p50_ms'] for one in rounds):.0f} ms",
        f"{median(one['p99_ms'] for one in rounds):.0f} ms",
        f"{median(cores):.0%}" if cores else "not known here",
    )


async def _round(visitor: Visitor, publisher: Publisher, deaf: int, options: Mapping[str, Any]) -> dict[str, Any]:
    data = publisher.config.data_folder
    audience = Audience(visitor.host, visitor.headers, TOPIC)
    load = _Load(publisher)
    async with audience.gathered(options["sockets"], deaf, load.publish) as watching:
        load.count = 0
        began, spent = time.monotonic(), processor_seconds(data, "web")
        await asyncio.to_thread(load.run, options["rate"], options["seconds"])
        took = time.monotonic() - began
        used = processor_seconds(data, "web")
        await reached(watching, load.count)
        delays = sorted(delay for one in watching for delay in one.delays_ms)
        return {
            "published_per_second": load.count / took,
            "missed": sum(load.count - one.events for one in watching),
            "p50_ms": quantile(delays, 0.5),
            "p99_ms": quantile(delays, 0.99),
            "rows": len(delays),
            "core": None if used is None or spent is None else (used - spent) / took,
        }


class _Load:
    """Publishes at an even pace, as far as the machine can; `count`: how many so far."""

    def __init__(self, publisher: Publisher) -> None:
        self.count = 0
        self._publisher = publisher

    def publish(self, events: int) -> None:
        drafts = [
            self._publisher.draft(TOPIC, "order_placed", payload(self.count + number)) for number in range(events)
        ]
        self.count += len(self._publisher.publish_many(drafts))

    def run(self, rate: int, seconds: float) -> None:
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * rate) - self.count
            if due > 0:
                self.publish(min(due, rate))
            time.sleep(TICK_SECONDS)


@contextmanager
def _bus(data: Path) -> Iterator[Config]:
    with EmbeddedServer(data / "server", durability="relaxed") as server:
        yield Config(url=server.url, data_folder=data)
