"""A group over time, on its page: which charts there are, what each draws, and the same data as a table.

Shapes what `queries.series()` answers; must not query by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.queries.series import RANGES, USUAL

LEAST_POINTS: Final = 12  # fewer would make the first minute of a group a plain of two points
WORDS: Final = {"15m": "15 min", "1h": "1 h", "24h": "24 h"}


class Line(NamedTuple):
    """One line of a chart. `look`: its colour and stroke; `head`: its column in the table."""

    name: str
    word: str
    unit: str  # count, rate or duration
    look: str
    head: str


class Plot(NamedTuple):
    """One chart."""

    name: str
    title: str
    empty: str
    lines: tuple[Line, ...]


PLOTS: Final = (
    Plot(
        "lag",
        "Behind",
        "Nobody has measured the lag in this time",
        (Line("lag", "events", "count", "main", "Behind"), Line("age_ms", "oldest", "duration", "second", "Oldest")),
    ),
    Plot(
        "rate",
        "Rate",
        "Nothing is recorded of this time",
        (Line("settled", "out", "rate", "main", "Out"), Line("coming", "in", "rate", "second", "In")),
    ),
    Plot(
        "duration",
        "Duration",
        "No attempt has ended in this time",
        (
            Line("handled_p50_ms", "handler p50", "duration", "main", "Handler p50"),
            Line("handled_p95_ms", "p95", "duration", "strong", "Handler p95"),
            Line("settled_p95_ms", "settled p95", "duration", "second", "Settled p95"),
        ),
    ),
    Plot(
        "failures",
        "Failures",
        "Nothing is recorded of this time",
        (
            Line("failed", "attempts", "rate", "retrying", "Failed attempts"),
            Line("dead", "given up", "rate", "dead", "Given up"),
        ),
    ),
)


@require_safe
def charts(request: HttpRequest, topic: str, group: str) -> HttpResponse:
    """The charts of a group again, as a fragment."""
    context = over_time(request, topic, group)
    if context["series"] is None:
        raise Http404(f"no topic {topic}")
    return render(request, "consumers/_charts.html", {**context, "group": {"topic": topic, "group": group}})


def over_time(request: HttpRequest, topic: str, group: str) -> dict[str, Any]:
    """What `_charts.html` shows of the range that the address asks for."""
    name = request.GET.get("range", "")
    name = name if name in RANGES else USUAL
    found = queries.series(topic, group, name)
    found = found and _since_first(found)
    return {
        "series": found,
        "range": name,
        "range_word": WORDS[name],
        "ranges": [{"name": one, "word": WORDS[one]} for one in RANGES],
        "plots": [_plot(plot, found) for plot in PLOTS] if found else [],
        "heads": [line.head for plot in PLOTS for line in plot.lines],
        "points": _points(found) if found else [],
    }


def _since_first(found: dict[str, Any]) -> dict[str, Any]:
    """The series from its first point on: what began two minutes ago fills the width, not a sixth of it."""
    values = [line for line in (found[one.name] for plot in PLOTS for one in plot.lines) if line]
    first = min((at for line in values for at, value in enumerate(line) if value is not None), default=0)
    first = max(0, min(first, len(found["at_ms"]) - LEAST_POINTS))
    lines = {one.name for plot in PLOTS for one in plot.lines} | {"at_ms"}
    return {**found, **{name: found[name][first:] for name in lines}}


def _plot(plot: Plot, found: Mapping[str, Any]) -> dict[str, Any]:
    lines = [{**line._asdict(), "newest": _newest(found[line.name])} for line in plot.lines]
    return {**plot._asdict(), "lines": lines, "is_empty": all(line["newest"] is None for line in lines)}


def _newest(values: list[float | None]) -> float | None:
    return next((value for value in reversed(values) if value is not None), None)


def _points(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of the table, newest first, without those before anything was known."""
    lines = [line for plot in PLOTS for line in plot.lines]
    columns = [found[line.name] for line in lines]
    rows = [
        {
            "at_ms": at_ms,
            "cells": [{"value": value, "unit": line.unit} for value, line in zip(values, lines, strict=True)],
        }
        for at_ms, *values in zip(found["at_ms"], *columns, strict=True)
        if any(value is not None for value in values)
    ]
    return rows[::-1]
