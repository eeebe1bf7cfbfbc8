"""Which version of the code handled an event: what the worker of an attempt said of itself when it began."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from dashboard.queries.language import Query, Term, Value
from dashboard.record.rows import clean
from dashboard.sql import rows_in

MAX_WORKERS: Final = 500  # of one version: the newest
NOBODY: Final = "\0"  # no worker's name
_VERSIONS: Final = "SELECT worker, version FROM dashboard_workerversion WHERE worker IN (…)"
_WORKERS: Final = (
    "SELECT worker FROM dashboard_workerversion WHERE version IN (…) ORDER BY since_ms DESC LIMIT "  # noqa: S608
    f"{MAX_WORKERS}"
)


def versions_of(workers: Iterable[str]) -> dict[str, str]:
    """The version that each of these workers ran, of those that said one."""
    wanted = sorted({worker for worker in workers if worker})
    return {row["worker"]: row["version"] for row in rows_in(_VERSIONS, wanted)} if wanted else {}


def by_workers(query: Query) -> Query:
    """The query with `version:` said as the workers that ran it, which is what a lane tells."""
    if not query.of("version"):
        return query
    return replace(query, terms=tuple(_workers(term) if term.field == "version" else term for term in query.terms))


def _workers(term: Term) -> Term:
    found = [row["worker"] for row in rows_in(_WORKERS, sorted({clean(text) for text in term.texts}))]
    values = tuple(Value(worker, term.start, term.end, is_quoted=True) for worker in found or [NOBODY])
    return replace(term, field="worker", values=values)


def with_versions(attempts: list[dict[str, Any]]) -> None:
    """Add to each attempt the version that its worker ran; None where nobody knows."""
    known = versions_of(attempt["worker"] for attempt in attempts)
    for attempt in attempts:
        attempt["version"] = known.get(attempt["worker"])
