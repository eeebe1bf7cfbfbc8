"""Small helpers for SQL that we write ourselves. It runs on SQLite and PostgreSQL; values are always parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar

from django.db import connection

T = TypeVar("T")
PER_STATEMENT: Final = 500  # values of one `IN (…)`


def spread(statement: str, count: int) -> str:
    """`statement` with a placeholder for each of `count` values where it says `(…)`."""
    return statement.replace("(…)", f"({', '.join(['%s'] * count)})")


def slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in portions that one statement takes."""
    return (values[start : start + PER_STATEMENT] for start in range(0, len(values), PER_STATEMENT))


def rows(statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """What a query returns, each row by column name."""
    with connection.cursor() as cursor:
        cursor.execute(statement, list(parameters))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def rows_in(statement: str, values: Sequence[Any], *, before: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The rows of a query with one `IN (…)`, which may have any number of values. `before`: parameters ahead of it."""
    return [row for some in slices(values) for row in rows(spread(statement, len(some)), [*before, *some])]
