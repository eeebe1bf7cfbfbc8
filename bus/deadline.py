"""Time-outs for sync handlers: raises `TimedOut` inside a thread whose handler runs too long.

Python delivers such an exception between two bytecodes: a handler that sits in C code (a socket without a
time-out, `time.sleep`) gets it when that call returns. The same mechanism as dramatiq's TimeLimit.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bus.errors import TimedOut


@dataclass
class _Limit:
    thread: int
    ends: float
    fired: bool = False


class Deadlines:
    """The limits of the handlers that run now. `enforce` is called now and then by another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[int, _Limit] = {}

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Whatever runs inside, in this thread, gets `TimedOut` after about `seconds`."""
        thread = threading.get_ident()
        limit = _Limit(thread, time.monotonic() + seconds)
        with self._lock:
            self._limits[thread] = limit
        try:
            yield
        except TimedOut as raised:
            if not limit.fired:
                raise
            text = f"the handler ran longer than its timeout of {seconds:g} s"
            raise TimedOut(text).with_traceback(raised.__traceback__) from None
        finally:
            with self._lock:
                self._limits.pop(thread, None)
            if limit.fired:  # set but perhaps not yet raised: it must not hit what this thread does next
                _clear(thread)

    def enforce(self) -> None:
        """Raise in the threads whose time is up."""
        now = time.monotonic()
        with self._lock:
            for limit in self._limits.values():
                if not limit.fired and now >= limit.ends:
                    limit.fired = True
                    _raise_in(limit.thread)


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimedOut))


def _clear(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
