"""What a page may say over its socket, checked. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec

from bus.event import TOPIC_PATTERN
from bus.tail import Position
from dashboard import cursors
from dashboard.live.feed import Filter
from dashboard.record.rows import clean

MAX_BYTES: Final = 16_384
_Text = Annotated[str, msgspec.Meta(max_length=512)]


class BadRequest(Exception):
    """What the client sent can't be done; the text says why."""


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """The browser has painted frame `seq`."""

    seq: int


class WatchOverview(msgspec.Struct, frozen=True, tag_field="kind", tag="overview"):
    """Show me the overview."""


class WatchTrace(msgspec.Struct, frozen=True, tag_field="kind", tag="trace"):
    """Show me a trace."""

    id: _Text


class WatchTopic(msgspec.Struct, frozen=True, tag_field="kind", tag="topic"):
    """Show me what happens on a topic, from `cursor` on, else from now on."""

    topic: _Text
    cursor: Annotated[str, msgspec.Meta(max_length=MAX_BYTES)] | None = None
    type: _Text | None = None
    key: _Text | None = None

    @property
    def filter(self) -> Filter:
        return Filter(self.topic, self.type or None, self.key or None)

    @property
    def begin(self) -> Mapping[int, Position] | None:
        return cursors.decode(self.cursor) if self.cursor else None


Watch = WatchOverview | WatchTrace | WatchTopic


class _Watch(msgspec.Struct, frozen=True, tag="watch"):
    watch: Watch


_decode = msgspec.json.Decoder(Ack | _Watch).decode


def parse(text: str | bytes) -> Ack | Watch:
    """The request, or `BadRequest`."""
    if len(text) > MAX_BYTES:
        raise BadRequest(f"expected at most {MAX_BYTES:,} characters, got {len(text):,}")
    try:
        request = _decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise BadRequest(f"expected a watch or an ack: {clean(str(error), 200)}") from None
    if isinstance(request, Ack):
        return request
    watch = request.watch
    if isinstance(watch, WatchTopic):
        if not TOPIC_PATTERN.match(watch.topic):
            raise BadRequest(f"expected the name of a topic, got {ascii(watch.topic)[:80]}")
        if watch.cursor and watch.begin is None:
            raise BadRequest("expected the cursor of an earlier frame or page; reload the page")
    return WatchTrace(clean(watch.id)) if isinstance(watch, WatchTrace) else watch
