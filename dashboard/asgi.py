"""The ASGI application: pages by Django, live pictures by one WebSocket a page."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator, WebsocketDenier
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
pages = get_asgi_application()  # before the sockets are imported: it loads the models that they need

from dashboard.live.sockets import LiveSocket  # noqa: E402


class SameOriginOnly:
    """Refuses a socket that a page of another origin opens, on another port of this host, say.

    Cookies don't know ports, so such a page would watch with the session of whoever looks at it.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        headers = dict(scope["headers"])
        origin, host = (headers.get(name, b"").decode("latin-1") for name in (b"origin", b"host"))
        is_ours = urlsplit(origin).netloc == host or origin in settings.CSRF_TRUSTED_ORIGINS
        return await (self._inner if is_ours else WebsocketDenier())(scope, receive, send)


live = LiveSocket.as_asgi()  # type: ignore[no-untyped-call]  # Channels ships no types
sockets = AuthMiddlewareStack(URLRouter([path("live/", live)]))
application = ProtocolTypeRouter({"http": pages, "websocket": AllowedHostsOriginValidator(SameOriginOnly(sockets))})
