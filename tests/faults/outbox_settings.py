"""The dashboard's settings with the outbox on."""

from dashboard.settings import *  # noqa: F403  the point of this module

BUS = {"source": "till", "outbox": True, "lease_seconds": 1}
