"""How often one user or token may ask: so many a minute, counted in this process. A web process more, so many more."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final

PER_MINUTE: Final = 60
WINDOW_SECONDS: Final = 60.0
MAX_KNOWN: Final = 10_000

_lock: Final = threading.Lock()
_asked: OrderedDict[str, tuple[float, int]] = OrderedDict()  # who → when their minute began, how often since


def wait_seconds(who: str, most: int = PER_MINUTE, window_seconds: float = WINDOW_SECONDS) -> int:
    """Count one more. 0: go on; else how long to wait."""
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


def forget(who: str) -> None:
    """Begin anew: they proved to be who they say."""
    with _lock:
        _asked.pop(who, None)
