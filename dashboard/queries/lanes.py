"""A lane: one group's place in one event's fan-out, with exactly one state and its reason in words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from bus.journal import Step
from dashboard.record.progress import SETTLED, State
from dashboard.record.subscriptions import DEFAULT_ATTEMPTS, Subscribed, governing

Row = Mapping[str, Any]

_ATTEMPT_STATES: Final = {
    int(Step.SUCCEEDED): "succeeded",
    int(Step.RETRY_SCHEDULED): "failed",
    int(Step.DEAD_LETTERED): "failed",
    int(Step.RECLAIMED): "reclaimed",
    int(Step.RELEASED): "released",
}


class Standing(msgspec.Struct, frozen=True):
    """Where a group stands in a partition: what it was last handed, who works for it, and who paused it."""

    last_delivered: tuple[int, int]
    last_number: int | None  # None: unknown
    workers: int
    paused_by: str = ""

    @property
    def obstacle(self) -> str:
        """What keeps the group from taking anything."""
        if self.paused_by:
            return f"paused by {self.paused_by[:60]}"
        return "" if self.workers else "no live worker"


class Place(msgspec.Struct, frozen=True):
    """Where an event stands in its partition."""

    entry: tuple[int, int]
    number: int
    at_ms: int
    type: str
    forgotten_ms: int | None = None  # when it was noticed that the server had forgotten it


class Happened(msgspec.Struct, frozen=True):
    """What is recorded of one event × one group."""

    delivery: Row | None = None
    attempts: Sequence[Row] = ()


def lanes(
    place: Place,
    histories: Mapping[str, Sequence[Subscribed]],
    happened: Mapping[str, Happened],
    standings: Mapping[str, Standing] | None,
) -> list[dict[str, Any]]:
    """The event's lanes, by name of group. `standings` None: the server is away, so nobody knows who waits for what."""
    found = {group: said for group, history in histories.items() if (said := governing(history, place.entry))}
    names = {group for group, said in found.items() if said.admits(place.type)} | set(happened)
    return [_lane(group, place, found.get(group), happened.get(group), standings) for group in sorted(names)]


def label(state: str, attempt: int, allowed: int) -> str:
    """The state in the words of the screen."""
    if state == State.RETRYING:
        return f"Retrying {attempt + 1}/{max(allowed, attempt + 1)}"
    if state == State.SUCCEEDED and attempt > 1:
        retries = attempt - 1
        return f"Succeeded after {retries} {'retry' if retries == 1 else 'retries'}"
    return state.capitalize()


def is_open(state: str) -> bool:
    """Whether something is still to come."""
    return state not in SETTLED


def _lane(
    group: str,
    place: Place,
    said: Subscribed | None,
    happened: Happened | None,
    standings: Mapping[str, Standing] | None,
) -> dict[str, Any]:
    allowed = said.attempts if said else DEFAULT_ATTEMPTS
    standing = standings.get(group) if standings is not None else None
    delivery = happened.delivery if happened else None
    state = delivery["state"] if delivery else _state_without_record(place, standing)
    if place.forgotten_ms is not None and is_open(state):
        state = str(State.LOST)
    attempt = delivery["attempt"] if delivery else 0
    return {
        "group": group,
        "state": state,
        "label": label(state, attempt, allowed),
        "attempt": attempt,
        "attempts_allowed": max(allowed, attempt),
        "worker": (delivery["worker"] or None) if delivery else None,
        "due_ms": delivery["due_ms"] if delivery else None,
        "delivered_ms": _not_before(place, delivery["delivered_ms"]) if delivery else None,
        "settled_ms": _not_before(place, delivery["settled_ms"]) if delivery else None,
        "duration_us": delivery["duration_us"] if delivery else 0,
        "note": _note(state, place, delivery, standing, away=standings is None),
        "attempts": _attempts(place, delivery, happened.attempts) if happened and delivery else [],
    }


def _state_without_record(place: Place, standing: Standing | None) -> str:
    """Nothing is recorded: it waits, or it was handed out a moment ago and its record is on the way."""
    handed_out = standing is not None and place.entry <= standing.last_delivered
    return State.RUNNING if handed_out else State.WAITING


def _note(state: str, place: Place, delivery: Row | None, standing: Standing | None, *, away: bool) -> str:
    error = str(delivery["error"]) if delivery else ""
    if place.forgotten_ms is not None:
        return _forgotten_note(state, error)
    if state == State.WAITING:
        return "server away" if away else _waiting_note(place, delivery, standing)
    if state == State.RUNNING:
        return "" if delivery else "no record yet"
    if state == State.RETRYING and standing is not None and standing.obstacle:
        return f"{standing.obstacle} · {error}" if error else standing.obstacle
    if state == State.LOST:
        return "its event is gone from the stream"
    if state == State.SKIPPED:
        return error or "the group no longer takes this type"
    return error if state in (State.RETRYING, State.DEAD, State.HELD, State.DISCARDED) else ""


def _forgotten_note(state: str, error: str) -> str:
    """What became of a lane whose event the server has forgotten."""
    if state == State.LOST:
        return "the server was rewound and forgot the event"
    if state == State.DEAD:
        return f"{error} · the server forgot it: it can't be replayed"
    return ""


def _waiting_note(place: Place, delivery: Row | None, standing: Standing | None) -> str:
    if standing is None:
        return "the group is gone from the server"
    reasons = [standing.obstacle] if standing.obstacle else []
    if delivery is not None and delivery["worker"]:
        reasons.append("given back")
    elif standing.last_number is not None and (ahead := place.number - standing.last_number - 1) > 0:
        reasons.append(f"behind {ahead:,}")
    return " · ".join(reasons) or "next"


def _attempts(place: Place, delivery: Row, rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Attempts in order; the one that runs or succeeded is told by the delivery itself."""
    attempts = [_attempt(place, row) for row in rows]
    told = any(row["step"] == Step.SUCCEEDED and row["place"] == delivery["ended"] for row in rows)
    running = delivery["state"] == State.RUNNING
    if running or (delivery["state"] == State.SUCCEEDED and not told):
        attempts.append(
            {
                "number": delivery["attempt"],
                "state": str(delivery["state"]),
                "worker": delivery["worker"],
                "started_ms": _not_before(place, delivery["started_ms"]),
                "ended_ms": None if running else _not_before(place, delivery["settled_ms"]),
                "duration_us": 0 if running else delivery["duration_us"],
                "error": None,
            }
        )
    return attempts


def _attempt(place: Place, row: Row) -> dict[str, Any]:
    told = {name: row[name] for name in ("traceback", "frame", "log") if name in row}
    return {
        "number": row["number"],
        "state": _ATTEMPT_STATES.get(row["step"], "failed"),
        "worker": row["worker"],
        "started_ms": _not_before(place, row["started_ms"]),
        "ended_ms": _not_before(place, row["ended_ms"]),
        "duration_us": row["duration_us"],
        "error": error_line(row) or None,
        **told,
    }


def error_line(row: Row) -> str:
    """An attempt's failure in one line."""
    first = str(row["message"]).strip().partition("\n")[0][:300]
    return ": ".join(part for part in (row["error_class"], first) if part)


def _not_before(place: Place, moment_ms: int | None) -> int | None:
    """Moments are worked out from durations, so they may be a millisecond early: an effect never is."""
    return None if moment_ms is None else max(moment_ms, place.at_ms)
