"""What `bench record` found, as tables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from dashboard.bench.pairs import Pairs, Run, spread
from dashboard.bench.report import Table

Found = Mapping[str, Any]  # by database, what `kept_up` and `filled` wrote


def tables(found: Found) -> list[Table]:
    """Every table."""
    recorded = {name: one for name, one in found.items() if one["kept_up"]}  # left out where one only asks
    return [
        *([_kept_up(recorded), _masked(recorded)] if recorded else []),
        _stored(found),
        *(_asked(name, one["filled"]) for name, one in found.items()),
        _hostile(found),
    ]


def _masked(found: Found) -> Table:
    """How much longer recording takes with masking than without it."""
    rows = []
    for name, one in found.items():
        pairs = Pairs(*([Run(*run) for run in one["masked"][side]] for side in ("baseline", "ours")))
        rows.append([name, *(str(spread(_each(pairs, by))) for by in ("cpu_us", "seconds"))])
    columns = ("database", "with masking ÷ without, by processor time", "by the clock")
    return Table("What masking costs", columns, rows, [{"database": n, **one["masked"]} for n, one in found.items()])


def _each(pairs: Pairs, by: str) -> list[float]:
    return [getattr(own, by) / getattr(base, by) for base, own in zip(pairs.baseline, pairs.ours, strict=True)]


def _kept_up(found: Found) -> Table:
    columns = (
        "database", "one worker settles, events/s", "recorded, events/s", "recorded ÷ settled",
        "processor an event: worker", "recorder",
        "at half of that: recorded after", "p99",
    )  # fmt: skip
    rows = [_kept_up_row(name, one["kept_up"]) for name, one in found.items()]
    return Table(
        "Recording keeps up", columns, rows, [{"database": name, **one["kept_up"]} for name, one in found.items()]
    )


def _kept_up_row(name: str, kept_up: Mapping[str, Any]) -> list[str]:
    pairs, even = kept_up["pairs"], kept_up["even"]
    ratios = [pair["recorded"] / pair["settled"] for pair in pairs]
    behind = even["events_per_second"] < 0.95 * even["wanted_per_second"]
    pace = f" (published {even['events_per_second']:,.0f}/s of {even['wanted_per_second']:,.0f})" if behind else ""
    return [
        name,
        _spread([pair["settled"] for pair in pairs]),
        _spread([pair["recorded"] for pair in pairs]),
        _spread(ratios, ".2f"),
        f"{median(pair['settled_cpu_us'] for pair in pairs):,.0f} µs",
        f"{median(pair['recorded_cpu_us'] for pair in pairs):,.0f} µs",
        f"{even['p50_ms']:,.0f} ms{pace}",
        f"{even['p99_ms']:,.0f} ms",
    ]


def _spread(figures: Sequence[float], form: str = ",.0f") -> str:
    return f"{median(figures):{form}} ({min(figures):{form}}–{max(figures):{form}})"


def _stored(found: Found) -> Table:
    columns = ("database", "events", "rows", "events/s written", "rows/s written", "bytes an event")
    rows = [
        [
            name, f"{at['events']:,}", f"{at['rows']:,}", f"{at['events_per_second']:,.0f}",
            f"{at['events_per_second'] * at['rows_per_event']:,.0f}", f"{at['bytes_per_event']:,.0f}",
        ]
        for name, one in found.items() for at in one["filled"]
    ]  # fmt: skip
    raw = [
        {"database": name, **{key: value for key, value in at.items() if key not in ("asked", "hostile")}}
        for name, one in found.items()
        for at in one["filled"]
    ]
    return Table("Written, up to so many events", columns, rows, raw)


def _asked(name: str, filled: Sequence[Mapping[str, Any]]) -> Table:
    """Both sizes side by side."""
    small, large = filled[0], filled[-1]
    before = {asked["name"]: asked for asked in small["asked"]}
    columns = (
        "question", f"p50 at {small['events']:,}", "p95", f"p50 at {large['events']:,}", "p95", "at most",
        "p95 of our processor", "growth of p50", "stopped after",
    )  # fmt: skip
    rows = list(_asked_rows(before, large["asked"]))
    return Table(f"{name}: times in ms", columns, rows, [{"database": name, **at} for at in filled])


def _asked_rows(before: Mapping[str, Mapping[str, Any]], asked: Sequence[Mapping[str, Any]]) -> Iterator[list[str]]:
    for now in asked:
        then = before.get(now["name"], now)  # too small a history has none of some
        yield [
            now["name"],
            *(f"{figure:.1f}" for figure in (then["p50_ms"], then["p95_ms"], now["p50_ms"], now["p95_ms"])),
            *(f"{figure:.1f}" for figure in (now["max_ms"], now["cpu_p95_ms"], now["p50_ms"] / then["p50_ms"])),
            now["searched"],
        ]


def _hostile(found: Found) -> Table:
    columns = (
        "database",
        "queries",
        "answered",
        "refused with a word",
        "p50 ms",
        "p99 ms",
        "at most ms",
        "the slowest",
    )
    every = {name: one["filled"][-1]["hostile"] for name, one in found.items()}
    rows = [
        [
            name, f"{told['queries']:,}", f"{told['answered']:,}", f"{told['refused']:,}", f"{told['p50_ms']:.1f}",
            f"{told['p99_ms']:.1f}", f"{told['max_ms']:.1f}", f"`{told['slowest']}`",
        ]
        for name, told in every.items()
    ]  # fmt: skip
    return Table("Hostile queries", columns, rows, [{"database": name, **told} for name, told in every.items()])
