"""How the shop's handlers subscribe: as `bus.subscribe`, with what they have in common."""

from __future__ import annotations

from functools import partial
from typing import Final

import bus

# The traffic may begin before the worker is up: what was published meanwhile is for these groups too.
subscribe: Final = partial(bus.subscribe, start="earliest")
