"""How often one user, token or address may ask: so many a minute, counted on the bus' server for all web processes.

While the server is away each process counts for itself: nobody is locked out, and nobody gets more than so often each.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from bus import counted
from bus.wire import Operation
from dashboard.queries.bus_state import AGAIN_SECONDS, ask

T = TypeVar("T")
PER_MINUTE: Final = 240  # a person who steps through what a breakpoint holds presses keys fast
WINDOW_SECONDS: Final = 60.0
MAX_KNOWN: Final = 10_000

_lock: Final = threading.Lock()
_asked: OrderedDict[str, tuple[float, int]] = OrderedDict()  # who → when their minute began, how often since
_away_until = 0.0  # a server that is away is not asked again at once: a page has better to do than to wait for it


def wait_seconds(who: str, most: int = PER_MINUTE, window_seconds: float = WINDOW_SECONDS) -> int:
    """Count one more. 0: go on; else how long to wait."""
    found = _shared(lambda prefix: counted.count(prefix, who, int(window_seconds * 1000)))
    if found is None:
        return _alone(who, most, window_seconds)
    count, left_ms = found
    if left_ms < 0:
        forget(who)
        return 0
    return 0 if count <= most else left_ms // 1000 + 1


def forget(who: str) -> None:
    """Begin anew: they proved to be who they say."""
    _shared(lambda prefix: counted.forget(prefix, who))
    with _lock:
        _asked.pop(who, None)


def _shared(operation: Callable[[str], Operation[T]]) -> T | None:
    global _away_until
    if time.monotonic() < _away_until:
        return None
    found = ask(operation)
    if found is None:
        _away_until = time.monotonic() + AGAIN_SECONDS
    return found


def _alone(who: str, most: int, window_seconds: float) -> int:
    now = time.monotonic()
    with _lock:
        began, count = _asked.get(who, (now, 0))
        if now - began >= window_seconds:
            began, count = now, 0
        if count >= most:
            return int(began + window_seconds - now) + 1
        _asked[who] = (began, count + 1)
        _asked.move_to_end(who)
        while len(_asked) > MAX_KNOWN:
            _asked.popitem(last=False)
    return 0
