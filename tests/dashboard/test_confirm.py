"""The recorder confirms what the outbox sent, and has it sent again when a server comes back without it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from bus import outbox, tail
from bus.config import Config
from bus.models import OutboxEntry
from bus.relay import Relay
from bus.server import find_binary
from bus.streams import connect
from dashboard.models import Event as Stored
from dashboard.recorder import Recorder
from tests.conftest import WaitUntil
from tests.servers import Server

pytestmark = pytest.mark.django_db(transaction=True)


class Bus:
    """A server of the test's own, with one publisher, relay and recorder, each doing a step when told to."""

    def __init__(self, folder: Path) -> None:
        self.server = Server(find_binary(), folder).start()
        self.config = Config(url=self.server.url, data_folder=folder, prefix="own", source="tests", outbox=True)
        self.publisher = outbox.publisher_of(self.config)
        self.begin()

    def begin(self) -> None:
        """Relay and recorder, as after a restart of theirs."""
        self.relay = Relay(self.config, resend_seconds=0.05)
        self.client = connect(self.config)
        self.recorder = Recorder(self.client)

    def end(self) -> None:
        self.relay.stop()
        self.relay.run()
        self.client.close()

    def write(self, *numbers: int, topic: str = "orders") -> None:
        """Publish numbers in a transaction."""
        with transaction.atomic():
            self.publisher.publish_many([self.publisher.draft(topic, "t", n, key="k") for n in numbers])

    def turn(self) -> bool:
        """One turn of each."""
        self.relay.turn()
        self.recorder.turn()
        return True

    def numbers(self) -> list[int]:
        """What is on the server."""
        chunks = self.client.run(tail.read("own", {("orders", 0): tail.Position()}, block_ms=None))
        return [event.data for chunk in chunks for event in chunk.events]

    def restart_with(self, files: Path | None) -> None:
        """Kill the server; it comes back with a copy of its log that was made before, or with nothing."""
        self.end()
        self.server.kill()
        shutil.rmtree(self.server.folder / "appendonlydir")
        if files:
            shutil.copytree(files, self.server.folder / "appendonlydir")
        self.server.start()
        self.begin()


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    made = Bus(tmp_path / "s")
    yield made
    made.end()
    made.publisher.close()
    made.server.kill()


def states() -> list[str]:
    return list(OutboxEntry.objects.order_by("id").values_list("state", flat=True))


def test_what_is_recorded_is_confirmed(bus: Bus, wait_until: WaitUntil) -> None:
    bus.write(1, 2)
    bus.relay.turn()
    assert states() == ["sent", "sent"]
    wait_until(lambda: bus.turn() and states() == ["confirmed", "confirmed"])
    assert bus.numbers() == [1, 2]


def test_what_is_not_recorded_is_not_confirmed(bus: Bus, wait_until: WaitUntil) -> None:
    bus.write(1)
    wait_until(lambda: bus.turn() and states() == ["confirmed"])
    bus.write(2)
    bus.relay.turn()
    bus.recorder._chores.run_due()
    OutboxEntry.objects.filter(state="sent").update(entry="1-0")  # another place than the one that is recorded
    wait_until(lambda: bus.recorder.turn() is not None and Stored.objects.count() == 2)
    bus.recorder._chores._next_confirm = 0
    bus.recorder._chores.run_due()
    assert states() == ["confirmed", "sent"]


def test_a_recorder_without_an_outbox_asks_one_small_query(bus: Bus, wait_until: WaitUntil) -> None:
    bus.publisher.publish(bus.publisher.draft("orders", "t", 1))
    bus.recorder.turn()
    with CaptureQueriesContext(connection) as asked:
        for _ in range(5):
            bus.recorder._chores.run_due()
    assert len([query for query in asked if "outbox" in query["sql"]]) <= 1


def test_a_server_with_an_older_log_gets_what_it_lost(
    bus: Bus, tmp_path: Path, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    bus.write(1)
    wait_until(lambda: bus.turn() and states() == ["confirmed"])
    shutil.copytree(bus.server.folder / "appendonlydir", tmp_path / "older")
    bus.write(2, 3)
    wait_until(lambda: bus.turn() and states() == ["confirmed"] * 3)
    bus.restart_with(tmp_path / "older")
    assert bus.numbers() == [1]
    wait_until(lambda: bus.turn() and bus.numbers() == [1, 2, 3] and states() == ["confirmed"] * 3)
    assert any("history was rewound" in text for text in caplog.messages)
    assert any("that the server may have lost" in text for text in caplog.messages)


def test_it_gets_them_though_others_have_published_since(bus: Bus, tmp_path: Path, wait_until: WaitUntil) -> None:
    """The server's end is then beyond what is recorded, and only the missing entry tells."""
    bus.write(1)
    wait_until(lambda: bus.turn() and states() == ["confirmed"])
    shutil.copytree(bus.server.folder / "appendonlydir", tmp_path / "older")
    bus.write(2)
    wait_until(lambda: bus.turn() and states() == ["confirmed"] * 2)
    bus.restart_with(tmp_path / "older")
    bus.publisher.close()
    bus.publisher.publish(bus.publisher.draft("orders", "t", 3))
    wait_until(lambda: bus.turn() and bus.numbers() == [1, 3, 2] and states() == ["confirmed"] * 2)


def test_a_server_that_comes_back_empty_gets_everything(bus: Bus, wait_until: WaitUntil) -> None:
    bus.write(1, 2, 3)
    wait_until(lambda: bus.turn() and states() == ["confirmed"] * 3)
    bus.restart_with(None)
    assert bus.numbers() == []
    wait_until(lambda: bus.turn() and bus.numbers() == [1, 2, 3] and states() == ["confirmed"] * 3)


def test_a_server_that_lost_nothing_gets_nothing_twice(bus: Bus, wait_until: WaitUntil) -> None:
    bus.write(1, 2, 3)
    wait_until(lambda: bus.turn() and states() == ["confirmed"] * 3)
    assert outbox.send_again("orders", 0, since_ms=0) == 3  # a false alarm
    wait_until(lambda: bus.turn() and states() == ["confirmed"] * 3)
    assert bus.numbers() == [1, 2, 3]
