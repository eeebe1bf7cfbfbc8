"""A proxy before the server that loses replies: the server did it, and nobody hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import unquote, urlsplit


class Swallower:
    """Swallows replies, or refuses requests, while it is told to. Outlives the server behind it."""

    def __init__(self, url: str) -> None:
        self._server = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.swallow = threading.Event()
        self.swallowed = 0
        self.lose = 0  # how many of the next replies get lost
        self.refusals = 0  # how many of the next requests never reach the server
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = self._connected()
                if far is None:
                    near.close()
                    continue
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _connected(self) -> socket.socket | None:
        try:
            if self._server.scheme != "unix":
                return socket.create_connection((self._server.hostname or "", self._server.port or 0))
            far = socket.socket(socket.AF_UNIX)
            far.connect(unquote(self._server.path))
            return far
        except OSError:
            return None

    def _pump(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not replies and self.refusals:
                    self.refusals -= 1
                    break
                if replies and self._is_lost():
                    self.swallowed += 1
                    break  # the server did it, and its word gets lost
                target.sendall(data)
        source.close()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _is_lost(self) -> bool:
        if self.lose > 0:
            self.lose -= 1
            return True
        return self.swallow.is_set()

    def close(self) -> None:
        self._listener.close()
