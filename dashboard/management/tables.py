"""What the commands that ask the record share: tables for people, one JSON object a line for scripts, and errors.

What strangers wrote is printed without control characters: it can't move the cursor or pretend to be another line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from django.core.management.base import CommandError, CommandParser

from bus.management.base import BusCommand
from dashboard.queries import QueryInvalid
from dashboard.queries.facts import printable

MAX_CELL: Final = 44
_LATEST_MS: Final = 253_402_300_799_000  # datetime ends with the year 9999
_encode: Final = msgspec.json.Encoder().encode


class AskingCommand(BusCommand):
    """A command that asks the record: `--json`, and queries that are wrong are underlined."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--json", action="store_true", help="one JSON object a line, for scripts")

    def execute(self, *arguments: Any, **options: Any) -> str | None:
        try:
            return super().execute(*arguments, **options)
        except BrokenPipeError:  # `… | head` has read enough
            return None

    def say_rows(
        self,
        rows: Sequence[dict[str, Any]],
        columns: Columns,
        *,
        as_json: bool,
        widths: Sequence[int] | None = None,
    ) -> None:
        for line in map(json_line, rows) if as_json else table(rows, columns, widths=widths):
            self.say(line)

    def note(self, line: str) -> None:
        """Words about the answer; not part of it, so that a script needn't skip them."""
        self.stderr.write(line)


Columns = Sequence[tuple[str, Callable[[dict[str, Any]], str]]]


def table(rows: Sequence[dict[str, Any]], columns: Columns, *, widths: Sequence[int] | None = None) -> Iterable[str]:
    """Lines of a table with a head; with `widths` given, without one."""
    fitting = widths or widths_of(rows, columns)
    for line in ([] if widths else [[name.upper() for name, _ in columns]]) + _cells(rows, columns):
        padded = [text.ljust(width) for text, width in zip(line[:-1], fitting, strict=False)]
        yield "  ".join([*padded, line[-1]]).rstrip()


def widths_of(rows: Sequence[dict[str, Any]], columns: Columns) -> Sequence[int]:
    """How wide each column has to be."""
    names = [name for name, _ in columns]
    return [max(map(len, column)) for column in zip(names, *_cells(rows, columns), strict=True)]


def _cells(rows: Sequence[dict[str, Any]], columns: Columns) -> list[list[str]]:
    return [[cell(read(row)) for _, read in columns] for row in rows]


def cell(text: str) -> str:
    """One line of at most 44 characters that no terminal misreads."""
    shown = printable(text)
    return shown if len(shown) <= MAX_CELL else f"{shown[: MAX_CELL - 1]}…"


def json_line(row: dict[str, Any]) -> str:
    """The row as JSON."""
    return _encode(row).decode()


def underlined(error: QueryInvalid) -> CommandError:
    """The query with its wrong word underlined, and what was expected there."""
    word = "^" * max(error.end - error.start, 1)
    shown = error.text if error.text.isprintable() else "".join(c if c.isprintable() else " " for c in error.text)
    return CommandError(f"{error.message}\n  {shown[:200]}\n  {' ' * error.start}{word}"[:2_000])


def moment(at_ms: float | None) -> str:
    """A moment in UTC: `2026-01-31 14:03:22.123`."""
    if at_ms is None:
        return "–"
    return f"{datetime.fromtimestamp(min(at_ms, _LATEST_MS) / 1000, UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3]


def span(passed_ms: float | None) -> str:
    """How long, in one unit: `4 min`; unknown is said."""
    if passed_ms is None:
        return "?"
    units = ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"))
    return next((f"{int(passed_ms // size)} {unit}" for size, unit in units if passed_ms >= size), "0 s")


def figure(value: float | None) -> str:
    """A count; unknown is said, never 0."""
    return "?" if value is None else f"{value:,.0f}"
