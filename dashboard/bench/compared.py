"""The table of a bench's comparisons: each row a pair of things that took turns. Knows runs, not what ran."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final

from dashboard.bench.pairs import Pairs
from dashboard.bench.report import Table

COLUMNS: Final = ("", "times the baseline", "by processor time", "ours a second", "baseline a second")


def compared(title: str, found: Sequence[tuple[str, Pairs]], columns: Sequence[str] = COLUMNS) -> Table:
    """Names and their pairs, with every run for `--json`."""
    raw = [
        {"name": name, "ratio": vars(pairs.ratio), "cpu_ratio": vars(pairs.cpu_ratio), **pairs.as_json()}
        for name, pairs in found
    ]
    return Table(title, columns, [(name, *_cells(pairs)) for name, pairs in found], raw)


def _cells(found: Pairs) -> tuple[str, ...]:
    rates = (median(run.per_second for run in runs) for runs in (found.ours, found.baseline))
    return (str(found.ratio), str(found.cpu_ratio), *(f"{rate:,.0f}" for rate in rates))
