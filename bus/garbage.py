"""Python's garbage collector in a process of ours that does one thing, over and over."""

from __future__ import annotations

import gc
from typing import Final

COLLECT_AFTER: Final = 20_000  # more objects made than freed


def collect_rarely() -> None:
    """Look for garbage less often: for a process that only handles events, as `manage.py worker`, or records them.

    What is made of an event is gone as soon as it is handled. The search for cycles would go through all that was
    imported and all events at hand again and again, and take as long as handling them.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 10, 10)
