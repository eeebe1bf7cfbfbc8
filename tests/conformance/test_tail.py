"""Reading on, trimming and announcing, on every server."""

from tests.bus.test_tail import *  # noqa: F403  # all of them
