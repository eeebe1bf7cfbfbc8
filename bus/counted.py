"""How often something was done within a while, counted for all processes of a bus. Kept for that while and no longer.

Keys: `{prefix}:counted:<digest>` a number, expires with its window.
"""

from __future__ import annotations

import hashlib

from bus.keys import global_key
from bus.wire import Operation


def count(prefix: str, what: str, window_ms: int) -> Operation[tuple[int, int]]:
    """Count one more. Result: how often in this window, and how many ms it still lasts.

    Less than 0: it ended between two of the commands, and what was counted must be forgotten.
    """
    key = _key(prefix, what)
    commands = [
        (b"SET", key, b"0", b"PX", b"%d" % window_ms, b"NX"),
        (b"INCR", key),
        (b"PTTL", key),
    ]
    return Operation(commands, lambda replies: (int(replies[1]), int(replies[2])))


def forget(prefix: str, what: str) -> Operation[bool]:
    """Begin anew. Result: whether there was anything to forget."""
    return Operation([(b"DEL", _key(prefix, what))], lambda replies: bool(replies[0]))


def _key(prefix: str, what: str) -> bytes:
    digest = hashlib.sha256(what.encode("utf-8", "backslashreplace")).hexdigest()[:32]
    return global_key(prefix, f"counted:{digest}")
