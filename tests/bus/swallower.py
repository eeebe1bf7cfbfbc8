"""A proxy before the server that loses replies: the server did it, and nobody hears of it."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Swallower:
    """Swallows replies, or refuses requests, while it is told to."""

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.swallow = threading.Event()
        self.swallowed = 0
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
                threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _connected(self) -> socket.socket:
        if self._target.hostname:
            return socket.create_connection((self._target.hostname, self._target.port or 6379))
        far = socket.socket(socket.AF_UNIX)
        far.connect(self._target.path)
        return far

    def _pump(self, source: socket.socket, target: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not replies and self.refusals:
                    self.refusals -= 1
                    break
                if replies and self.swallow.is_set():
                    self.swallowed += 1
                    break  # the server did it, and its word gets lost
                target.sendall(data)
        source.close()
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
