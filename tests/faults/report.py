"""What a run did and found, as a small table and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from bus.journal import Step
from tests.faults.invariants import findings
from tests.faults.run import Plan, Ran

SHOWN: Final = 5  # examples of what breaks an invariant


class Report:
    """The outcome of one run; `ok` when nothing was found."""

    def __init__(self, plan: Plan, ran: Ran) -> None:
        self._plan = plan
        self._ran = ran
        self.found = {**findings(ran.evidence), "in time": ran.troubles}

    @property
    def ok(self) -> bool:
        return not any(self.found.values())

    def as_dict(self) -> dict[str, Any]:
        ran = self._ran
        return {
            "ok": self.ok,
            "server": ran.server,
            "durability": ran.durability,
            "seed": self._plan.seed,
            "seconds": round(ran.seconds, 1),
            "without": self._plan.without,
            "events": len(ran.evidence.acknowledged),
            "groups": len(ran.evidence.groups),
            "effects": len(ran.evidence.effects),
            "faults": dict(ran.faults),
            "seen": {**ran.seen, "given_up_after_three_crashes": self._crash_loops()},
            "steps": dict(self._steps()),
            "found": {name: len(broken) for name, broken in self.found.items()},
            "examples": {name: broken[:SHOWN] for name, broken in self.found.items() if broken},
        }

    def lines(self) -> Iterator[str]:
        said = self.as_dict()
        without = f", without {self._plan.without}" if self._plan.without else ""
        yield f"{said['server']}, {said['durability']}{without}, seed {said['seed']}, {said['seconds']} s"
        yield f"{said['events']:,} events acknowledged × {said['groups']} groups; {said['effects']:,} effects"
        for name in ("faults", "seen", "steps"):
            yield f"{name:<7} " + ", ".join(f"{what.replace('_', ' ')} {n:,}" for what, n in said[name].items() if n)
        for name, broken in self.found.items():
            yield f"  {name:<20} {len(broken):>6,}"
            yield from (f"      {line}" for line in broken[:SHOWN])
        yield (
            "nothing is broken"
            if self.ok
            else "BROKEN: " + ", ".join(name for name, some in self.found.items() if some)
        )

    def as_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2)

    def _crash_loops(self) -> int:
        failures = (record.failure for _, record in self._ran.evidence.records())
        return sum(failure is not None and failure.error_class == "CrashLoop" for failure in failures)

    def _steps(self) -> Counter[str]:
        return Counter(Step(record.step).word for _, record in self._ran.evidence.records())
