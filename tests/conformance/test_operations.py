"""Each change of state is made once, fenced, and written into the journal with it; on every server."""

from tests.bus.test_operations import *  # noqa: F403  # all of them
