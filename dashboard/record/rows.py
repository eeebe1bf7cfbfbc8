"""The recorder's SQL and the values of its rows. Runs on SQLite and PostgreSQL.

Written by hand, for `executemany`: the ORM's `bulk_create` takes three to four times as long. What strangers
publish may hold anything, so each value is made to fit its column here and nowhere else; secrets are masked
(`masking`): in data, headers, errors and log lines.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
from django.db import connection

from bus.event import Event, entry_ms
from bus.journal import MAX_ERROR_TEXT, MAX_LOG_LINES, MAX_TRACEBACK, JournalEntry
from dashboard.record.masking import masker
from dashboard.record.progress import MAX_ATTEMPT, Ended, Progress

MAX_PAYLOAD: Final = 65_536  # bytes of an event's data that are kept; its size tells the rest
MAX_TEXT: Final = 512
MAX_NAME: Final = 120
MAX_VERSION: Final = 120
MAX_LOG_LINE: Final = 2_000
MAX_SHOWN_HEADERS: Final = 100
_MAX_BIGINT: Final = 2**63 - 1
_to_json = msgspec.json.Encoder().encode


def _insert(table: str, columns: str, conflict: str) -> str:
    names = columns.split()
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO dashboard_{table} ({quoted}) VALUES ({', '.join(['%s'] * len(names))}) {conflict}"  # noqa: S608  constants


def _overwrite(columns: str) -> str:
    return "DO UPDATE SET " + ", ".join(f'"{name}" = excluded."{name}"' for name in columns.split())


_PROGRESS: Final = (
    "state attempt ended worker due_ms delivered_ms started_ms settled_ms duration_us error fingerprint moved_ms"
)

ADD_PARTITION: Final = _insert(
    "partition",
    "topic number events_cursor journal_cursor newest_number newest_ms trimmed_number swept_number ghosts epoch",
    "ON CONFLICT (topic, number) DO NOTHING",
)
INSERT_EVENT: Final = _insert(
    "event",
    "id partition_id entry event_id type key source correlation_id cause_id cause_group cause_attempt traceparent"
    " time_text headers at_ms at_seq size payload ghost epoch",
    "ON CONFLICT DO NOTHING",
)
_INSERT_DELIVERY: Final = _insert("delivery", f"event_id group at_ms {_PROGRESS}", "ON CONFLICT")
_UPSERT_DELIVERY: Final = {  # by vendor: the primary key of what is divided by time ends with the time
    "sqlite": f'{_INSERT_DELIVERY} (event_id, "group") {_overwrite(_PROGRESS)}',
    "postgresql": f'{_INSERT_DELIVERY} (event_id, "group", at_ms) {_overwrite(_PROGRESS)}',
}
INSERT_ATTEMPT: Final = _insert(
    "attempt",
    "event_id group place at_ms number step worker started_ms ended_ms duration_us error_class message traceback"
    " frame log",
    "ON CONFLICT DO NOTHING",
)
INSERT_SUBSCRIPTION: Final = _insert(
    "subscription",
    "partition_id group since since_ms start types ordered attempts handlers version",
    "ON CONFLICT DO NOTHING",
)
ADD_VERSION: Final = _insert(  # said on several partitions: the earliest counts, in whatever order they are recorded
    "workerversion",
    "worker since_ms version",
    "ON CONFLICT (worker) DO UPDATE SET since_ms = excluded.since_ms, version = excluded.version"
    " WHERE excluded.since_ms < dashboard_workerversion.since_ms",
)
ADD_TALLY: Final = _insert(
    "tally",
    "bucket kind who topic count",
    "ON CONFLICT (bucket, kind, who, topic) DO UPDATE SET count = dashboard_tally.count + excluded.count",
)
ADD_TOTAL: Final = _insert(
    "total",
    "kind who topic count newest_ms",
    "ON CONFLICT (kind, who, topic) DO UPDATE SET count = dashboard_total.count + excluded.count,"
    " newest_ms = CASE WHEN excluded.newest_ms > dashboard_total.newest_ms"
    " THEN excluded.newest_ms ELSE dashboard_total.newest_ms END",
)
# The cursor moves only from where this recorder left it: whoever comes second changes nothing.
MOVE_CURSOR: Final = (
    "UPDATE dashboard_partition SET events_cursor = %s, journal_cursor = %s, newest_number = %s, newest_ms = %s"
    " WHERE id = %s AND events_cursor = %s AND journal_cursor = %s AND newest_number = %s AND epoch = %s"
)
SET_GHOSTS: Final = "UPDATE dashboard_partition SET ghosts = %s WHERE id = %s"
REWIND_CURSOR: Final = (
    "UPDATE dashboard_partition SET events_cursor = %s, journal_cursor = %s, trimmed_number = %s, epoch = epoch + 1"
    " WHERE id = %s AND events_cursor = %s AND journal_cursor = %s AND epoch = %s"
)
NEWEST_IDS: Final = (
    "SELECT e.partition_id, e.event_id FROM dashboard_partition p"
    " JOIN dashboard_event e ON e.partition_id = p.id AND e.entry = p.events_cursor WHERE NOT e.ghost ORDER BY e.id"
)
REWINDS: Final = "SELECT partition_id, first, last, at_ms FROM dashboard_rewind ORDER BY first"
FIRST_FROM: Final = "SELECT id, entry, event_id FROM dashboard_event WHERE id BETWEEN %s AND %s ORDER BY id LIMIT 1"
NUMBER_AT: Final = "SELECT id FROM dashboard_event WHERE partition_id = %s AND entry = %s AND id < %s ORDER BY id"
FORGOTTEN_TRACES: Final = "SELECT DISTINCT correlation_id FROM dashboard_event WHERE id BETWEEN %s AND %s LIMIT 1000"
DROP_REWINDS: Final = "DELETE FROM dashboard_rewind WHERE partition_id = %s AND first >= %s"
ADD_REWIND: Final = _insert("rewind", "partition_id epoch at_ms first last", "")
# What a forgotten event still had before it will never come.
LOSE_DELIVERIES: Final = (
    "UPDATE dashboard_delivery SET state = 'lost', due_ms = NULL, settled_ms = %s, moved_ms = %s"
    " WHERE event_id BETWEEN %s AND %s AND NOT (state = 'succeeded')"
    " AND state NOT IN ('dead', 'discarded', 'skipped', 'lost')"
)
# What the server forgot of events that it still has it does again; the attempts that it will not repeat stay.
FORGET_ATTEMPTS: Final = "DELETE FROM dashboard_attempt WHERE event_id BETWEEN %s AND %s AND ended_ms >= %s"
REOPEN_DELIVERIES: Final = (
    "UPDATE dashboard_delivery SET state = 'waiting', attempt = 0, worker = '', due_ms = NULL, settled_ms = NULL,"
    " error = '', fingerprint = '', ended = COALESCE((SELECT MAX(place) FROM dashboard_attempt"
    ' WHERE dashboard_attempt.event_id = dashboard_delivery.event_id AND dashboard_attempt."group" ='
    ' dashboard_delivery."group"), 0) WHERE event_id BETWEEN %s AND %s AND moved_ms >= %s'
)
ADD_TRIMMED: Final = "UPDATE dashboard_partition SET trimmed_number = trimmed_number + %s WHERE id = %s"


def clean(value: str, most: int = MAX_TEXT) -> str:
    """`value` as any database can hold it: no NUL, no lone surrogate, at most `most` characters."""
    if value.isprintable() and len(value) <= most:
        return value  # nearly all, and there are twenty to an event
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    if "\x00" in value:
        value = value.replace("\x00", "\\x00")
    return value if len(value) <= most else value[: most - 1] + "…"


class EventRow(NamedTuple):
    """The values of `INSERT_EVENT`, and those of them that the recorder counts by."""

    values: tuple[Any, ...]
    trace: str
    type: str
    at_ms: int


def event_row(event: Event, payload: bytes, *, pk: int, partition_id: int, epoch: int) -> EventRow:
    """The row of a published event. `payload`: its data as it may be stored."""
    cause = event.cause
    trace, event_type, source = clean(event.correlation_id), clean(event.type), clean(event.source)
    cause_id, cause_group = (clean(cause.event_id), clean(cause.group, MAX_NAME)) if cause else ("", "")
    headers = _headers(event) if event.headers else ""
    at_ms = entry_ms(event.entry)
    values = (
        pk, partition_id, event.entry, clean(event.id), event_type, clean(event.key or ""), source, trace,
        cause_id, cause_group, cause.attempt if cause else 0, clean(event.traceparent), clean(event.time_text),
        headers, at_ms, _sequence(event.entry), len(event.raw), payload, False, epoch,
    )  # fmt: skip
    return EventRow(values, trace, event_type, at_ms)


def ghost_row(entry: str, *, pk: int, partition_id: int, epoch: int) -> tuple[Any, ...]:
    """The row of an event that the stream no longer holds: nobody knows more than its entry."""
    name, at_ms = f"ghost-{partition_id}-{entry}", entry_ms(entry)
    return (
        pk, partition_id, entry, name, "", "", "", "",
        "", "", 0, "", "",
        "", at_ms, _sequence(entry), 0, b"", True, epoch,
    )  # fmt: skip


def upsert_delivery() -> str:
    """The statement that stores a delivery as it is now."""
    return _UPSERT_DELIVERY[connection.vendor]


def delivery_row(pk: int, at_ms: int, group: str, delivery: Progress) -> tuple[Any, ...]:
    """The values of `upsert_delivery`. `at_ms`: when the event was published."""
    error = clean(masker().text(delivery.error), 300) if delivery.error else ""
    return (
        pk, group, at_ms, delivery.state, delivery.attempt, delivery.ended, clean(delivery.worker, 200),
        delivery.due_ms, delivery.delivered_ms, delivery.started_ms, delivery.settled_ms, delivery.duration_us, error,
        clean(delivery.fingerprint, 64), delivery.moved_ms,
    )  # fmt: skip


def attempt_row(pk: int, at_ms: int, group: str, ended: Ended) -> tuple[Any, ...]:
    """The values of `INSERT_ATTEMPT`. `at_ms`: when the event was published."""
    failure = ended.failure
    mask = masker().text
    lines = [clean(mask(line), MAX_LOG_LINE) for line in ended.log[:MAX_LOG_LINES]]
    return (
        pk,
        group,
        ended.place,
        at_ms,
        ended.number,
        ended.step,
        clean(ended.worker, 200),
        ended.started_ms,
        ended.ended_ms,
        ended.duration_us,
        clean(mask(failure.error_class), 200) if failure else "",
        clean(mask(failure.message), MAX_ERROR_TEXT) if failure else "",
        clean(mask(failure.traceback), MAX_TRACEBACK) if failure else "",
        clean(mask(failure.frame), MAX_TEXT) if failure else "",
        _to_json(lines).decode() if lines else "",
    )


class SubscriptionRow(NamedTuple):
    """The values of `INSERT_SUBSCRIPTION`, and those of them that tell what the group gets."""

    values: tuple[Any, ...]
    start: str
    types: str
    attempts: int


def subscription_row(entry: JournalEntry, *, partition_id: int, group: str) -> SubscriptionRow:
    """The row of a journal entry that has a subscription."""
    said = entry.subscription
    assert said is not None
    start, attempts = clean(said.start, 41), min(max(said.attempts, 0), MAX_ATTEMPT)
    types = "" if said.types is None else _to_json([clean(name) for name in said.types[:1000]]).decode()
    handlers = _to_json([clean(name) for name in said.handlers[:100]]).decode()
    values = (
        partition_id, group, entry.position, entry.at_ms, start, types, said.ordered, attempts, handlers,
        clean(said.version, 200),
    )  # fmt: skip
    return SubscriptionRow(values, start, types, attempts)


def version_row(entry: JournalEntry) -> tuple[Any, ...]:
    """The values of `ADD_VERSION`: the worker that began says which version of the code it runs."""
    return (clean(entry.worker.partition("#")[0], 200), entry.at_ms, clean(entry.version, MAX_VERSION))


def _headers(event: Event) -> str:
    some, mask = islice(event.headers.items(), MAX_SHOWN_HEADERS), masker().text
    return _to_json({clean(mask(name)): clean(mask(value, name), 4 * MAX_TEXT) for name, value in some}).decode()


def _sequence(entry: str) -> int:
    return min(int(entry.partition("-")[2] or 0), _MAX_BIGINT)
