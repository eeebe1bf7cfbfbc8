"""A search as a file, streamed: one page of events is in memory at a time, however many match.

Every cell that a spreadsheet would take for a formula is made text. The file says so when it ends early.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from asgiref.sync import sync_to_async
from django.http import HttpResponseBase, StreamingHttpResponse

from dashboard import queries
from dashboard.queries import Query

FORMATS: Final = {"csv": "text/csv; charset=utf-8", "json": "application/x-ndjson"}
MAX_ROWS: Final = 100_000
MAX_SECONDS: Final = 300.0
_PER_PAGE: Final = 200  # with up to 64 kB of data each
_COLUMNS: Final = ("id", "topic", "partition", "entry", "at", "type", "key", "source", "trace", "size", "lanes", "data")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_LATEST_MS: Final = 253_402_300_799_000  # datetime ends with the year 9999
_encode: Final = msgspec.json.Encoder().encode

Page = dict[str, Any]


def response(kind: str, query: Query, *, topic: str | None, limit: int) -> HttpResponseBase:
    """The export of a search. The first page is asked for at once, so that a query nobody can answer is an error."""
    first = _ask(query, topic, None, min(limit, _PER_PAGE))
    write = _csv if kind == "csv" else _json_lines
    streamed = StreamingHttpResponse(_pages(first, query, topic, limit, write), content_type=FORMATS[kind])
    streamed["Content-Disposition"] = f'attachment; filename="events.{kind if kind == "csv" else "jsonl"}"'
    return streamed


async def _pages(
    page: Page, query: Query, topic: str | None, limit: int, write: Callable[[Sequence[Page], str, bool], bytes]
) -> AsyncIterator[bytes]:
    """Pages as bytes. Asynchronous, because a server that speaks ASGI would gather a plain iterator in memory."""
    deadline = time.monotonic() + MAX_SECONDS
    count, is_first = 0, True
    while True:
        count += len(page["rows"])
        is_last = page["next"] is None
        is_late = time.monotonic() > deadline
        stop = "" if is_last or not (is_late or count >= limit) else f"stopped after {count} events; there may be more"
        yield write(page["rows"], stop, is_first)
        if is_last or stop:
            return
        is_first = False
        page = await sync_to_async(_ask)(query, topic, page["next"], min(limit - count, _PER_PAGE))


def _ask(query: Query, topic: str | None, mark: str | None, limit: int) -> Page:
    return queries.search(query, topic=topic, mark=mark, limit=limit, with_data=True)


def _json_lines(rows: Sequence[Page], stop: str, _is_first: bool) -> bytes:  # noqa: FBT001  as `_csv`
    lines = [_encode({**row, "at": moment(row["at_ms"])}) for row in rows]
    if stop:
        lines.append(_encode({"stopped": stop}))
    return b"".join(line + b"\n" for line in lines)


def _csv(rows: Sequence[Page], stop: str, is_first: bool) -> bytes:  # noqa: FBT001  one of two writers
    out = io.StringIO()
    writer = csv.writer(out)
    if is_first:
        writer.writerow(_COLUMNS)
    writer.writerows(_cells(row) for row in rows)
    if stop:
        writer.writerow([f"({stop})"])
    return out.getvalue().encode("utf-8", "backslashreplace")


def _cells(row: Page) -> Iterable[str]:
    lanes = "; ".join(f"{lane['group']}: {lane['label']}" for lane in row["lanes"])
    values = (
        row["id"], row["topic"], row["partition"], row["entry"], moment(row["at_ms"]), row["type"], row["key"] or "",
        row["source"], row["correlation_id"], row["size"], lanes, row["data_text"],
    )  # fmt: skip
    return (harmless(str(value)) for value in values)


def harmless(cell: str) -> str:
    """The cell as text, whatever a spreadsheet would make of it."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def moment(at_ms: int) -> str:
    """A moment as ISO 8601 in UTC."""
    return datetime.fromtimestamp(min(at_ms, _LATEST_MS) / 1000, UTC).isoformat(timespec="milliseconds")
