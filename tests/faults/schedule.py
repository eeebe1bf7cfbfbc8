"""Which faults come when: decided by the seed alone, before anything runs."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True)
class Fault:
    """A kind of fault. Faults of one `lane` come one after another. `lasts`: from, to, in seconds."""

    lane: str
    per_minute: int
    lasts: tuple[float, float] = (0.0, 0.0)


FAULTS: Final[Mapping[str, Fault]] = {
    "worker_kills": Fault("kills", 36),
    "zombies": Fault("zombies", 12, (1.6, 2.4)),  # stopped for longer than the lease of a second, then woken
    "server_kills": Fault("server", 6, (0.0, 0.4)),
    "server_pauses": Fault("server", 4, (0.3, 2.5)),
    "memory_fills": Fault("server", 3, (0.5, 2.0)),
    "script_flushes": Fault("server", 5),
    "recorder_kills": Fault("recorder", 6),
    "web_kills": Fault("web", 3),
    "group_pauses": Fault("operator", 5, (0.2, 1.5)),
    "lost_replies": Fault("wire", 30),  # bursts of up to three
}


class Step(NamedTuple):
    """One fault: when (seconds from the start), of which kind, how long, and a number that chooses its victim."""

    at: float
    kind: str
    lasts: float
    chance: int


def counts_for(seconds: float, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """How many of each kind: as many as asked for, else in proportion to the time."""
    usual = {kind: math.ceil(fault.per_minute * seconds / 60) for kind, fault in FAULTS.items()}
    return {kind: count if (given := wanted.get(kind)) is None else given for kind, count in usual.items()}


def schedule(seed: int, seconds: float, counts: Mapping[str, int]) -> dict[str, list[Step]]:
    """Every fault of the run by lane, in order: each kind is spread over the whole time, at random places."""
    lanes: dict[str, list[Step]] = defaultdict(list)
    for kind, fault in FAULTS.items():
        dice = random.Random(f"{seed}/{kind}")
        for number in range(counts[kind]):
            at = (number + dice.random()) * seconds / counts[kind]
            lanes[fault.lane].append(Step(at, kind, dice.uniform(*fault.lasts), dice.randrange(2**31)))
    return {lane: sorted(steps) for lane, steps in lanes.items()}
