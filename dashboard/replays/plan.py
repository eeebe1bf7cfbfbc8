"""The plan: which dead letters a replay is about, frozen as rows, each with what is known of it now.

In portions, in the database, so memory stays the same for a million letters. Pure SQL over the read model: it asks
the bus nothing and changes nothing on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import msgspec
from django.db import connection

from bus.errors import BusError
from dashboard import visible
from dashboard.models import NUMBER_BITS, event_pk
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.queries.language import Query, Term, Value, parse
from dashboard.queries.matching import lane_has
from dashboard.queries.search import MAX_PER_PAGE, search
from dashboard.record.rows import clean
from dashboard.replays import verdicts
from dashboard.replays.models import Fate, Replay
from dashboard.sql import rows, rows_in, slices

PORTION: Final = 2_000
MAX_LETTERS: Final = 1_000_000
MAX_CHOSEN: Final = 1_000
_LAST: Final = (1 << NUMBER_BITS) - 1
_KIND: Final = "CASE WHEN d.fingerprint = '' THEN d.error ELSE d.fingerprint END"
_FREEZE: Final = (
    'INSERT INTO dashboard_replayletter (replay_id, number, event_id, "group", entry, moved_ms, ended, kind, fate,'  # noqa: S608  constants
    ' letter, error) SELECT %s, %s + ROW_NUMBER() OVER (ORDER BY event_id, "group"), event_id, "group", entry,'
    f" moved_ms, ended, kind, 'planned', '', '' FROM (SELECT d.event_id, d.\"group\", e.entry, d.moved_ms, d.ended,"
    f" {_KIND} AS kind FROM dashboard_delivery d JOIN dashboard_event e ON e.id = d.event_id"
    " WHERE NOT (d.state = 'succeeded') AND d.state = 'dead' AND d.event_id >= %s AND d.event_id < %s"
    ' AND (d.event_id > %s OR d."group" > %s){narrowed} ORDER BY d.event_id, d."group" LIMIT %s) AS found'
)
_NEWEST: Final = (
    'SELECT number, event_id, "group" FROM dashboard_replayletter WHERE replay_id = %s ORDER BY number DESC LIMIT 1'
)
_ADD: Final = (
    'INSERT INTO dashboard_replayletter (replay_id, number, event_id, "group", entry, moved_ms, ended, kind, fate,'
    " letter, error) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, '', '')"
)
_CHOSEN: Final = (
    f'SELECT d.event_id, d."group", e.entry, d.moved_ms, d.ended, {_KIND} AS kind, d.state, d.attempt, d.worker,'  # noqa: S608  constants
    " d.error, d.fingerprint, e.event_id AS id, p.topic, p.number FROM dashboard_event e"
    " JOIN dashboard_partition p ON p.id = e.partition_id JOIN dashboard_delivery d ON d.event_id = e.id"
    " WHERE {} IN (…)"
)
_FATES: Final = {"dead": Fate.PLANNED, "succeeded": Fate.SUCCEEDED_BEFORE, "discarded": Fate.DISCARDED_BEFORE}


class PlanInvalid(BusError):
    """What was asked for is no list of dead letters."""


@dataclass(frozen=True)
class Asked:
    """Which dead letters: those that were chosen (event's primary key, group), else all that fit the rest."""

    topic: str = ""
    group: str = ""
    error: str = ""  # a kind: a fingerprint, or the error of letters without one
    type: str = ""
    query: str = ""
    chosen: Sequence[tuple[int, str]] = ()

    @property
    def told(self) -> dict[str, Any]:
        """What was asked for, for the record."""
        values = {name: value for name, value in asdict(self).items() if value and name != "chosen"}
        return {**values, **({"chosen": len(self.chosen)} if self.chosen else {})}


def freeze(replay: Replay, asked: Asked) -> None:
    """Fill the replay's list, and say of each letter what is known. Raises `PlanInvalid` or `QueryInvalid`."""
    if len(asked.chosen) > MAX_CHOSEN:
        raise PlanInvalid(f"expected at most {MAX_CHOSEN:,} chosen letters, got {len(asked.chosen):,}; use a filter")
    if asked.chosen:
        portions = _chosen(replay, asked.chosen)
    elif asked.query:
        portions = _searched(replay, asked)
    else:
        portions = _filtered(replay, asked)
    last = 0
    for newest in portions:
        if newest > MAX_LETTERS:
            raise PlanInvalid(f"expected at most {MAX_LETTERS:,} letters in one replay; narrow the filter")
        verdicts.judge(replay, last + 1, newest)
        last = newest
    replay.total = last


def _filtered(replay: Replay, asked: Asked) -> Iterator[int]:
    """All of a filter; yields the newest number after each portion."""
    narrowed, values = _narrowed(asked)
    statement = _FREEZE.replace("{narrowed}", narrowed)
    newest = 0
    for place in _places(asked.topic):
        low, group, high = event_pk(place.id, 0), "", event_pk(place.id, _LAST)
        while True:
            parameters: list[Any] = [replay.pk, newest, low, high, low, group, *values, PORTION]
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
                added = cursor.rowcount
            if not added:
                break
            (last,) = rows(_NEWEST, [replay.pk])
            newest, low, group = last["number"], last["event_id"], last["group"]
            yield newest
            if added < PORTION:
                break


def _narrowed(asked: Asked) -> tuple[str, list[str]]:
    wanted = {'d."group"': (asked.group, 120), _KIND: (asked.error, 300), "e.type": (asked.type, 512)}
    given = {column: clean(*value) for column, value in wanted.items() if value[0]}
    return "".join(f" AND {column} = %s" for column in given), list(given.values())


def _places(topic: str) -> list[PartitionRow]:
    return sorted(partitions(topic or None).values(), key=lambda place: place.id)


def _chosen(replay: Replay, chosen: Sequence[tuple[int, str]]) -> Iterator[int]:
    wanted = set(chosen)
    found = rows_in(_CHOSEN.format("e.id"), sorted({pk for pk, _ in wanted}))
    seen = [row for row in found if visible.sees(row["topic"])]
    yield _add(replay, 0, [row for row in seen if (row["event_id"], row["group"]) in wanted])


def _searched(replay: Replay, asked: Asked) -> Iterator[int]:
    """What a search finds, page by page, oldest first."""
    query = _with_terms(parse(asked.query), asked)
    newest, mark = 0, None
    while True:
        page = search(query, topic=asked.topic or None, mark=mark, limit=MAX_PER_PAGE, oldest_first=True)
        places = {(row["topic"], row["partition"], row["entry"]) for row in page["rows"]}
        found = [
            row
            for row in rows_in(_CHOSEN.format("e.event_id"), sorted({row["id"] for row in page["rows"]}))
            if (row["topic"], row["number"], row["entry"]) in places and _is_asked(row, query)
        ]
        newest = _add(replay, newest, found)
        yield newest
        mark = page["next"]
        if mark is None:
            return


def _with_terms(query: Query, asked: Asked) -> Query:
    wanted = {"state": "dead", "group": asked.group, "fingerprint": asked.error, "type": asked.type}
    terms = [
        Term(name, "=", (Value(clean(text), 0, 0, is_quoted=True),), 0, 0) for name, text in wanted.items() if text
    ]
    return Query(query.text, (*query.terms, *terms))


def _is_asked(row: Mapping[str, Any], query: Query) -> bool:
    return row["state"] == "dead" and all(lane_has(term, row) is not term.is_negated for term in query.lane_terms)


def _add(replay: Replay, after: int, found: Sequence[Mapping[str, Any]]) -> int:
    """Rows for deliveries that were found; the number of the newest."""
    ordered = sorted(found, key=lambda row: (row["event_id"], row["group"]))
    values = [
        (replay.pk, number, row["event_id"], row["group"], row["entry"], row["moved_ms"], row["ended"], row["kind"],
         _FATES.get(row["state"], Fate.REPLAYED_BEFORE).value)
        for number, row in enumerate(ordered, after + 1)
    ]  # fmt: skip
    with connection.cursor() as cursor:
        for some in slices(values):
            cursor.executemany(_ADD, some)
    return after + len(values)


def to_json(asked: Asked) -> str:
    """What was asked for, as it is kept."""
    return msgspec.json.encode(asked.told).decode()
