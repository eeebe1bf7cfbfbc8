"""Fixtures of the faults: those of the bus, and a client whose replies get lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from bus.config import Config
from bus.errors import ServerUnavailable
from bus.streams import connect
from bus.wire import Operation, with_load
from tests.bus.conftest import client, config, swallower  # noqa: F401  fixtures, for every test here
from tests.bus.swallower import Swallower

Lose = Callable[..., None]


@pytest.fixture
def lose(config: Config, swallower: Swallower) -> Iterator[Lose]:  # noqa: F811  the fixtures of that name
    """`lose(operation)`: the server carries it out three times, and three times nobody hears of it."""
    made = connect(replace(config, url=swallower.url))

    def run(*operations: Operation[Any]) -> None:
        for operation in operations * (3 if len(operations) == 1 else 1):
            # A connection that stands and a script that is there: the reply that gets lost is the operation's own.
            loads = [with_load(command)[0] for command in operation.commands if command[0] == b"EVALSHA"]
            made.run(Operation([(b"PING",), *loads], len))
            before, swallower.lose = swallower.swallowed, 1
            with pytest.raises(ServerUnavailable):
                made.run(operation)
            assert swallower.swallowed == before + 1

    yield run
    made.close()
