"""Asks one database, which `filled` has filled, all that people ask of a record, and times the answers.

A program of its own, since Django has one database a process: `python -m dashboard.bench.asked FILLED ASKED FILE` with
BUS_URL, BUS_DATA and DATABASE_URL saying where. FILLED is what `filled` wrote; the figures go to FILE as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from bus.streams import Client


def main(filled: Path, count: int, target: Path) -> None:
    """Ask; progress on standard output."""
    django.setup()
    import bus
    from bus.streams import connect
    from dashboard.bench.made_up import Samples

    told = json.loads(filled.read_text())
    with closing(connect(bus.config())) as client:
        stand_at(client, told)
    target.write_text(json.dumps({"asked": _asked(Samples(**told["samples"]), count), "hostile": _hostile()}))


def _asked(samples: Any, count: int) -> list[dict[str, Any]]:
    from dashboard.bench.asking import ask_all, quantile

    found = []
    for asked in ask_all(samples, count):
        p50, p95, worst = quantile(asked.took_ms, 0.5), quantile(asked.took_ms, 0.95), asked.took_ms[-1]
        print(f"  {asked.name}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, at most {worst:.1f} ms", flush=True)
        found.append(
            {
                "name": asked.name, "indexed": asked.indexed, "times": len(asked.took_ms), "p50_ms": p50,
                "p95_ms": p95, "max_ms": worst, "searched": asked.searched,
                "cpu_p50_ms": quantile(asked.cpu_ms, 0.5), "cpu_p95_ms": quantile(asked.cpu_ms, 0.95),
            }
        )  # fmt: skip
    return found


def _hostile() -> dict[str, Any]:
    """How long hostile queries take to be answered, or refused."""
    from dashboard.bench.hostile_queries import queries
    from dashboard.queries.language import QueryInvalid, parse
    from dashboard.queries.search import search

    took: list[tuple[float, str]] = []
    refused = 0
    for text in queries():
        began = time.perf_counter()
        try:
            search(parse(text))
        except QueryInvalid:
            refused += 1
        took.append(((time.perf_counter() - began) * 1000, text))
    took.sort()
    return {
        "queries": len(took), "answered": len(took) - refused, "refused": refused, "p50_ms": took[len(took) // 2][0],
        "p99_ms": took[int(len(took) * 0.99)][0], "max_ms": took[-1][0], "slowest": ascii(took[-1][1][:60]),
    }  # fmt: skip


def stand_at(client: Client, told: dict[str, Any]) -> None:
    """A bus whose groups have taken everything that was made: what is asked of lanes and lag is as in real life.

    `told`: what `filled` wrote. The newest event of each topic is there, so that a recorder goes on behind it.
    """
    from bus import operations
    from bus.journal import SubscriptionRecord
    from bus.keys import Keys
    from bus.wire import Operation
    from dashboard.bench.made_up import TOPICS

    prefix = client.config.prefix
    ends = told["ends"]
    for topic, groups in TOPICS.items():
        client.run(operations.declare_topic(prefix, topic, 1))
        for group in groups:
            record = SubscriptionRecord()
            client.run(operations.subscribe(Keys(prefix, topic, 0), group, record, start=ends[topic], worker="bench"))
        newest = (b"XADD", Keys(prefix, topic, 0).events, ends[topic].encode(), b"id", told["newest"][topic].encode())
        client.run(Operation([newest], lambda _: None))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
