"""The live tail while its connection is cut under load: not one event is missing in its count."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from bus.config import Config
from bus.publisher import Publisher
from tests.acceptance.browsing import PATIENCE_MS
from tests.acceptance.processes import Running
from tests.conftest import WaitUntil

CUT_SECONDS = 10.0
PER_SECOND = 500
BATCH = 25


class Wire:
    """A TCP wire between browser and server that can be cut."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._ends: list[socket.socket] = []
        self._is_cut = False
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End every connection, and refuse new ones."""
        self._is_cut = True
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def mend(self) -> None:
        self._is_cut = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if self._is_cut:
                    near.close()
                    continue
                far = socket.create_connection(self._to)
                self._ends += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while some := source.recv(65_536):
            sink.sendall(some)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Load:
    """Publishes on a topic until told to stop."""

    def __init__(self, publisher: Publisher, topic: str) -> None:
        self.count = 0
        self._publisher, self._topic = publisher, topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(BATCH / PER_SECOND):
            drafts = [self._publisher.draft(self._topic, "reading", number) for number in range(BATCH)]
            self._publisher.publish_many(drafts)
            self.count += BATCH


@pytest.fixture
def publisher(troubled: Running, reader: dict[str, Any]) -> Iterator[Publisher]:
    folder = next(line for line in troubled.lines if line.startswith("data: ")).removeprefix("data: ")
    made = Publisher(Config(data_folder=Path(folder)))
    yield made
    made.close()


def test_a_cut_of_ten_seconds_under_load_loses_no_event_of_the_count(
    chromium: Browser, reader: dict[str, Any], publisher: Publisher, wait_until: WaitUntil
) -> None:
    publisher.publish(publisher.draft("load", "reading", 0))
    with Wire(urlsplit(reader["base"]).port or 0) as wire:
        context = chromium.new_context(base_url=f"http://127.0.0.1:{wire.port}")
        context.add_cookies(reader["cookies"])
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        wait_until(lambda: page.request.get("/topics/load/").ok, seconds=30, what="the topic")
        page.goto("/topics/load/")
        live, note = page.locator("live-status [role=status]"), page.locator("[data-tail-note]")
        with Load(publisher, "load") as load:
            expect(live).to_have_text("live")
            wait_until(lambda: load.count > 2 * PER_SECOND, seconds=30)
            wire.cut()
            began = time.monotonic()
            expect(live).to_have_text(re.compile("reconnecting|offline"))
            wait_until(lambda: time.monotonic() - began > CUT_SECONDS, seconds=2 * CUT_SECONDS)
            wire.mend()
            expect(page.locator("live-status .notice")).to_contain_text(re.compile(r"caught up [\d,]+ events"))
            assert _number(page.locator("live-status .notice").inner_text()) > CUT_SECONDS * PER_SECOND / 4
        expect(note).to_contain_text(f"{load.count:,} since you opened this page")
        context.close()


def _number(text: str) -> int:
    found = re.search(r"[\d,]+", text)
    return int(found.group().replace(",", "")) if found else 0
