"""Finding dead letters without reading them: by the delivery that they are of, and who has handed them back.

For whoever keeps a list of deliveries and replays them one after the other. Builds operations; decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from bus.journal import Step, unpack
from bus.keys import Keys
from bus.operations import DeadLetter, dead_letter
from bus.streams import Client
from bus.wire import Operation, call

PAGE: Final = 500


class Found(NamedTuple):
    """Letter ids in the order that was asked, "" for one that is no longer there; and the server's clock in ms."""

    now_ms: int
    ids: list[str]


def find(keys: Keys, group: str, died: Sequence[tuple[str, int]]) -> Operation[Found]:
    """The dead letters of up to 500 deliveries: (entry, ms of the journal in which it died)."""
    args = [group.encode()]
    for entry, died_ms in died:
        args += (entry.encode(), b"%d" % died_ms)

    def parse(replies: list[Any]) -> Found:
        now, *ids = replies[0]
        return Found(int(now), [one.decode() for one in ids])

    return Operation([call("find_letters", keys.of_group(group), args)], parse)


def one(keys: Keys, group: str, id: str) -> Operation[DeadLetter | None]:
    """The dead letter of this id, with its event as it was published; None when it is no longer there."""
    command = (b"XRANGE", keys.dead(group), id.encode(), id.encode())
    return Operation([command], lambda replies: dead_letter(keys, replies[0][0]) if replies[0] else None)


def replayed_by(client: Client, keys: Keys, group: str, who: str, *, since_ms: int) -> Iterator[str]:
    """Entries that `who` handed back to the group since then, as the journal tells."""
    start, name, signed = f"{since_ms}-0".encode(), group.encode(), who.encode()
    while rows := client.run(_journal(keys, start)):
        for position, flat in rows:
            fields = dict(zip(flat[::2], flat[1::2], strict=False))
            if (fields.get(b"g"), fields.get(b"w")) == (name, signed):
                records = unpack(position.decode(), flat).records
                yield from (record.entry for record in records if record.step == Step.REPLAYED)
        start = b"(" + rows[-1][0]


def _journal(keys: Keys, start: bytes) -> Operation[list[tuple[bytes, list[bytes]]]]:
    command = (b"XRANGE", keys.journal, start, b"+", b"COUNT", b"%d" % PAGE)
    return Operation([command], lambda replies: [(row[0], row[1]) for row in replies[0]])
