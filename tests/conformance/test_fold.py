"""The state of a key, on every server."""

from tests.bus.test_fold import *  # noqa: F403  # all of them
