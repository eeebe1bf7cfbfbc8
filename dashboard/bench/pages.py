"""How long the pages take with a thousand topics, three hundred groups and a long history, over HTTP."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from bus import operations
from bus.config import Config
from bus.errors import BusError
from bus.journal import SubscriptionRecord
from bus.keys import Keys
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.streams import Client, connect
from dashboard.bench.asked import stand_at
from dashboard.bench.asking import quantile
from dashboard.bench.databases import opened
from dashboard.bench.load import payload
from dashboard.bench.made_up import TOPICS, types_of
from dashboard.bench.record import filled, workplace
from dashboard.bench.report import Table
from dashboard.bench.visitor import Visitor
from dashboard.headless import dashboard, wait

ALL_TOPICS: Final = 1_000
ALL_GROUPS: Final = 300
WARM: Final = 3  # asked for before the clock runs
ROOM: Final = "pages"
EVERYTHING: Final = {"KEEP_EVENTS": "1000000000", "KEEP_DAYS": "3650"}
Paths = Iterator[str]


def pages(options: Mapping[str, Any]) -> Table:
    """Ask for each page, over a bus and a history of their own."""
    with (
        workplace(options["keep"], options["on"]) as folder,
        _data() as data,
        opened(options["on"], folder, None, keep=bool(options["keep"])) as database,
        EmbeddedServer(data / "server", durability="relaxed") as server,
    ):
        told = filled(database, folder, options["events"])
        with closing(connect(Config(url=server.url, data_folder=data))) as client:
            stand_at(client, told)
            _widen(client)
        database.forget(ROOM)
        places = {"BUS_URL": server.url, "DATABASE_URL": database.copied(f"filled_{options['events']}", ROOM)}
        try:
            raw = _asked(data.parent, places, told["samples"], options["asked"])
        finally:
            database.forget(ROOM)
    rows = [(one["page"], *(f"{one[name]:.0f} ms" for name in ("p50_ms", "p95_ms", "max_ms"))) for one in raw]
    title = f"Pages: {ALL_TOPICS:,} topics, {ALL_GROUPS:,} groups, {options['events']:,} events, {database.name}"
    return Table(title, ("page", "p50", "p95", "at most"), rows, raw)


def _asked(
    folder: Path, places: Mapping[str, str], samples: Mapping[str, Sequence[Any]], count: int
) -> list[dict[str, Any]]:
    raw = []
    with dashboard(folder, "up", **EVERYTHING, **places) as link, closing(Visitor(link)) as visitor:
        wait(lambda: _is_recorded(visitor), f"{ALL_TOPICS:,} topics on the page")
        for name, paths in _pages(samples).items():
            asked = list(islice(paths, WARM + count))
            if not asked:
                continue  # a history so small that it has none of these
            took = sorted(_timed(visitor, asked)[WARM:])
            figures = {"p50_ms": quantile(took, 0.5), "p95_ms": quantile(took, 0.95), "max_ms": took[-1]}
            raw.append({"page": name, "times": count, **figures})
    return raw


def _timed(visitor: Visitor, paths: Sequence[str]) -> list[float]:
    answers = [visitor.get(path) for path in paths]
    wrong = next((path for path, answer in zip(paths, answers, strict=True) if answer.status != 200), None)
    if wrong:
        raise BusError(f"expected 200 for {wrong}, got {visitor.get(wrong).status}")
    return [answer.ms for answer in answers]


def _pages(samples: Mapping[str, Sequence[Any]]) -> dict[str, Paths]:
    """Where each page is, each time about something else."""
    groups = cycle([(topic, group) for topic, named in TOPICS.items() for group in named])
    topics, types = cycle(TOPICS), cycle([(topic, name) for topic in TOPICS for name in types_of(topic)])
    return {
        "overview": cycle(["/"]),
        "topics": cycle(["/topics/"]),
        "topic": (f"/topics/{topic}/" for topic in topics),
        "topic, a query": (f"/topics/{topic}/?q=type:{quote(name)}" for topic, name in types),
        "search, a key": (f"/search/?q=key:{quote(key)}" for key in cycle(samples["keys"])),
        "trace of 50 events": (f"/traces/{quote(one)}/" for one in cycle(samples["large_traces"])),
        "consumers": cycle(["/consumers/"]),
        "consumers, its body": cycle(["/consumers/body/"]),
        "group": (f"/consumers/{topic}/{group}/" for topic, group in groups),
        "dead letters": cycle(["/dead/"]),
        "dead letters of a group": (f"/dead/?topic={topic}&group={group}" for topic, group in groups),
        "palette, an id": (f"/find/palette/?q={quote(one)}" for one in cycle(samples["ids"])),
        "activity": cycle(["/activity/"]),
        "alerts": cycle(["/alerts/"]),
        "system": cycle(["/system/"]),
    }


def _widen(client: Client) -> None:
    """Topics with an event each, and groups on the first of them, until there are as many as said."""
    names = [f"more-{number:03}" for number in range(ALL_TOPICS - len(TOPICS))]
    with closing(Publisher(client.config)) as publisher:
        publisher.publish_many([publisher.draft(name, "noted", payload(n)) for n, name in enumerate(names)])
    known = sum(map(len, TOPICS.values()))
    for name in names[: ALL_GROUPS - known]:
        keys = Keys(client.config.prefix, name, 0)
        client.run(operations.subscribe(keys, "readers", SubscriptionRecord(), start="0", worker="bench"))


def _is_recorded(visitor: Visitor) -> str:
    """Every topic is known to the pages, and so is its event."""
    topics = json.loads(visitor.get("/api/topics").text).get("topics", [])
    return "yes" if len(topics) >= ALL_TOPICS else ""


@contextmanager
def _data() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fanlight-") as folder:
        yield Path(folder) / "data"
