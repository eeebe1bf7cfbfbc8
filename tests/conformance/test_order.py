"""Order per key, on every server."""

from tests.bus.test_order import *  # noqa: F403  # all of them
