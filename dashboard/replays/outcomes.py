"""What became of letters that were handed back, as the read model tells: succeeded, the same error, a new one."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from django.db import connection, transaction
from django.db.models import F

from dashboard.record.progress import State
from dashboard.replays.models import ENDED, Fate, Replay
from dashboard.sql import rows, slices

PORTION: Final = 2_000
LATELY: Final = 50  # letters whose ends tell whether it is worth to go on
_LOOK: Final = (
    "SELECT l.number, l.fate, l.kind, l.ended AS before, d.state, d.ended, d.error, d.fingerprint"
    " FROM dashboard_replayletter l LEFT JOIN dashboard_delivery d ON d.event_id = l.event_id"
    ' AND d."group" = l."group" WHERE l.replay_id = %s AND l.fate = {fate} AND l.number > %s'
    " ORDER BY l.number LIMIT %s"
)
_WAITING: Final = _LOOK.replace("{fate}", "'waiting'")
_TOUCHED: Final = _LOOK.replace(
    "l.fate = {fate}", "l.fate IN ('waiting', 'succeeded', 'same_error', 'new_error', 'other')"
)
_END: Final = (
    "UPDATE dashboard_replayletter SET fate = %s, error = %s WHERE replay_id = %s AND number = %s AND fate = 'waiting'"
)
_OTHERS: Final = frozenset({State.DISCARDED, State.SKIPPED, State.LOST})


class Told(NamedTuple):
    """What a delivery says of its replay. `is_final` False: the attempt failed and another one follows."""

    fate: Fate
    error: str = ""
    is_final: bool = True


def told(row: Mapping[str, Any]) -> Told | None:
    """What the delivery of a letter says; None while it says nothing yet."""
    if row["state"] is None:
        return Told(Fate.OTHER, "no longer recorded")
    if row["state"] == State.SUCCEEDED:
        return Told(Fate.SUCCEEDED)
    if row["state"] in _OTHERS:
        return Told(Fate.OTHER, row["state"])
    if row["ended"] <= row["before"] or row["state"] not in (State.DEAD, State.RETRYING):
        return None
    is_same = row["kind"] == (row["fingerprint"] or row["error"])
    return Told(Fate.SAME_ERROR if is_same else Fate.NEW_ERROR, row["error"], row["state"] == State.DEAD)


class Watch:
    """Looks at letters that wait, a portion at a time, round and round."""

    def __init__(self) -> None:
        self._after: dict[int, int] = defaultdict(int)
        self._lately: dict[int, deque[Fate]] = defaultdict(lambda: deque(maxlen=LATELY))

    def look(self, replay: Replay) -> int:
        """Take in what a portion of them says. Result: how many have ended."""
        found = rows(_WAITING, [replay.pk, self._after[replay.pk], PORTION])
        self._after[replay.pk] = found[-1]["number"] if len(found) == PORTION else 0
        heard = [(row["number"], said) for row in found if (said := told(row)) is not None and said.is_final]
        for some in slices(heard):
            self._store(replay, some)
        self._lately[replay.pk].extend(said.fate for _, said in heard)
        return len(heard)

    def lately(self, replay: Replay) -> Counter[Fate] | None:
        """How the last `LATELY` letters ended; None while so many are not known since it began or went on."""
        ends = self._lately[replay.pk]
        return Counter(ends) if len(ends) == LATELY else None

    def forget(self, replay: Replay) -> None:
        """It does not run any more: how letters ended says nothing about those that follow when it goes on."""
        self._lately.pop(replay.pk, None)

    def _store(self, replay: Replay, heard: Any) -> None:
        moved: Counter[Fate] = Counter()
        with transaction.atomic(), connection.cursor() as cursor:
            for number, said in heard:
                cursor.execute(_END, [said.fate.value, said.error[:300], replay.pk, number])
                moved[said.fate] += cursor.rowcount
            Replay.objects.filter(pk=replay.pk).update(**{fate: F(fate) + count for fate, count in moved.items()})
        for fate in ENDED:
            setattr(replay, fate, getattr(replay, fate) + moved[fate])


def of_canary(replay: Replay, most: int) -> list[Told | None]:
    """What the first letters say so far, a failed attempt that is retried included."""
    return [
        Told(Fate(row["fate"])) if row["fate"] != Fate.WAITING else told(row)
        for row in rows(_TOUCHED, [replay.pk, 0, most])
    ]
