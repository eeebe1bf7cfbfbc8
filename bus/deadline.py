"""Time-outs for sync handlers: raises `TimedOut` inside a thread whose handler runs too long.

Python delivers such an exception between two bytecodes: a handler that sits in C code (a socket without a
time-out, `time.sleep`) gets it when that call returns. The same mechanism as dramatiq's TimeLimit.
"""

from __future__ import annotations

import ctypes
import math
import threading
import time
from types import TracebackType

from bus.errors import TimedOut


class Deadlines:
    """The limits of the handlers that run now. `enforce` is called now and then by another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limits: dict[int, Limit] = {}

    def limit(self, seconds: float) -> Limit:
        """A context: whatever runs inside, in this thread, gets `TimedOut` after about `seconds`."""
        limit = self._limits.get(threading.get_ident()) or Limit(self)
        limit.seconds = seconds
        return limit

    def enforce(self) -> None:
        """Raise in the threads whose time is up."""
        now = time.monotonic()
        with self._lock:
            for thread, limit in list(self._limits.items()):
                if now >= limit.ends and not limit.fired:
                    limit.fired = True
                    if now >= limit.ends:
                        _raise_in(thread)
                    else:  # it ended between the two lines, and the next one may have begun
                        limit.fired = False


class Limit:
    """The limit of one handler after another, all in one thread.

    Entering and leaving take no lock, since that costs more than a fast handler does.
    Leaving says "ended" and then asks whether the limit fired; enforcing says "fired" and then asks whether it ended.
    So one of the two notices the other: either nothing is raised, or whoever leaves waits and takes it back.
    """

    __slots__ = ("_deadlines", "_thread", "ends", "fired", "seconds")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._thread = threading.get_ident()
        self.seconds = math.inf
        self.ends = math.inf
        self.fired = False
        deadlines._limits[self._thread] = self

    def __enter__(self) -> None:
        self.ends = time.monotonic() + self.seconds

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, _: TracebackType | None) -> None:
        self.ends = math.inf
        if not self.fired:
            return
        with self._deadlines._lock:  # set but perhaps not yet raised: it must not hit what this thread does next
            _clear(self._thread)
            self.fired = False
        if isinstance(raised, TimedOut):
            text = f"the handler ran longer than its timeout of {self.seconds:g} s"
            raise TimedOut(text).with_traceback(raised.__traceback__) from None


def _raise_in(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(TimedOut))


def _clear(thread: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), None)
