"""The dead letters of one kind, newest first, page by page: a search for them, with what each one failed of."""

from __future__ import annotations

from typing import Any, Final

from dashboard.queries.language import Query, QueryInvalid, Term, Value
from dashboard.queries.search import PER_PAGE, search
from dashboard.record.rows import clean
from dashboard.sql import rows_in

_LETTERS: Final = (
    'SELECT e.id AS pk, e.event_id, e.entry, p.topic, p.number, d."group", d.error, d.fingerprint, d.attempt, d.worker,'
    " d.settled_ms FROM dashboard_event e JOIN dashboard_partition p ON p.id = e.partition_id"
    " JOIN dashboard_delivery d ON d.event_id = e.id WHERE d.state = 'dead' AND e.event_id IN (…)"
)


def letters(
    kind: str, *, topic: str | None = None, group: str | None = None, mark: str | None = None, limit: int = PER_PAGE
) -> dict[str, Any]:
    """A page of dead letters whose fingerprint is `kind`; `next` is the `mark` of the following page.

    `searched`: how far it got, as `search` says. A topic, group or mark that nobody knows finds nothing.
    """
    kind = clean(kind, 300)
    try:
        found = search(_asked(kind, group), topic=topic, mark=mark, limit=limit)
    except QueryInvalid:
        return {"letters": [], "next": None, "searched": None}
    events = {(row["topic"], row["partition"], row["entry"]): row for row in found["rows"]}
    told = [
        (events[place], row)
        for row in rows_in(_LETTERS, sorted({row["id"] for row in found["rows"]}))
        if (place := (row["topic"], row["number"], row["entry"])) in events
        and (row["fingerprint"] or row["error"]) == kind
        and group in (None, row["group"])
    ]
    order = {id(event): at for at, event in enumerate(found["rows"])}
    told.sort(key=lambda pair: (order[id(pair[0])], pair[1]["group"]))
    return {"letters": [_letter(*pair) for pair in told], "next": found["next"], "searched": found["searched"]}


def _asked(kind: str, group: str | None) -> Query:
    wanted = {"state": "dead", "fingerprint": kind, **({"group": clean(group)} if group else {})}
    terms = (Term(field, "=", (Value(text, 0, 0, is_quoted=True),), 0, 0) for field, text in wanted.items())
    return Query("", tuple(terms))


def _letter(event: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    told = {name: row[name] for name in ("pk", "group", "error", "attempt", "worker", "settled_ms")}
    return {**told, **{name: event[name] for name in ("id", "topic", "type", "key", "at_ms", "preview")}}
