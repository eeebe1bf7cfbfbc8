"""The event: an immutable fact, and how it is written as the fields of a stream entry.

Knows JSON and CloudEvents 1.0 names; must not know Redis, groups or workers.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Generic, TypeVar

import msgspec
import uuid_utils

from bus.errors import DataInvalid, EventInvalid, EventTooLarge, TopicInvalid

T = TypeVar("T")

TOPIC_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,119}\Z")
GROUP_PATTERN: Final = TOPIC_PATTERN
MAX_TEXT: Final = 512  # characters of a type, key, source or header value
MAX_HEADERS: Final = 32

# One fixed order: a stream node then stores the names once for all of its entries.
FIELDS: Final = (
    b"id",
    b"type",
    b"source",
    b"time",
    b"partitionkey",
    b"correlationid",
    b"causationid",
    b"causationgroup",
    b"causationattempt",
    b"causationtopic",
    b"traceparent",
    b"data",
)
_NAMES: Final = list(FIELDS)
_KNOWN: Final = frozenset(FIELDS)
_HEADER_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}\Z")
_encode_json = msgspec.json.Encoder().encode
_decode_json = msgspec.json.Decoder().decode


class Cause(msgspec.Struct, frozen=True):
    """Who caused an event: the event being handled, by which group, in which attempt (from 1), on which topic."""

    event_id: str
    group: str = ""
    attempt: int = 0
    topic: str = ""


class _Cached(Generic[T]):
    """A property that is worked out once. Python's own took a lock until 3.12, which cost more than most data does."""

    def __init__(self, work_out: Callable[[Any], T]) -> None:
        self._work_out = work_out
        self.__doc__ = work_out.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> T:
        if instance is None:  # asked of the class, by whatever writes documentation
            return self  # type: ignore[return-value]
        found = instance.__dict__[self._name] = self._work_out(instance)
        return found


class Event(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """One immutable fact.

    `raw` is the data as it was written (JSON, or whatever a stranger put there); `data` decodes it.
    `entry`, `partition` say where it is stored; `attempt` (from 1) is 0 outside a handler, and goes on where it
    ended (`attempts_before`) when a dead letter is replayed. `run`: how often its group was moved back past it.
    """

    id: str
    topic: str
    type: str
    raw: bytes
    key: str | None = None
    source: str = ""
    time_text: str = ""
    correlation_id: str = ""
    cause: Cause | None = None
    traceparent: str = ""
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    partition: int = 0
    entry: str = ""
    attempt: int = 0
    attempts_before: int = 0
    run: int = 0

    @_Cached
    def data(self) -> Any:
        """The decoded JSON data. Raises `DataInvalid` when an entry holds something else."""
        try:
            return _decode_json(self.raw)
        except (msgspec.DecodeError, RecursionError, ValueError) as error:
            raise DataInvalid(
                f"event {self.id}: expected its data to be JSON, got {self.raw[:40]!r} ({error});"
                " fix the producer, the entry itself is kept"
            ) from None

    @_Cached
    def time(self) -> datetime:
        """When it happened (aware UTC): the producer's word, else the time of its entry."""
        try:
            moment = datetime.fromisoformat(self.time_text)
        except ValueError:
            moment = datetime.fromtimestamp(entry_ms(self.entry) / 1000, UTC)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    @property
    def causation_id(self) -> str | None:
        """Id of the event whose handler published this one."""
        return self.cause.event_id if self.cause else None


class Draft(Event, frozen=True, dict=True, kw_only=True):
    """An event that is checked and complete but not yet published.

    `dedupe`: its publisher chose the id, so publishing it again must store it once.
    """

    dedupe: bool = False

    def placed(self, partition: int, entry: str) -> Event:
        """The event that it became. Field by field: a loop over their names costs as much as an XADD."""
        return Event(
            id=self.id, topic=self.topic, type=self.type, raw=self.raw, key=self.key, source=self.source,
            time_text=self.time_text, correlation_id=self.correlation_id, cause=self.cause,
            traceparent=self.traceparent, headers=self.headers, partition=partition, entry=entry,
            attempt=self.attempt, attempts_before=self.attempts_before, run=self.run,
        )  # fmt: skip


def new_id() -> str:
    """A fresh event id: a UUIDv7, so that ids sort by the time they were made."""
    return str(uuid_utils.uuid7())


def new_correlation_id() -> str:
    """32 hex digits, a valid W3C trace id. A UUIDv7: in order of time, so that an index of traces grows at its end."""
    return uuid_utils.uuid7().hex


def now_text() -> str:
    """Now as RFC 3339 text with milliseconds, UTC."""
    second, ms = divmod(time.time_ns() // 1_000_000, 1000)
    return f"{_second_text(second)}.{ms:03d}Z"


@lru_cache(maxsize=4)  # events come thousands a second
def _second_text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def entry_ms(entry: str) -> int:
    """Milliseconds since 1970 (server's clock) of an entry id `ms-seq`; 0 when it has none."""
    head = entry.partition("-")[0]
    return min(int(head), 253402300799000) if head.isdigit() else 0


def check_topic(topic: object) -> str:
    """The topic's name, or `TopicInvalid`."""
    if isinstance(topic, str) and _is_topic(topic):
        return topic
    raise TopicInvalid(
        "expected a topic of 1 to 120 letters, digits, '.', '_' or '-', starting with a letter or"
        f" digit, got {_shown(topic)}; rename it, for example 'orders'"
    )


@lru_cache(maxsize=1024)
def _is_topic(name: str) -> bool:
    return TOPIC_PATTERN.match(name) is not None


def encode_data(data: object) -> bytes:
    """`data` as compact UTF-8 JSON. Raises `DataInvalid`: NaN, lone surrogates, objects, too deep."""
    try:
        raw = _encode_json(data)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise DataInvalid(
            f"expected data that is JSON (dict, list, text, number, bool, None), got"
            f" {type(data).__name__}: {error}; convert it before you publish"
        ) from None
    if b"null" in raw:  # what the encoder makes of NaN and infinities, among others
        _refuse_lost_numbers(data)
    return raw


def check_text(name: str, value: object, *, required: bool = False) -> str:
    """A type, key or source as text of at most 512 characters that UTF-8 can carry, or `EventInvalid`."""
    if isinstance(value, str) and int(required) <= len(value) <= MAX_TEXT:
        if value.isascii():
            return value
        try:
            value.encode()
            return value
        except UnicodeEncodeError:
            pass
    raise EventInvalid(
        f"expected {name} to be text of {1 if required else 0} to {MAX_TEXT} characters,"
        f" got {_shown(value)}; shorten or convert it"
    )


def check_headers(headers: Mapping[Any, Any]) -> dict[str, str]:
    """Headers as text by name: at most 32, names `a-z 0-9 _ -`, none of the event's own fields."""
    if len(headers) > MAX_HEADERS:
        raise EventInvalid(f"expected at most {MAX_HEADERS} headers, got {len(headers)}; put the rest into data")
    for name in headers:
        if not isinstance(name, str) or not _HEADER_NAME.match(name) or name.encode() in _KNOWN:
            raise EventInvalid(
                "expected header names of 1 to 64 characters a-z, 0-9, '_' or '-' that are no event field,"
                f" got {_shown(name)}; rename it"
            )
    return {name: check_text(f"header {name}", value) for name, value in headers.items()}


def check_size(raw: bytes, *, limit: int) -> bytes:
    """`raw`, or `EventTooLarge` when it is over `limit` bytes."""
    if len(raw) <= limit:
        return raw
    raise EventTooLarge(
        f"expected at most {limit:,} bytes of data, got {len(raw):,}; publish a reference to the large"
        " part instead, or raise BUS['max_event_bytes']"
    )


def to_fields(event: Event) -> list[bytes]:
    """Names and values of the stream entry, flat and in the fixed order."""
    cause = event.cause
    fields = [
        b"id", event.id.encode(),
        b"type", event.type.encode(),
        b"source", event.source.encode(),
        b"time", event.time_text.encode(),
        b"partitionkey", (event.key or "").encode(),
        b"correlationid", event.correlation_id.encode(),
        b"causationid", cause.event_id.encode() if cause else b"",
        b"causationgroup", cause.group.encode() if cause else b"",
        b"causationattempt", b"%d" % cause.attempt if cause else b"",
        b"causationtopic", cause.topic.encode() if cause else b"",
        b"traceparent", event.traceparent.encode(),
        b"data", event.raw,
    ]  # fmt: skip
    for name, value in event.headers.items():
        fields += (name.encode(), value.encode())
    return fields


def from_fields(flat: Iterable[bytes], *, topic: str, partition: int, entry: str, attempt: int = 0) -> Event:
    """The event that a stream entry holds, whoever wrote it: what is missing gets a stated default."""
    if isinstance(flat, list) and flat[::2] == _NAMES:
        written = _as_written(flat[1::2], topic, partition, entry, attempt)
        if written is not None:
            return written
    pairs = iter(flat)
    values = dict(zip(pairs, pairs, strict=False))
    text = {name: _text(values.get(name, b"")) for name in FIELDS[:-1]}
    event_id = text[b"id"] or f"{topic}-{partition}-{entry}"
    return Event(
        id=event_id,
        topic=topic,
        type=text[b"type"],
        raw=values.get(b"data", b""),
        key=text[b"partitionkey"] or None,
        source=text[b"source"],
        time_text=text[b"time"],
        correlation_id=text[b"correlationid"] or _own_trace(event_id),
        cause=_cause(text),
        traceparent=text[b"traceparent"],
        headers={_text(k): _text(v) for k, v in values.items() if k not in _KNOWN},
        partition=partition,
        entry=entry,
        attempt=attempt,
    )


def _as_written(values: list[bytes], topic: str, partition: int, entry: str, attempt: int) -> Event | None:
    """What `to_fields` wrote, without headers: most entries, at a third of the cost. None: its bytes are no UTF-8."""
    own, kind, source, time, key, trace, cause, group, number, cause_topic, traceparent, raw = values
    try:
        event_id = own.decode() or f"{topic}-{partition}-{entry}"
        caused = None
        if cause:
            before = int(number) if number.isdigit() and len(number) < 6 else 0
            caused = Cause(cause.decode(), group.decode(), before, cause_topic.decode())
        return Event(
            id=event_id, topic=topic, type=kind.decode(), raw=raw, key=key.decode() or None, source=source.decode(),
            time_text=time.decode(), correlation_id=trace.decode() or _own_trace(event_id), cause=caused,
            traceparent=traceparent.decode(), partition=partition, entry=entry, attempt=attempt,
        )  # fmt: skip
    except UnicodeDecodeError:
        return None


def _cause(text: Mapping[bytes, str]) -> Cause | None:
    if not text[b"causationid"]:
        return None
    attempt = text[b"causationattempt"]
    number = int(attempt) if attempt.isdigit() and len(attempt) < 6 else 0
    return Cause(text[b"causationid"], text[b"causationgroup"], number, text[b"causationtopic"])


def _own_trace(event_id: str) -> str:
    """The trace of an event that names none: its own id, as 32 hex digits when it is a UUID."""
    bare = event_id.replace("-", "")
    return bare if re.fullmatch(r"[0-9a-f]{32}", bare) else event_id


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _refuse_lost_numbers(data: object) -> None:
    """NaN and infinities would be written as null: data must come back as it went in."""
    stack = [data]
    while stack:
        value = stack.pop()
        if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
            raise DataInvalid(
                f"expected data that is JSON, got the number {value!r}, which JSON lacks; leave it out or use None"
            )
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            stack.extend(value)


def _shown(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
