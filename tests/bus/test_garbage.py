"""A process that only handles events looks for garbage less often, and still looks."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, weakref
from bus.garbage import COLLECT_AFTER, collect_rarely

class Knot:
    def __init__(self):
        self.itself = self

collect_rarely()
knots = weakref.WeakSet()
for _ in range(2 * COLLECT_AFTER):
    knots.add(Knot())
print(gc.get_freeze_count() > 1_000, gc.get_threshold()[0], 0 < len(knots) < 2 * COLLECT_AFTER)
"""


def test_what_was_imported_is_left_alone_and_new_garbage_is_still_found() -> None:
    shown = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["True", "20000", "True"]
