"""What a bench found: tables for people, the same as JSON for machines. Knows nothing of what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from dashboard.bench.machine import machine, sentence


@dataclass(frozen=True)
class Table:
    """One table: `rows` hold a text for each of `columns`; `raw` holds the figures themselves, for `--json`."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    raw: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class Report:
    """All that one run of a bench found. `notes`: what a reader must know to trust the figures, a sentence each."""

    bench: str
    tables: Sequence[Table]
    notes: Sequence[str] = ()
    about: dict[str, str] = field(default_factory=machine)

    def as_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """The report as Markdown, ready for a README."""
        yield f"Machine: {sentence()}."
        for table in self.tables:
            yield from ("", f"**{table.title}**", "", _row(table.columns), _row(["---"] * len(table.columns)))
            yield from map(_row, table.rows)
        for note in self.notes:
            yield from ("", note)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
