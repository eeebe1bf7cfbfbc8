"""How fast other event and task systems are, beside this: each in processes of its own, taking turns with the bus.

The same payload, the same server with the same durability, which is emptied before each turn. A peer is a module here
that runs as a program, listed in `catalogue`; those whose packages are not installed are left out, and that is said.
"""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from bus.errors import ConfigError
from dashboard.bench import chart
from dashboard.bench.bus import grounds
from dashboard.bench.compared import compared
from dashboard.bench.pairs import Pairs, spread, turns
from dashboard.bench.peers.catalogue import EXTRA, OURS, PEERS, Peer
from dashboard.bench.peers.running import Both, PeerFailed, latency, nats_server, turn
from dashboard.bench.report import Report, Table

COLUMNS: Final = ("", "times the peer", "by processor time", "ours a second", "peer a second")
PER_SECOND: Final = 50  # of the latencies
FASTER: Final = 10  # times the events, for those that would be done before they are measured
NOTES: Final = (
    """One worker process each, a handler that does nothing, events published before it starts, timed from the first
that is handled to the last. Published: one by one, from one process, each waited for. The second column compares the
processor time of that process.""",
    """Ours writes a record of every delivery. No peer does in these runs; Celery and taskiq keep no results.""",
    """Median of alternating pairs (least–greatest), data of 250 bytes.""",
)

Urls = dict[str, str]  # of a peer's server's program → URL


def add_arguments(parser: ArgumentParser) -> None:
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peer", action="append", choices=names, help="this one only; may be given more than once")
    parser.add_argument("--pairs", type=int, default=9, help="alternating pairs for each peer (default 9)")
    parser.add_argument(
        "--events", type=int, default=2_000, help="events of a run, ten times as many for what is fast (default 2000)"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round of latencies (default 4; 0: none)")
    parser.add_argument("--durability", choices=("relaxed", "strict"), default="relaxed", help="of the Redis server")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a chart of the first table there")


def run(options: dict[str, Any]) -> Report:
    """Measure; see `add_arguments`."""
    chosen, left_out = _chosen(options["peer"], PEERS)
    with _servers(chosen, options["durability"]) as (urls, empty):
        bench = Bench(urls, empty, options)
        tables = bench.compare(chosen)
        if options["seconds"]:
            tables.append(bench.latencies([OURS, *(peer for peer in chosen if peer.name not in bench.failed)]))
    if options["svg"]:
        options["svg"].write_text(chart.drawn(tables[0], than="the peer"))
    settings = Table("Peers", ("", "versions", "settings"), [(p.name, p.versions, p.settings) for p in chosen])
    not_run = [f"Not run: {name}: {why}." for name, why in {**left_out, **bench.failed}.items()]
    return Report("peers", [*tables, settings], [*NOTES, *not_run])


def _chosen(names: list[str] | None, peers: tuple[Peer, ...]) -> tuple[list[Peer], dict[str, str]]:
    """Those that can be measured, and why others can't. Raises `ConfigError` where none can, or one that was named."""
    wanted = [peer for peer in peers if not names or peer.name in names]
    missing = {peer.name: why for peer in wanted if (why := peer.missing())}
    if missing and (names or len(missing) == len(wanted)):
        found = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise ConfigError(f"expected the peers to be installed ({EXTRA}), but {found}")
    return [peer for peer in wanted if peer.name not in missing], missing


@contextmanager
def _servers(peers: list[Peer], durability: str) -> Iterator[tuple[Urls, Callable[[], object]]]:
    """The servers that these need, and what empties Redis."""
    with grounds(durability) as (raw, _), tempfile.TemporaryDirectory(prefix="fan") as folder:
        urls = {"": raw.url}
        if any(peer.program for peer in peers):
            with nats_server(Path(folder)) as urls["nats-server"]:
                yield urls, raw.empty
        else:
            yield urls, raw.empty


class Bench:
    """Turns of ours and a peer. A peer that fails is left out of what follows; `failed` says why."""

    def __init__(self, urls: Urls, empty: Callable[[], object], options: dict[str, Any]) -> None:
        self.urls, self.empty, self.options = urls, empty, options
        self.failed: dict[str, str] = {}

    def compare(self, peers: list[Peer]) -> list[Table]:
        """How fast events are handled, and published."""
        found = {peer.name: both for peer in peers if (both := self._pairs(peer))}
        pairs = self.options["pairs"]
        where = f"durability {self.options['durability']}, {pairs} pairs"
        if not found:
            raise ConfigError(f"expected at least one peer to run, but {'; '.join(self.failed.values())}")
        return [
            compared(f"Settled, {where}", [(name, settled) for name, (_, settled) in found.items()], COLUMNS),
            compared(f"Published one by one, {where}", [(name, made) for name, (made, _) in found.items()], COLUMNS),
        ]

    def _pairs(self, peer: Peer) -> tuple[Pairs, Pairs] | None:
        try:
            both = turns(self.options["pairs"], lambda: self._turn(peer), lambda: self._turn(OURS))
        except PeerFailed as failure:
            self.failed[peer.name] = str(failure)
            return None
        published = Pairs([base.published for base, _ in both], [own.published for _, own in both])
        return published, Pairs([base.settled for base, _ in both], [own.settled for _, own in both])

    def _turn(self, peer: Peer) -> Both:
        self.empty()
        return turn(peer, self.urls[peer.program], self.options["events"] * (FASTER if peer.fast else 1))

    def latencies(self, sides: list[Peer]) -> Table:
        """From publish to handler at a slow and even pace, three rounds of all in turn."""
        found: dict[str, list[Any]] = {peer.name: [] for peer in sides}
        for _ in range(3):
            for peer in sides:
                self.empty()
                count = int(self.options["seconds"] * PER_SECOND)
                found[peer.name].append(latency(peer, self.urls[peer.program], count, PER_SECOND))
        named = {
            name: [spread([getattr(one, at) for one in some]) for at in ("p50_ms", "p99_ms")]
            for name, some in found.items()
        }
        rows = [(name, *map(str, figures)) for name, figures in named.items()]
        raw = [{"name": name, "p50_ms": vars(p50), "p99_ms": vars(p99)} for name, (p50, p99) in named.items()]
        return Table(f"Latency at {PER_SECOND} a second, three rounds", ("", "p50 ms", "p99 ms"), rows, raw)
