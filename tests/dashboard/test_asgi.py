"""Who may open a live socket: pages of this very origin, by a host that we answer to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from channels.testing import WebsocketCommunicator

from dashboard.asgi import SameOriginOnly, application


class Open:
    """Accepts every socket: what stands behind the check."""

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})


def is_accepted(app: Any, origin: str | None, host: str = "127.0.0.1:8000") -> bool:
    headers = [(b"host", host.encode())]
    if origin is not None:
        headers.append((b"origin", origin.encode()))

    async def connect() -> bool:
        socket = WebsocketCommunicator(app, "/live/", headers=headers)
        accepted, _ = await socket.connect()
        await socket.disconnect()
        return bool(accepted)

    return asyncio.run(connect())


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.0.0.1:9000", False),
        ("http://localhost:8000", False),
        ("http://127.0.0.1:8000.evil.example", False),
        ("null", False),
        ("", False),
        (None, False),
    ],
)
def test_only_a_page_of_the_same_origin_may_open_a_socket(origin: str | None, expected: bool) -> None:
    assert is_accepted(SameOriginOnly(Open()), origin) is expected


def test_a_trusted_origin_may_open_a_socket_too(settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://fanlight.internal"]
    assert is_accepted(SameOriginOnly(Open()), "https://fanlight.internal")


def test_a_host_that_we_do_not_answer_to_is_refused(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    assert not is_accepted(application, "http://evil.example:8000", host="evil.example:8000")
