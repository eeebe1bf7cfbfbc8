"""What only a database with several writers at once can show: transactions that commit in another order."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection, connections, transaction

from bus import outbox, tail
from bus.config import Config
from bus.models import OutboxEntry
from bus.publisher import Publisher
from bus.relay import Relay
from bus.streams import connect
from tests.conftest import WaitUntil

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def config(server_url: str, tmp_path: Path) -> Config:
    return Config(url=server_url, data_folder=tmp_path, prefix=f"t{uuid4().hex[:8]}", source="tests", outbox=True)


def said(config: Config) -> list[str]:
    client = connect(config)
    chunks = client.run(tail.read(config.prefix, {("orders", 0): tail.Position()}, count=100_000, block_ms=None))
    client.close()
    return [event.data for chunk in chunks for event in chunk.events]


def test_the_entry_with_the_lowest_id_commits_last_and_is_not_skipped(config: Config) -> None:
    publisher, relay = outbox.publisher_of(config), Relay(config)
    written, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            publisher.publish(publisher.draft("orders", "t", "first id"))
            written.set()
            go_on.wait(10)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    assert written.wait(10)
    with transaction.atomic():
        publisher.publish(publisher.draft("orders", "t", "second id"))
    relay.turn()
    assert said(config) == ["second id"]
    go_on.set()
    thread.join(10)
    relay.turn()
    assert said(config) == ["second id", "first id"]
    assert list(OutboxEntry.objects.order_by("id").values_list("state", flat=True)) == ["sent", "sent"]
    relay.stop()
    relay.run()
    publisher.close()


def test_many_writers_and_four_relays_keep_the_order_of_each_key(config: Config, wait_until: WaitUntil) -> None:
    hasty = replace(config, lease_seconds=1)
    relays = [Relay(hasty) for _ in range(4)]
    threads = [threading.Thread(target=relay.run, daemon=True) for relay in relays]
    writers = [threading.Thread(target=write, args=(config, key), daemon=True) for key in range(4)]
    for thread in [*threads, *writers]:
        thread.start()
    for thread in writers:
        thread.join(60)
    wait_until(lambda: not OutboxEntry.objects.filter(state="new").exists(), seconds=60)
    for relay, thread in zip(relays, threads, strict=True):
        relay.stop()
        thread.join(10)
    by_key: dict[str, list[str]] = {}
    for text in said(config):
        key, _, number = text.partition("-")
        by_key.setdefault(key, []).append(number)
    assert by_key == {str(key): [str(number) for number in range(250)] for key in range(4)}


def write(config: Config, key: int) -> None:
    """250 transactions, in each of them one event of the key."""
    publisher: Publisher = outbox.publisher_of(config)
    for number in range(250):
        with transaction.atomic():
            publisher.publish(publisher.draft("orders", "t", f"{key}-{number}", key=str(key)))
    publisher.close()
    connections.close_all()
