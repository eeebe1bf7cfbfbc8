"""A dashboard in trouble, for every test that looks at whole pages: what strangers wrote is in every field."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import APIRequestContext, Browser

from bus import inspect, streams
from bus.config import Config
from bus.errors import ServerError
from bus.keys import Keys
from bus.publisher import Publisher
from bus.wire import Operation
from tests.acceptance.browsing import launched, sign_in
from tests.acceptance.processes import Running, manage, running
from tests.conftest import wait_for
from tests.dashboard.hostile import PUBLISHED

READINGS = 4_000
TRACE = "0af7651916cd43dd8448eb211c80319c"  # of the first order

ORDER_LIST = """
from django.utils.timezone import now
from bus.models import ProjectionPlace
from dashboard.shop.models import OrderRow
ProjectionPlace.objects.create(name="order_list", version=1, topic="orders", partition=0, done_at=now())
for number, text in enumerate({texts}):
    OrderRow.objects.create(
        version=1, order_id=f"{{number}}{{text}}", customer=text, state=text[:40], placed_at=now(), total=number or None
    )
"""


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`manage.py up` on a bus that strangers use as well."""
    folder = tmp_path_factory.mktemp("troubled") / "data"
    extra = {"BUS_HANDLERS": "tests.acceptance.hostile_handlers"}
    with running(folder, "up", "--port", "0", extra=extra) as process:
        process.wait_for_line("open: http")
        client = wait_for(lambda: _connected(folder), seconds=30)
        assert client is not None
        publish_all(client)
        list_orders(folder)
        wait_for(lambda: _is_quiet(client), seconds=60, what="handlers to have had everything")
        yield process
        client.close()


@pytest.fixture
def slow_group(troubled: Running) -> None:
    """`climate` is behind from here on, however long ago it was that the bus began."""
    publisher = Publisher(Config(data_folder=troubled.folder))
    publish_readings(publisher)
    publisher.close()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def signed_in_once() -> dict[str, Any]:
    """What the first browser that came left for the others: a login link works once."""
    return {}


@pytest.fixture(scope="module")
def reader(troubled: Running, chromium: Browser, signed_in_once: dict[str, Any]) -> dict[str, Any]:
    """Cookies and address of somebody who is signed in, once everything is recorded."""
    state = signed_in_once
    if state:
        return state
    state.update(sign_in(chromium, troubled))
    context = chromium.new_context(base_url=state["base"])
    context.add_cookies(state["cookies"])
    wait_for(lambda: is_recorded(context.request), seconds=60, what="the recorder")
    context.close()
    return state


def is_recorded(request: APIRequestContext) -> bool:
    """Whether every dead letter is on its page."""
    total: int = request.get("/api/dead-letters").json()["total"]
    return total >= len(PUBLISHED)


def publish_all(client: streams.Client) -> None:
    """Ordinary events, and each hostile text in every field that a producer can fill."""
    publisher = Publisher(client.config)
    publisher.publish(publisher.draft("orders", "opened", None))  # the topic is then in the catalogue
    publish_readings(publisher)
    keys = Keys(client.config.prefix, "orders", 0)
    for text in PUBLISHED:
        raw = text.encode("utf-8", "surrogatepass")
        client.run(Operation([(b"XADD", keys.events, b"*", *_fields(raw))], len))
        client.run(Operation([(b"XGROUP", b"CREATE", keys.events, raw, b"0")], len))
        read = (b"XREADGROUP", b"GROUP", raw, raw or b"w", b"COUNT", b"2", b"STREAMS", keys.events, b">")
        client.run(Operation([read], len))
    for number in range(3):
        data = {"order_id": f"o-{number}", "total": 120}
        key, trace = f"o-{number}", f"{int(TRACE, 16) + number:032x}"
        draft = publisher.draft("orders", "order_placed", data, key=key, id=f"order-{number}", correlation_id=trace)
        publisher.publish(draft)
    publisher.close()


def list_orders(folder: Path) -> None:
    """What a shop's projection would have left: an order list with each hostile text in each field."""
    texts = [text.encode("utf-8", "replace").decode()[:200] for text in PUBLISHED]
    done = manage(folder, "shell", "--command", ORDER_LIST.format(texts=ascii(texts)))
    assert done.code == 0, done.err


def publish_readings(publisher: Publisher) -> None:
    """More than the slow group can handle at once."""
    publisher.publish_many([publisher.draft("readings", "reading", n, key="k") for n in range(READINGS)])


def _fields(raw: bytes) -> Sequence[bytes]:
    data = b'{"__proto__": {"polluted": 1}, "text": "' + raw.replace(b"\\", b"").replace(b'"', b"'") + b'"}'
    return (
        *(b"id", raw, b"type", raw, b"source", raw, b"partitionkey", raw, b"time", raw),
        *(b"correlationid", raw, b"causationid", raw, b"causationgroup", raw, b"traceparent", raw),
        *(b"dataschema", raw, raw or b"x", raw, b"data", data),
    )


def _connected(folder: Path) -> streams.Client | None:
    with contextlib.suppress(ServerError):
        return streams.connect(Config(data_folder=folder))
    return None


def _is_quiet(client: streams.Client) -> bool:
    """Whether e-mail has given everything up, so that each text is in an error as well."""
    prefix = client.config.prefix
    found = client.run(inspect.groups(prefix, [("orders", 0)]))
    states = client.run(inspect.details(prefix, found))
    return any(state.group == "email" and state.dead == len(PUBLISHED) + 4 for state in states)
