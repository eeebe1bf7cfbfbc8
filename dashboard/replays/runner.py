"""The runner: hands back the letters of every replay that runs, at its pace, and judges its canary.

It keeps nothing in memory that matters: another one goes on where it died. Of several one works, by a lease; two at
once do no harm, since letters and counts move by compare-and-set.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from django.db import Error as DatabaseError
from django.db import close_old_connections
from django.db.models import F, Q

from bus.config import Config
from bus.errors import ServerError, one_line
from bus.lease import Lease
from bus.streams import Client, connect
from dashboard.replays import desk
from dashboard.replays.handing import Hands
from dashboard.replays.models import CANARY, WATCHED, Fate, Replay, Stage
from dashboard.replays.outcomes import LATELY, Told, Watch, of_canary

TURN_SECONDS: Final = 0.1  # also how soon a cancelled replay hands back nothing more
LOOK_SECONDS: Final = 0.25  # between two looks for outcomes
BEAT_MS: Final = 1_000
LEASE_SECONDS: Final = 5.0
SWEEP_SECONDS: Final = 60.0
AT_ONCE: Final = 50  # replays in hand
MOST_FAILED: Final = LATELY // 2  # of the last letters, for the rest to be worth it
TROUBLE_SECONDS: Final = (0.1, 2.0)

log = logging.getLogger("dashboard.replays")


class Runner:
    """Works until `stop` is called (from a signal handler or any thread)."""

    def __init__(self, config: Config, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._config = config
        self._client: Client | None = None
        name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._lease = Lease(name, lease_seconds, name="replays")
        self._stopping = threading.Event()
        self._watch = Watch()
        self._paces: dict[int, Pace] = {}
        self._next_look = self._next_sweep = 0.0
        self._in_trouble = False

    def stop(self) -> None:
        """End `run` once the batch at hand is marked."""
        self._stopping.set()

    def run(self) -> None:
        """Work. Trouble with server or database is said once, and outlived."""
        pause = TROUBLE_SECONDS[0]
        while not self._stopping.is_set():
            try:
                if self._lease.hold():
                    self.turn()
                self._well_again()
                pause = TROUBLE_SECONDS[0]
                self._stopping.wait(TURN_SECONDS)
            except (ServerError, DatabaseError) as error:
                self._trouble(error)
                self._stopping.wait(pause)
                pause = min(pause * 2, TROUBLE_SECONDS[1])
        with suppress(DatabaseError):
            self._lease.release()
        self._disconnect()

    def turn(self) -> None:
        """A little of everything that is to be done. Raises `ServerError` or a database error: turn again."""
        now = time.monotonic()
        looks = now >= self._next_look
        for replay in _in_hand():
            self._step(replay, looks=looks)
        if looks:
            self._next_look = now + LOOK_SECONDS
        if now >= self._next_sweep:
            self._next_sweep = now + SWEEP_SECONDS
            desk.sweep()

    def _step(self, replay: Replay, *, looks: bool) -> None:
        if looks and replay.waiting:
            self._watch.look(replay)
        if replay.stage == Stage.RUNNING:
            self._beat(replay)
            self._judge(replay)
            self._break_off(replay)
        if replay.stage == Stage.RUNNING and replay.left:
            self._hand_back(replay)
        if replay.stage == Stage.RUNNING and not replay.left and not replay.waiting:
            desk.end(replay, Stage.DONE)
        elif replay.stage in (Stage.STOPPED, Stage.CANCELLED):
            desk.record_end(replay)
        if replay.stage != Stage.RUNNING:
            self._paces.pop(replay.pk, None)
            self._watch.forget(replay)

    def _hand_back(self, replay: Replay) -> None:
        count = self._paces.setdefault(replay.pk, Pace(replay.pace)).grant()
        if replay.canary < len(CANARY):
            count = min(count, CANARY[replay.canary] - replay.touched)
        if count <= 0:
            return
        if self._client is None:
            self._client = connect(self._config)
            self._hands = Hands(self._client)
        touched = replay.touched
        self._hands.hand_back(replay, count)
        self._paces[replay.pk].spent(replay.touched - touched)

    def _judge(self, replay: Replay) -> None:
        """Whether the canary's step is over, and what follows. The first letter may fail for a reason of its own,
        so ten more are asked before all are stopped."""
        if replay.canary >= len(CANARY) or replay.touched < CANARY[replay.canary] or not replay.left:
            return
        said = of_canary(replay, CANARY[replay.canary])
        if None in said:
            return
        failed = [one for one in said if one and one.fate in (Fate.SAME_ERROR, Fate.NEW_ERROR)]
        if failed and replay.canary == len(CANARY) - 1:
            self._watch.look(replay)  # the counts say what the sentence says
            desk.end(replay, Stage.STOPPED, _why_stopped(replay, failed))
        elif Replay.objects.filter(pk=replay.pk, canary=replay.canary).update(canary=replay.canary + 1):
            replay.canary += 1

    def _break_off(self, replay: Replay) -> None:
        """Stop the rest when it fails as the canary might have: a fix that does not hold, a service that is away."""
        lately = self._watch.lately(replay) if replay.stage == Stage.RUNNING and replay.canary == WATCHED else None
        if lately is None or not replay.left:
            return
        failed = lately[Fate.SAME_ERROR] + lately[Fate.NEW_ERROR]
        if failed >= MOST_FAILED:
            desk.end(replay, Stage.STOPPED, _why_broken_off(replay, failed, lately[Fate.SAME_ERROR]))

    def _beat(self, replay: Replay) -> None:
        now_ms = int(time.time() * 1000)
        if now_ms - replay.beat_ms >= BEAT_MS:
            Replay.objects.filter(pk=replay.pk).update(beat_ms=now_ms)

    def _trouble(self, error: Exception) -> None:
        if not self._in_trouble:
            log.warning("%s; trying again", one_line(error, 300))
        self._in_trouble = True
        self._disconnect()  # the embedded server may come back at another address
        close_old_connections()

    def _well_again(self) -> None:
        if self._in_trouble:
            log.info("replays go on; none was doubled meanwhile")
        self._in_trouble = False

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


class Pace:
    """So many letters a second, evenly: what was not used is kept for a quarter of a second at most."""

    def __init__(self, a_second: int) -> None:
        self._a_second = a_second
        self._left = 1.0
        self._at = time.monotonic()

    def grant(self) -> int:
        """How many may be handed back now."""
        now = time.monotonic()
        self._left = min(self._left + (now - self._at) * self._a_second, max(self._a_second / 4, 1.0))
        self._at = now
        return int(self._left)

    def spent(self, count: int) -> None:
        self._left -= count


def _in_hand() -> Sequence[Replay]:
    """Replays that run, and those that ended early and of which something is not known yet."""
    settled = F("succeeded") + F("same_error") + F("new_error") + F("other")
    early = Q(stage__in=(Stage.STOPPED, Stage.CANCELLED)) & (Q(touched__gt=settled) | Q(action__result=""))
    found = Replay.objects.select_related("action").filter(Q(stage=Stage.RUNNING) | early)
    return list(found.order_by("-pk")[:AT_ONCE])


def _why_stopped(replay: Replay, failed: Sequence[Told]) -> str:
    same = sum(one.fate is Fate.SAME_ERROR for one in failed)
    what = "the same error returned" if same else "a new error came"
    count = f" for {len(failed)} of them" if len(failed) < replay.touched else ""
    return f"Stopped after the canary: {replay.touched:,} of {replay.planned:,} touched; {what}{count}."


def _why_broken_off(replay: Replay, failed: int, same: int) -> str:
    of_them = "" if same == failed else f"{same} of them "
    what = f"{of_them}with the same error" if same else "with new errors"
    return f"Stopped at {replay.touched:,} of {replay.planned:,}: {failed} of the last {LATELY} failed, {what}."
