"""What became of one thing: every event of a key, oldest first, across topics or in one."""

from __future__ import annotations

from typing import Any

from dashboard.queries.language import Query, Term, Value
from dashboard.queries.search import PER_PAGE, search


def history(
    key: str, *, topic: str | None = None, mark: str | None = None, limit: int = PER_PAGE, newest_first: bool = False
) -> dict[str, Any]:
    """A page of the key's events with their lanes; `next` is the `mark` of the following page."""
    value = Value(key, 0, len(key), is_quoted=True)
    query = Query(key, (Term("key", "=", (value,), 0, len(key)),))
    return search(query, topic=topic, mark=mark, limit=limit, oldest_first=not newest_first)
