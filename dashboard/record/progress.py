"""How a delivery moves: what each step of the journal does to its state. Pure; knows no database.

The journal is in order and each settling step in it was fenced, so only `delivered` may come late: it is written
beside the work, not by the script that ends it. Even so nothing here ever moves a delivery backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from bus.journal import Failure, Record, Step

MAX_ATTEMPT: Final = 2**31 - 1
MAX_SPAN: Final = 2**52  # of µs or ms; what is longer is nonsense, and some databases can't hold it


class State(StrEnum):
    """Where a delivery is; the words of the screen."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCEEDED = "succeeded"
    DEAD = "dead"
    HELD = "held"
    REPLAYING = "replaying"
    DISCARDED = "discarded"
    SKIPPED = "skipped"
    LOST = "lost"


SETTLED: Final = frozenset({State.SUCCEEDED, State.DEAD, State.DISCARDED, State.SKIPPED, State.LOST})


class Progress(msgspec.Struct, gc=False):
    """A delivery as far as the journal has told; the columns of `models.Delivery`, in order."""

    state: str = State.WAITING
    attempt: int = 0
    ended: int = 0
    worker: str = ""
    due_ms: int | None = None
    delivered_ms: int | None = None
    started_ms: int | None = None
    settled_ms: int | None = None
    duration_us: int = 0
    error: str = ""
    fingerprint: str = ""
    moved_ms: int = 0


class Moment(NamedTuple):
    """When a step was written, and by which worker."""

    at_ms: int
    worker: str


class Ended(NamedTuple):
    """An attempt that ended; `place` is its ordinal in the delivery."""

    place: int
    number: int
    step: int
    worker: str
    started_ms: int
    ended_ms: int
    duration_us: int
    failure: Failure | None
    log: list[str]


class Moved(NamedTuple):
    """What a step did: whether it counted, and the attempt that it ended, where that has something to tell."""

    counted: bool
    ended: Ended | None = None


IGNORED: Final = Moved(counted=False)
COUNTED: Final = Moved(counted=True)


def advance(delivery: Progress, record: Record, moment: Moment) -> Moved:
    """Apply one record of the journal to `delivery`, in place."""
    move = _MOVES.get(record.step)
    moved = move(delivery, record, moment) if move else IGNORED
    if moved.counted:
        delivery.moved_ms = moment.at_ms
    return moved


def _delivered(delivery: Progress, record: Record, moment: Moment) -> Moved:
    again = delivery.state in (State.WAITING, State.REPLAYING, State.HELD)
    if delivery.state in SETTLED or not (again or record.attempt > delivery.attempt):
        return IGNORED
    delivery.state = State.RUNNING
    delivery.attempt = _bounded(record.attempt, MAX_ATTEMPT)
    delivery.worker = moment.worker
    delivery.due_ms = None
    delivery.started_ms = _ended_ms(record, moment)
    delivery.delivered_ms = delivery.delivered_ms or delivery.started_ms
    return COUNTED


def _succeeded(delivery: Progress, record: Record, moment: Moment) -> Moved:
    if _is_late(delivery, record):
        return IGNORED
    _end(delivery, record, moment)
    delivery.state = State.SUCCEEDED
    delivery.settled_ms = _ended_ms(record, moment)
    delivery.error = delivery.fingerprint = ""
    return Moved(counted=True, ended=_told(delivery, record, moment)) if record.log else COUNTED


def _retry_scheduled(delivery: Progress, record: Record, moment: Moment) -> Moved:
    if _is_late(delivery, record):
        return IGNORED
    _end(delivery, record, moment)
    delivery.state = State.RETRYING
    delivery.due_ms = moment.at_ms + _bounded(record.due_in_ms)
    _blame(delivery, record.failure)
    return Moved(counted=True, ended=_told(delivery, record, moment))


def _dead_lettered(delivery: Progress, record: Record, moment: Moment) -> Moved:
    if _is_late(delivery, record):
        return IGNORED
    died = delivery.worker if record.duration_us == 0 and _is_running(delivery, record) else moment.worker
    _end(delivery, record, Moment(moment.at_ms, died))
    delivery.state = State.DEAD
    delivery.settled_ms = _ended_ms(record, moment)
    _blame(delivery, record.failure)
    return Moved(counted=True, ended=_told(delivery, record, moment))


def _reclaimed(delivery: Progress, record: Record, moment: Moment) -> Moved:
    """The attempt ended with its worker: the worker that writes this only found it."""
    if _is_late(delivery, record):
        return IGNORED
    ran = _is_running(delivery, record)
    started_ms, died = (delivery.started_ms, delivery.worker) if ran else (None, "")
    _end(delivery, record, Moment(moment.at_ms, died))
    delivery.started_ms = started_ms or moment.at_ms
    delivery.duration_us = (moment.at_ms - delivery.started_ms) * 1000
    delivery.state = State.RETRYING
    delivery.due_ms = moment.at_ms
    _blame(delivery, WORKER_DIED)
    return Moved(counted=True, ended=_told(delivery, record, moment))


def _released(delivery: Progress, record: Record, moment: Moment) -> Moved:
    """Given back unfinished. What had not begun leaves no mark."""
    if _is_late(delivery, record):
        return IGNORED
    ended = None
    if _is_running(delivery, record):
        delivery.ended += 1
        delivery.duration_us = (moment.at_ms - (delivery.started_ms or moment.at_ms)) * 1000
        ended = _told(delivery, record, moment)
    delivery.attempt = max(_bounded(record.attempt, MAX_ATTEMPT) - 1, 0)
    delivery.state = State.RETRYING if delivery.attempt else State.WAITING
    delivery.due_ms = moment.at_ms if delivery.attempt else None
    return Moved(counted=True, ended=ended)


def _held(delivery: Progress, record: Record, _moment: Moment) -> Moved:
    """Stopped before its handler: that attempt has not begun."""
    if _is_late(delivery, record):
        return IGNORED
    delivery.state = State.HELD
    delivery.attempt = max(_bounded(record.attempt, MAX_ATTEMPT) - 1, 0)
    delivery.worker, delivery.due_ms = "", None
    return COUNTED


def _left_out(delivery: Progress, record: Record, moment: Moment) -> Moved:
    if delivery.state in SETTLED:
        return IGNORED
    delivery.state = State.LOST if record.step == Step.LOST else State.SKIPPED
    delivery.attempt = max(delivery.attempt, _bounded(record.attempt, MAX_ATTEMPT))
    delivery.worker, delivery.due_ms, delivery.settled_ms = moment.worker, None, moment.at_ms
    return COUNTED


def _replayed(delivery: Progress, _record: Record, _moment: Moment) -> Moved:
    delivery.state = State.REPLAYING
    delivery.attempt = 0
    delivery.worker = delivery.error = delivery.fingerprint = ""
    delivery.due_ms = delivery.settled_ms = None
    return COUNTED


def _discarded(delivery: Progress, _record: Record, _moment: Moment) -> Moved:
    if delivery.state != State.DEAD:
        return IGNORED
    delivery.state = State.DISCARDED
    return COUNTED


def _restored(delivery: Progress, _record: Record, _moment: Moment) -> Moved:
    if delivery.state != State.DISCARDED:
        return IGNORED
    delivery.state = State.DEAD
    return COUNTED


WORKER_DIED: Final = Failure("WorkerDied", "its worker died", fingerprint="worker-died")

_MOVES: Final[dict[int, Callable[[Progress, Record, Moment], Moved]]] = {
    Step.DELIVERED: _delivered,
    Step.SUCCEEDED: _succeeded,
    Step.RETRY_SCHEDULED: _retry_scheduled,
    Step.DEAD_LETTERED: _dead_lettered,
    Step.RECLAIMED: _reclaimed,
    Step.RELEASED: _released,
    Step.SKIPPED: _left_out,
    Step.LOST: _left_out,
    Step.REPLAYED: _replayed,
    Step.DISCARDED: _discarded,
    Step.RESTORED: _restored,
    Step.HELD: _held,
}


def _is_late(delivery: Progress, record: Record) -> bool:
    return record.attempt < delivery.attempt or delivery.state in SETTLED


def _is_running(delivery: Progress, record: Record) -> bool:
    return delivery.state == State.RUNNING and delivery.attempt == record.attempt


def _end(delivery: Progress, record: Record, moment: Moment) -> None:
    """The attempt is over: what every end has in common."""
    delivery.attempt = _bounded(record.attempt, MAX_ATTEMPT)
    delivery.ended += 1
    delivery.worker = moment.worker
    delivery.due_ms = None
    delivery.duration_us = _bounded(record.duration_us)
    delivery.started_ms = max(_ended_ms(record, moment) - delivery.duration_us // 1000, 0)
    delivery.delivered_ms = min(delivery.delivered_ms or delivery.started_ms, delivery.started_ms)


def _told(delivery: Progress, record: Record, moment: Moment) -> Ended:
    failure = record.failure or (WORKER_DIED if record.step == Step.RECLAIMED else None)
    started_ms = delivery.started_ms or moment.at_ms
    return Ended(
        delivery.ended, _bounded(record.attempt, MAX_ATTEMPT), record.step, delivery.worker, started_ms,
        _ended_ms(record, moment), delivery.duration_us, failure, record.log,
    )  # fmt: skip


def _blame(delivery: Progress, failure: Failure | None) -> None:
    delivery.error = summary(failure) if failure else "failed"
    delivery.fingerprint = failure.fingerprint if failure else ""


def summary(failure: Failure) -> str:
    """The failure in one line: `ValueError: card declined`."""
    if failure.fingerprint == "crash-loop":
        return f"crash-loop: {failure.message}"
    if failure is WORKER_DIED:
        return failure.message
    first_line = failure.message.strip().partition("\n")[0]
    return f"{failure.error_class}: {first_line}" if first_line else failure.error_class


def _ended_ms(record: Record, moment: Moment) -> int:
    if not record.ended_ago_us:
        return moment.at_ms
    return max(moment.at_ms - _bounded(record.ended_ago_us) // 1000, 0)


def _bounded(number: int, most: int = MAX_SPAN) -> int:
    """A number from the journal, which anybody with access to the server may have written."""
    return number if 0 <= number <= most else min(max(number, 0), most)
