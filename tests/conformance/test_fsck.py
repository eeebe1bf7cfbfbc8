"""fsck finds and mends each kind of damage, on every server."""

from tests.bus.test_fsck import *  # noqa: F403  # all of them
