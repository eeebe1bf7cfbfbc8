"""Publishing: checks an event, completes it from the context, and appends it to its partition.

Knows topics and partitions; must not know who handles the event.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
import weakref
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from bus import history, operations
from bus.config import Config
from bus.context import current
from bus.errors import EventInvalid, TopicInvalid
from bus.event import (
    Draft,
    Event,
    check_headers,
    check_size,
    check_text,
    check_topic,
    encode_data,
    new_correlation_id,
    new_id,
    now_text,
)
from bus.history import Page, Row
from bus.keys import Keys
from bus.streams import AsyncClient, Client, aconnect, connect
from bus.traceparent import trace_of
from bus.wire import Operation

MAX_PARTITIONS: Final = 1024
ROOM_SECONDS: Final = 1.0


class Publisher:
    """Publishes with one configuration. Safe to share between threads and event loops."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._aclients: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncClient] = weakref.WeakKeyDictionary()
        self._partitions: dict[str, int] = {}
        self._room_until: dict[tuple[str, int], float] = {}  # monotonic

    def draft(
        self,
        topic: str,
        type: str,
        data: Any,
        *,
        key: str | None = None,
        id: str | None = None,
        source: str | None = None,
        headers: Mapping[str, str] | None = None,
        correlation_id: str | None = None,
        traceparent: str | None = None,
    ) -> Draft:
        """An event as it would be published, checked and complete but for its place. Raises `EventInvalid`."""
        attempt = current.get()
        trace = correlation_id or trace_of(traceparent) or (attempt.event.correlation_id if attempt else None)
        event_id = check_text("id", id, required=True) if id is not None else new_id()
        return Draft(
            id=event_id,
            topic=check_topic(topic),
            type=check_text("type", type, required=True),
            raw=check_size(encode_data(data), limit=self.config.max_event_bytes),
            key=None if key is None else check_text("key", key),
            source=check_text("source", source or (attempt.group if attempt else self.config.source)),
            time_text=now_text(),
            correlation_id=check_text("correlation_id", trace) if trace else new_correlation_id(),
            cause=attempt.cause if attempt else None,
            traceparent=traceparent or "",
            headers=check_headers(headers) if headers else {},
            dedupe=id is not None,
        )

    def publish(self, draft: Draft) -> Event:
        """Append a draft; the result knows its partition and entry. See `bus.publish` for errors."""
        partition = partition_of(draft, self.partitions(draft.topic))
        return draft.placed(partition, self._connected().run(self._append(draft, partition)))

    async def apublish(self, draft: Draft) -> Event:
        """`publish` for async code."""
        client = self._aconnected()
        if draft.topic not in self._partitions:
            self._partitions[draft.topic] = await client.run(self._declare(draft.topic, 1))
        partition = partition_of(draft, self._partitions[draft.topic])
        return draft.placed(partition, await client.run(self._append(draft, partition)))

    def publish_many(self, drafts: Sequence[Draft]) -> list[Event]:
        """Append drafts, up to 500 in one round trip per partition; results in the order given.

        Not all or nothing: on an error those of earlier round trips are published. Drafts with an id of
        your own may be published again within the dedupe window: none is stored twice.
        """
        client = self._connected()
        places: dict[Keys, list[int]] = defaultdict(list)
        for index, draft in enumerate(drafts):
            places[Keys(self.config.prefix, draft.topic, partition_of(draft, self.partitions(draft.topic)))].append(
                index
            )
        placed: list[Event] = list(drafts)
        for keys, indices in places.items():
            for first in range(0, len(indices), operations.MAX_BATCH):
                part = indices[first : first + operations.MAX_BATCH]
                entries = client.run(self._append_batch(keys, [drafts[i] for i in part]))
                for index, entry in zip(part, entries, strict=True):
                    placed[index] = drafts[index].placed(keys.partition, entry)
        return placed

    def declare(self, topic: str, partitions: int) -> int:
        """Put a topic into the catalogue. Raises `TopicInvalid` when it has another number of partitions."""
        if not 1 <= partitions <= MAX_PARTITIONS:
            raise TopicInvalid(f"expected 1 to {MAX_PARTITIONS} partitions, got {partitions!r}")
        there = self._connected().run(self._declare(check_topic(topic), partitions))
        if there != partitions:
            raise TopicInvalid(
                f"expected topic {topic!r} to have {partitions} partitions, it has {there}, and keys would move;"
                " use another topic"
            )
        self._partitions[topic] = there
        return there

    def partitions(self, topic: str) -> int:
        """How many partitions the topic has; a new topic is declared with one."""
        if topic not in self._partitions:
            self._partitions[topic] = self._connected().run(self._declare(topic, 1))
        return self._partitions[topic]

    def events_of(self, topic: str, key: str, end: str) -> Iterator[tuple[list[Event], Page]]:
        """The key's events up to and including entry `end`, oldest first, in portions with what the log says."""
        client, prefix = self._connected(), self.config.prefix
        partitions = client.run(history.partitions_of(prefix, topic))
        keys = Keys(prefix, topic, partition_of_key(key, partitions))
        rows: list[Row] = [(history.START, {})]
        while rows:
            page = client.run(history.page(keys, rows[-1][0], end=end))
            rows = page.rows
            yield [history.event_of(keys, row) for row in history.keyed(rows, key)], page

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
                self._client = None

    def _connected(self) -> Client:
        with self._lock:
            if self._client is None:
                self._client = connect(self.config)
            return self._client

    def _aconnected(self) -> AsyncClient:
        loop = asyncio.get_running_loop()
        client = self._aclients.get(loop)
        if client is None:
            client = self._aclients[loop] = aconnect(self.config)
        return client

    def _declare(self, topic: str, partitions: int) -> Operation[int]:
        return operations.declare_topic(self.config.prefix, topic, partitions)

    def _append(self, draft: Draft, partition: int) -> Operation[str]:
        keys = Keys(self.config.prefix, draft.topic, partition)
        if not draft.dedupe and self._has_room(keys):
            return operations.publish(keys, draft)
        batch = self._append_batch(keys, [draft])
        return Operation(batch.commands, lambda replies: batch.parse(replies)[0])

    def _append_batch(self, keys: Keys, drafts: list[Draft]) -> Operation[list[str]]:
        digests = {draft.id: digest(draft) for draft in drafts if draft.dedupe}
        ttl_ms = self.config.dedupe_seconds * 1000
        if self._has_room(keys):
            return operations.publish_batch(keys, drafts, digests, ttl_ms)
        asked = operations.publish_batch(keys, drafts, digests, ttl_ms, full_at=self.config.full_events)

        def parse(replies: list[Any]) -> list[str]:
            entries = asked.parse(replies)
            self._room_until[keys.topic, keys.partition] = time.monotonic() + ROOM_SECONDS
            return entries

        return Operation(asked.commands, parse)

    def _has_room(self, keys: Keys) -> bool:
        """Whether the partition had room a moment ago: asked once a second, and every time while it is full."""
        return time.monotonic() < self._room_until.get((keys.topic, keys.partition), 0)


def partition_of(event: Event, partitions: int) -> int:
    """The partition of an event: by a stable hash of its key, else of its id (CRC-32)."""
    return partition_of_key(event.key or event.id, partitions)


def partition_of_key(key: str, partitions: int) -> int:
    """The partition that has a key's events."""
    return zlib.crc32(key.encode()) % partitions if partitions > 1 else 0


def digest(event: Event) -> bytes:
    """Digest of what an event says: type, key, source, data, headers. Its time and trace differ when it is
    published again."""
    parts = [event.type, event.key or "", event.source, *(text for pair in event.headers.items() for text in pair)]
    said = b"\0".join(part.encode() for part in parts) + b"\0" + event.raw
    return hashlib.blake2b(said, digest_size=8).hexdigest().encode()


def drafts_only(events: Iterable[Draft]) -> list[Draft]:
    """The drafts as a list, or `EventInvalid` where something else came."""
    listed = list(events)
    for event in listed:
        if not isinstance(event, Draft):
            raise EventInvalid(
                f"expected drafts made by bus.draft(topic, type, data), got {type(event).__name__};"
                " nothing was published"
            )
    return listed
