"""One delivery: run the handler on the event, and decide what its outcome means.

Steps: refuse → call → judge. Knows subscriptions and events; must not know Redis. The only place where
any exception is caught, since what a handler raises is not ours to choose.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import linecache
import logging
import re
import sysconfig
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from types import CoroutineType, FrameType, TracebackType, coroutine
from typing import Any, Final

import msgspec

from bus import inbox
from bus.context import Attempt, current
from bus.deadline import Deadlines
from bus.errors import DataInvalid, TimedOut
from bus.event import Event
from bus.journal import MAX_ERROR_TEXT, MAX_LOG_LINES, MAX_TRACEBACK, Failure, Record, Step
from bus.operations import Settlement
from bus.subscription import Subscription

_OWN_FOLDER: Final = str(Path(__file__).parent)
_SUCCEEDED: Final = Step.SUCCEEDED  # an enum's member costs more to look up than a record to make
_LIBRARIES: Final = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended. `ended` is on the monotonic clock, in seconds; `error` None means well."""

    event: Event
    subscription: Subscription | None
    error: BaseException | None = None
    duration_us: int = 0
    ended: float = 0.0
    log: list[str] = msgspec.field(default_factory=list)


def run(subscription: Subscription, event: Event, deadlines: Deadlines) -> Outcome:
    """Call a sync handler in this thread."""
    attempt = Attempt(event, subscription.group)
    token = current.set(attempt)
    began = time.monotonic()
    error: BaseException | None = None
    try:
        with deadlines.limit(subscription.timeout_seconds):
            if subscription.inbox:
                inbox.run_once(subscription.group, subscription.handler, event)
            else:
                subscription.handler(event)
    except BaseException as raised:  # noqa: BLE001  # a handler may raise anything, SystemExit included
        error = raised
    finally:
        current.reset(token)
    ended = time.monotonic()
    return Outcome(event, subscription, error, int((ended - began) * 1e6), ended, attempt.log)


async def arun(subscription: Subscription, event: Event) -> Outcome:
    """Await an async handler (or call a sync one that shares the group) in this event loop."""
    attempt = Attempt(event, subscription.group)
    token = current.set(attempt)
    began = time.monotonic()
    error: BaseException | None = None
    try:
        result = subscription.handler(event)
        if type(result) is CoroutineType:
            await _awaited(result, began + subscription.timeout_seconds)
        elif inspect.isawaitable(result):
            async with asyncio.timeout(subscription.timeout_seconds):
                await result
    except TimeoutError as raised:
        late = time.monotonic() - began >= subscription.timeout_seconds
        error = TimedOut(_late(subscription)) if late else raised
    except BaseException as raised:  # noqa: BLE001  # as above; a cancelled handler counts as failed too
        error = raised
    finally:
        current.reset(token)
    ended = time.monotonic()
    return Outcome(event, subscription, error, int((ended - began) * 1e6), ended, attempt.log)


async def _awaited(handling: CoroutineType[Any, Any, Any], ends: float) -> None:
    """Await a coroutine until `ends` (monotonic). One that ends without waiting for anything needs no timer."""
    try:
        awaits = handling.send(None)
    except StopIteration:
        return
    async with asyncio.timeout(max(ends - time.monotonic(), 0)):
        await _rest(handling, awaits)


@coroutine
def _rest(handling: CoroutineType[Any, Any, Any], awaits: Any) -> Generator[Any, Any, None]:
    """The rest of a coroutine that has begun and waits for `awaits`."""
    try:
        while True:
            try:
                sent = yield awaits
            except GeneratorExit:
                handling.close()
                raise
            except BaseException as raised:  # noqa: BLE001  # a cancellation, say: the handler's to deal with
                awaits = handling.throw(raised)
            else:
                awaits = handling.send(sent)
    except StopIteration:
        return


def skipped(event: Event) -> Outcome:
    """The outcome of an event whose type the group does not take."""
    return Outcome(event, None, ended=time.monotonic())


def judge(outcome: Outcome, *, now: float, ordered: bool = False) -> Settlement:
    """What an outcome means for the delivery. `now`: monotonic seconds when it is settled."""
    event = outcome.event
    key = event.key or "" if ordered else ""
    ago_us = int((now - outcome.ended) * 1e6)
    if outcome.error is None and outcome.subscription is not None:
        done = Record(_SUCCEEDED, event.entry, event.attempt, outcome.duration_us, ago_us, 0, None, outcome.log)
        return Settlement(b"a", done, key)
    step, verdict, delay_ms, failure = Step.SUCCEEDED, b"a", 0, None
    if outcome.subscription is None:
        step = Step.SKIPPED
    elif outcome.error is not None:
        failure = describe(outcome.error)
        delay = _retry_delay(outcome.subscription, event.attempt - event.attempts_before, outcome.error)
        given_up = b"h" if outcome.subscription.on_dead == "halt" else b"d"
        step, verdict = (Step.DEAD_LETTERED, given_up) if delay is None else (Step.RETRY_SCHEDULED, b"r")
        delay_ms = int((delay or 0) * 1000)
    record = Record(step, event.entry, event.attempt, outcome.duration_us, ago_us, delay_ms, failure, outcome.log)
    return Settlement(verdict, record, key)


def describe(error: BaseException) -> Failure:
    """An exception as the journal keeps it: bounded, with the innermost line of the user's own code."""
    message = _safe_text(error)[:MAX_ERROR_TEXT]
    name = type(error).__name__
    frame = _own_frame(error.__traceback__)
    return Failure(
        error_class=name,
        message=message,
        traceback=_traceback(error),
        frame=frame,
        fingerprint=_fingerprint(name, message, frame),
    )


class LogCapture(logging.Handler):
    """Keeps the lines that a handler logs with its attempt, up to 50."""

    def emit(self, record: logging.LogRecord) -> None:
        attempt = current.get()
        if attempt is not None and len(attempt.log) < MAX_LOG_LINES:
            attempt.log.append(f"{record.levelname} {record.name}: {record.getMessage()[:500]}")


def _retry_delay(subscription: Subscription, attempt: int, error: BaseException) -> float | None:
    """Seconds until the next attempt, or None when none follows. `attempt`: since the last replay."""
    retry = subscription.retry
    if attempt >= retry.attempts or isinstance(error, (DataInvalid, *retry.fatal)):
        return None
    return retry.delay_seconds(attempt)


def _late(subscription: Subscription) -> str:
    return f"{subscription.name} ran longer than its timeout of {subscription.timeout_seconds:g} s"


def _safe_text(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # an exception may even fail to say what it is
        text = "(its message can't be read)"
    return text.encode("utf-8", "backslashreplace").decode()


def _traceback(error: BaseException) -> str:
    try:
        trace = error.__traceback__
        while trace and trace.tb_next and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
            trace = trace.tb_next  # how we came to call the handler helps nobody
        lines = traceback.format_exception(type(error), error, trace, limit=-30)
    except Exception:  # noqa: BLE001  # as above
        return ""
    text = "".join(lines).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_TRACEBACK else f"… cut …\n{text[-MAX_TRACEBACK:]}"


def _own_frame(trace: TracebackType | None) -> str:
    """`file:line in function: code` of the innermost frame that is neither ours nor a library's."""
    best = ""
    for frame, line in traceback.walk_tb(trace):
        path = frame.f_code.co_filename
        if not path.startswith(_OWN_FOLDER) and not path.startswith(_LIBRARIES):
            best = _shown_frame(frame, line, path)
    return best


def _shown_frame(frame: FrameType, line: int, path: str) -> str:
    code = linecache.getline(path, line).strip()[:200]
    return f"{'/'.join(Path(path.lstrip('/')).parts[-3:])}:{line} in {frame.f_code.co_name}: {code}"


def without_details(message: str) -> str:
    """An error's message without numbers, ids and quoted values: what errors alike have in common."""
    plain = re.sub(r"'[^']*'|\"[^\"]*\"", "'…'", message[:500])
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{20,40}|\b[0-9a-f]{16,}\b|\d+", "#", plain)


def _fingerprint(name: str, message: str, frame: str) -> str:
    """Same class at the same line of one's own code: the same error, whatever it names. Without a line, by its message.

    The line counts by its text and function, not its number: what moved down is still the same line.
    """
    place = re.sub(r":\d+ in ", " in ", frame)
    plain = "" if place else without_details(message)
    return hashlib.blake2b(f"{name}\0{plain}\0{place}".encode(), digest_size=6).hexdigest()
