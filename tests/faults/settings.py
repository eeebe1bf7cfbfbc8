"""The dashboard's own settings, for the processes that faults are done to: a lease that ends soon."""

from __future__ import annotations

from dashboard.settings import *  # noqa: F403  the point of this module

BUS = {"source": "faults", "lease_seconds": 1}
