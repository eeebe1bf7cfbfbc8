"""The live socket against a real bus: what it shows, how it resumes, whom it refuses, and that it never floods."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User

import bus
from bus.config import Config
from bus.publisher import Publisher
from bus.server import EmbeddedServer
from bus.streams import Client
from bus.subscription import Retry, Subscription
from bus.tail import Chunk, Position
from dashboard import queries
from dashboard.live.feed import Filter
from dashboard.live.frames import Frame, TailFrame
from dashboard.live.hub import Hub
from dashboard.live.sockets import LOGGED_OUT, STALLED, TOO_MUCH, LiveSocket
from dashboard.live.window import MAX_UNACKNOWLEDGED
from tests.conftest import RunWorker
from tests.dashboard.conftest import Record

pytestmark = pytest.mark.django_db(transaction=True)  # sockets close their connections after each query

SECONDS = 10


def in_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test so that its queries use this thread's database connection."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async_to_sync(test)(*args, **kwargs)

    return run


class Browser:
    """A page's end of the socket."""

    def __init__(self, user: Any) -> None:
        self._socket = WebsocketCommunicator(LiveSocket.as_asgi(), "/live/")  # type: ignore[no-untyped-call]  # Channels'
        self._socket.scope["user"] = user

    async def open(self) -> tuple[bool, Any]:
        answer: tuple[bool, Any] = await self._socket.connect(SECONDS)
        return answer

    async def say(self, words: Any) -> None:
        await self._socket.send_to(text_data=words if isinstance(words, str) else json.dumps(words))

    async def watch(self, kind: str, **what: Any) -> None:
        await self.say({"type": "watch", "watch": {"kind": kind, **what}})

    async def acknowledge(self, frame: dict[str, Any]) -> None:
        await self.say({"type": "ack", "seq": frame["seq"]})

    async def frame(self, wanted: Callable[[dict[str, Any]], object] = bool) -> dict[str, Any]:
        """The next frame that is wanted; each one is acknowledged as a page would."""
        async with asyncio.timeout(SECONDS):
            while True:
                frame: dict[str, Any] = await self._socket.receive_json_from(SECONDS)
                await self.acknowledge(frame)
                if wanted(frame):
                    return frame

    async def unread(self, patience: float = 0.4) -> list[dict[str, Any]]:
        """Frames that came although nothing was acknowledged, once no more come."""
        frames = []
        while not await self._socket.receive_nothing(patience):
            frames.append(await self._socket.receive_json_from(SECONDS))
        return frames

    async def close_code(self) -> Any:
        async with asyncio.timeout(SECONDS):
            while True:
                heard = await self._socket.receive_output(SECONDS)
                if heard["type"] == "websocket.close":
                    return heard.get("code")

    async def close(self) -> None:
        await self._socket.disconnect()


@asynccontextmanager
async def browser(user: Any) -> AsyncIterator[Browser]:
    """Somebody's open page."""
    page = Browser(user)
    assert (await page.open())[0]
    try:
        yield page
    finally:
        await page.close()


@pytest.fixture
def ann(transactional_db: None) -> User:
    return User.objects.create_user("ann")


async def publish(publisher: Publisher, *numbers: int, topic: str = "orders") -> str:
    """Publish an event for each number. Result: the last one's entry."""
    drafts = [publisher.draft(topic, "order_placed", number, key=f"o-{number}") for number in numbers]
    return (await asyncio.to_thread(publisher.publish_many, drafts))[-1].entry


def rows_of(frames: list[dict[str, Any]]) -> list[str]:
    return [row for frame in frames for row in frame.get("rows", ())]


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(SECONDS):
        while not await condition():  # noqa: ASYNC110  what it looks at tells nobody
            await asyncio.sleep(0.01)


@in_a_loop
async def test_strangers_are_refused() -> None:
    assert await Browser(AnonymousUser()).open() == (False, LOGGED_OUT)
    assert await Browser(None).open() == (False, LOGGED_OUT)


@in_a_loop
async def test_somebody_who_was_locked_out_is_refused(ann: User) -> None:
    ann.is_active = False
    assert await Browser(ann).open() == (False, LOGGED_OUT)


@in_a_loop
async def test_new_events_of_a_topic_are_drawn(ann: User, publisher: Publisher) -> None:
    await publish(publisher, 0)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=None)
        await until(lambda: is_tailing("orders"))
        await publish(publisher, 1, 2, 3)
        frame = await page.frame(lambda frame: frame["kind"] == "tail" and frame["published"])
    assert (frame["published"], frame["skipped"], len(frame["rows"])) == (3, 0, 3)
    assert "o-1" in frame["rows"][0]
    assert "o-3" in frame["rows"][2]
    assert 0 <= frame["delay_ms"] < 5_000


async def is_tailing(topic: str) -> bool:
    return any(wanted.topic == topic for wanted in Hub.current()._feeds)


@in_a_loop
async def test_a_topic_that_appears_later_is_drawn_from_its_first_event(ann: User, publisher: Publisher) -> None:
    async with browser(ann) as page:
        await page.watch("topic", topic="brand-new", cursor=None)
        await until(lambda: is_tailing("brand-new"))
        await publish(publisher, 1, topic="brand-new")
        frame = await page.frame(lambda frame: frame["kind"] == "tail")
    assert frame["published"] == 1


@in_a_loop
async def test_only_what_the_filter_admits_is_drawn(ann: User, publisher: Publisher) -> None:
    await publish(publisher, 0)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=None, key="o-2")
        await until(lambda: is_tailing("orders"))
        await publish(publisher, 1, 2, 3)
        frame = await page.frame(lambda frame: frame["kind"] == "tail" and frame["published"])
    assert (frame["published"], len(frame["rows"])) == (1, 1)
    assert "o-2" in frame["rows"][0]


@in_a_loop
async def test_a_browser_that_never_acknowledges_gets_four_frames(ann: User, publisher: Publisher) -> None:
    await publish(publisher, 0)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=None)
        await until(lambda: is_tailing("orders"))
        for number in range(1, 11):
            await told(await publish(publisher, *range(number * 100, number * 100 + 50)))
        frames = await page.unread()
        assert [frame["seq"] for frame in frames] == list(range(1, MAX_UNACKNOWLEDGED + 1))
        await page.acknowledge(frames[-1])
        rest = await page.frame()
    counted = sum(frame["published"] for frame in [*frames, rest])
    drawn = len(rows_of([*frames, rest]))
    assert counted == 500, "counters are exact"
    assert counted - drawn == sum(frame["skipped"] for frame in [*frames, rest])
    assert len(rest["rows"]) == 20, "surplus was put together"
    assert "o-1049" in rest["rows"][-1]


async def told(entry: str) -> None:
    """Until the hub has read this entry and made a frame of it."""

    async def is_told() -> bool:
        hub = Hub.current()
        return hub._tailing.positions["orders", 0].events == entry and hub._tick is None

    await until(is_told)


@in_a_loop
async def test_a_socket_resumes_where_it_was_without_a_gap(ann: User, publisher: Publisher) -> None:
    await publish(publisher, 0)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=None)
        await until(lambda: is_tailing("orders"))
        await publish(publisher, 1)
        seen = await page.frame(lambda frame: frame["kind"] == "tail" and frame["published"])
    await publish(publisher, 2, 3, 4)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=seen["cursor"])
        resumed = await page.frame(lambda frame: frame["kind"] == "resumed")
        missed = await page.frame(lambda frame: frame["kind"] == "tail")
        await publish(publisher, 5)
        after = await page.frame(lambda frame: frame["kind"] == "tail" and frame["published"])
    assert resumed["missed"] == 3
    assert [key in row for key, row in zip(("o-2", "o-3", "o-4"), missed["rows"], strict=True)] == [True] * 3
    assert after["published"] == 1
    assert "o-5" in after["rows"][0]


@in_a_loop
async def test_events_published_while_it_catches_up_come_once(ann: User, publisher: Publisher) -> None:
    await publish(publisher, *range(100))
    async with browser(ann) as page:
        writing = asyncio.create_task(publish(publisher, *range(100, 1_500)))
        await page.watch("topic", topic="orders", cursor="0=0-0/0-0")
        frames = [await page.frame()]
        while sum(frame.get("published", 0) for frame in frames) < 1_500:
            frames.append(await page.frame())
        await writing
    numbers = [int(number) for row in rows_of(frames) for number in re.findall(r'data-key="o-(\d+)"', row)]
    assert sum(frame.get("published", 0) for frame in frames) == 1_500
    assert frames[0]["kind"] == "resumed", "what was missed comes first"
    assert numbers == sorted(set(numbers))


class Watching:
    """Whoever watches a hub, here without a socket."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []

    def offer(self, frame: Frame) -> None:
        self.frames.append(frame)

    @property
    def published(self) -> int:
        return sum(frame.published for frame in self.frames if isinstance(frame, TailFrame))


def hub_at(entry: str) -> Hub:
    """A hub that has read so far, and whose tail does not run."""
    hub = Hub(render=lambda row: str(row["id"]))
    hub._tailing.ready.set()
    hub._tailing.positions["orders", 0] = Position(entry, "0-0")
    return hub


def arrive(hub: Hub, entry: str) -> None:
    """The tail of this hub has read one event."""
    hub._tailing.positions["orders", 0] = Position(entry, "0-0")
    event = bus.Event(id=entry, topic="orders", type="t", raw=b"1", entry=entry)
    hub._take(Chunk("orders", 0, [event], [], Position(entry, "0-0")))


@in_a_loop
async def test_who_comes_between_two_ticks_gets_only_what_comes_after() -> None:
    hub, early, late = hub_at("1-0"), Watching(), Watching()
    await hub.watch_topic(early, Filter("orders"), None)
    arrive(hub, "2-0")
    await hub.watch_topic(late, Filter("orders"), None)
    assert (early.published, late.published) == (1, 0)
    arrive(hub, "3-0")
    hub._tick_all()
    assert (early.published, late.published) == (2, 1)


@in_a_loop
async def test_a_page_that_knows_more_than_the_tail_waits_for_it() -> None:
    hub, page = hub_at("1-0"), Watching()
    watching = asyncio.create_task(hub.watch_topic(page, Filter("orders"), {0: Position("2-0", "0-0")}))
    await asyncio.wait({watching}, timeout=0.02)
    arrive(hub, "2-0")
    hub._tick_all()
    await until(lambda: is_watched(hub))
    arrive(hub, "3-0")
    hub._tick_all()
    assert page.published == 1, "the page had the event 2-0 already"
    watching.cancel()


async def is_watched(hub: Hub) -> bool:
    return bool(hub._watchers)


@in_a_loop
async def test_a_page_goes_on_from_the_rows_that_it_was_rendered_with(
    ann: User, publisher: Publisher, record: Record
) -> None:
    await publish(publisher, 1, 2)
    await sync_to_async(record)()
    page_rows = await sync_to_async(queries.search)(queries.Query(), topic="orders")
    await publish(publisher, 3)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=page_rows["cursor"])
        frame = await page.frame(lambda frame: frame["kind"] == "tail" and frame["published"])
    assert len(page_rows["rows"]) == 2
    assert (frame["published"], "o-3" in frame["rows"][0]) == (1, True)


@in_a_loop
async def test_more_than_can_be_read_again_is_counted(ann: User, publisher: Publisher, record: Record) -> None:
    for start in range(0, 12_000, 500):
        await publish(publisher, *range(start, start + 500))
    await sync_to_async(record)()
    async with browser(ann) as page:
        first = await sync_to_async(oldest_cursor)()
        await page.watch("topic", topic="orders", cursor=first)
        resumed = await page.frame(lambda frame: frame["kind"] == "resumed")
    assert resumed["missed"] == 11_999


def oldest_cursor() -> str:
    from dashboard.models import Event

    return f"0={Event.objects.order_by('id')[0].entry}/0-0"


def fail_twice(event: bus.Event) -> None:
    if event.attempt < 3:
        raise ValueError("not yet")


QUICK = Retry(attempts=5, base_seconds=0.02, cap_seconds=0.05)


@in_a_loop
async def test_the_steps_of_drawn_rows_are_told(ann: User, publisher: Publisher, run_worker: RunWorker) -> None:
    with run_worker(Subscription("orders", "email", fail_twice, retry=QUICK)):
        async with browser(ann) as page:
            await page.watch("topic", topic="orders", cursor=None)
            await until(lambda: is_tailing("orders"))
            await publish(publisher, 1)
            frames = [await page.frame(lambda frame: frame["kind"] == "tail")]
            while not any(step["state"] == "succeeded" for step in frames[-1]["steps"]):
                frames.append(await page.frame(lambda frame: frame["kind"] == "tail"))
    steps = [step for frame in frames for step in frame["steps"]]
    assert {step["group"] for step in steps} == {"email"}
    assert {step["row"] for step in steps} == {f"orders:0:{steps[0]['row'].split(':')[2]}"}
    assert steps[-1]["label"] == "Succeeded after 2 retries"
    assert f'data-row="{steps[0]["row"]}"' in rows_of(frames)[0]


@in_a_loop
async def test_a_trace_is_told_at_once_and_when_it_was_recorded_anew(
    ann: User, publisher: Publisher, record: Record, run_worker: RunWorker
) -> None:
    event = await asyncio.to_thread(publisher.publish, publisher.draft("orders", "order_placed", 1))
    await sync_to_async(record)()
    async with browser(ann) as page:
        await page.watch("trace", id=event.correlation_id)
        first = await page.frame(lambda frame: frame["kind"] == "trace")
        assert first["trace"]["events"][0]["lanes"] == []
        recording = asyncio.create_task(keep(record))
        with run_worker(Subscription("orders", "email", fail_twice, retry=QUICK, start="earliest")):
            frame = await page.frame(lambda frame: frame["kind"] == "trace" and succeeded(frame["trace"]))
        recording.cancel()
    lanes = frame["trace"]["events"][0]["lanes"]
    assert lanes[0]["label"] == "Succeeded after 2 retries"
    assert [attempt["state"] for attempt in lanes[0]["attempts"]] == ["failed", "failed", "succeeded"]
    assert frame["trace"]["complete"]


async def keep(record: Record) -> None:
    while True:
        await sync_to_async(record)()
        await asyncio.sleep(0.02)


def succeeded(trace: dict[str, Any]) -> bool:
    lanes = [lane for event in trace["events"] for lane in event["lanes"]]
    return bool(lanes) and all(lane["state"] == "succeeded" for lane in lanes)


@in_a_loop
async def test_the_overview_is_told_once_a_second(ann: User, publisher: Publisher, record: Record) -> None:
    await publish(publisher, 1, 2, 3)
    await sync_to_async(record)()
    async with browser(ann) as page, browser(ann) as other:
        await page.watch("overview")
        await other.watch("overview")
        frame = await page.frame(lambda frame: frame["kind"] == "overview")
        same = await other.frame(lambda frame: frame["kind"] == "overview")
        later = await page.frame(lambda frame: frame["kind"] == "overview")
    assert frame["topics"][0]["total"] == 3
    assert frame["now_ms"] == same["now_ms"], "one snapshot for all"
    assert later["now_ms"] - frame["now_ms"] > 800


@pytest.mark.parametrize(
    "words",
    [
        "{",
        "null",
        '"\\ud800"',
        "[" * 10_000,
        {"type": "watch"},
        {"type": "watch", "watch": {"kind": "secrets"}},
        {"type": "watch", "watch": {"kind": "topic", "topic": "../../etc"}},
        {"type": "watch", "watch": {"kind": "topic", "topic": "orders", "cursor": "0=1-1/1-1; DROP"}},
        {"type": "watch", "watch": {"kind": "trace", "id": "x" * 600}},
        {"type": "ack", "seq": 10**30},
        {"type": "ack", "seq": 7},
        "x" * 20_000,
    ],
)
def test_bad_input_gets_an_error_frame(ann: User, config: Config, words: Any) -> None:
    async def ask() -> dict[str, Any]:
        async with browser(ann) as page:
            await page.say(words)
            return await page.frame()

    frame = async_to_sync(ask)()
    assert frame["kind"] == "error"
    assert frame["text"].startswith("expected")
    assert len(frame["text"]) < 300


@in_a_loop
async def test_too_much_bad_input_ends_the_socket(ann: User, config: Config) -> None:
    page = Browser(ann)
    await page.open()
    for _ in range(30):
        await page.say("{")
    assert await page.close_code() == TOO_MUCH


@in_a_loop
async def test_too_many_watches_end_the_socket(ann: User, bus_client: Client) -> None:
    page = Browser(ann)
    await page.open()
    for number in range(30):
        await page.watch("trace", id=str(number))
    assert await page.close_code() == TOO_MUCH


@in_a_loop
async def test_no_frame_holds_a_secret(ann: User, publisher: Publisher) -> None:
    await publish(publisher, 0)
    data = {"password": "hunter2", "nested": [{"api_key": ["hunter2"]}], "to": "amqp://u:hunter2@h", "ok": "order 66"}
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=None)
        await until(lambda: is_tailing("orders"))
        event = await asyncio.to_thread(publisher.publish, publisher.draft("orders", "order_placed", data))
        frame = await page.frame(lambda frame: frame.get("rows"))
    assert event.entry in frame["rows"][0]
    assert "order 66" in frame["rows"][0]
    assert "hunter2" not in json.dumps(frame)


@in_a_loop
async def test_a_stalled_browser_is_cut(ann: User, publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.live.window.STALLED_SECONDS", 0.05)
    monkeypatch.setattr("dashboard.live.sockets.LOOK_SECONDS", 0.05)
    page = Browser(ann)
    await page.open()
    await page.watch("overview")
    assert await page.close_code() == STALLED


@in_a_loop
async def test_a_session_that_ended_ends_the_socket(
    ann: User, bus_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.live.sockets.SESSION_SECONDS", 0.05)
    monkeypatch.setattr("dashboard.live.sockets.LOOK_SECONDS", 0.05)
    page = Browser(ann)  # it has no session at all
    await page.open()
    assert await page.close_code() == LOGGED_OUT


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    from django.conf import settings

    with EmbeddedServer(tmp_path, durability="relaxed") as server:
        bus.configure(data_folder=tmp_path)
        yield server
    bus.configure(**settings.BUS)


@in_a_loop
async def test_a_server_that_goes_away_is_said_and_nothing_is_missed(ann: User, own_server: EmbeddedServer) -> None:
    publisher = Publisher(bus.config())
    await publish(publisher, 0)
    async with browser(ann) as page:
        await page.watch("topic", topic="orders", cursor=None)
        await until(lambda: is_tailing("orders"))
        await asyncio.to_thread(own_server.stop)
        away = await page.frame(lambda frame: frame["kind"] == "server")
        await asyncio.to_thread(own_server.start)
        await publish(publisher, 1, 2)
        back = await page.frame(lambda frame: frame["kind"] == "server")
        frame = await page.frame(lambda frame: frame["kind"] == "tail")
    assert (away["state"], back["state"]) == ("away", "live")
    assert "no answer" in away["text"] or "no server" in away["text"]
    assert frame["published"] == 2


@in_a_loop
async def test_the_hub_stops_with_its_last_socket(ann: User, bus_client: Client) -> None:
    async with browser(ann) as page:
        hub = Hub.current()
        await page.watch("overview")
        await page.frame()
    await asyncio.wait(hub._running, timeout=SECONDS)
    assert all(task.done() for task in hub._running)
    assert Hub.current() is not hub
