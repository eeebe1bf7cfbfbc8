"""The next version of `name_list`, beside the one before."""

from __future__ import annotations

import bus
from tests.bus.name_list import forget, write

bus.projection("names", name="name_list", version=2, types=["named"], reset=forget)(write)
