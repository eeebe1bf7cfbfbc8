"""Somebody who is signed in to a dashboard without a browser: asks for pages, and says what its web process spent."""

from __future__ import annotations

import http.client
import os
import re
import time
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlencode, urlsplit

from bus.errors import BusError

_TOKEN: Final = re.compile(r'name="csrfmiddlewaretoken" value="([^"]+)"')
_PATIENCE_SECONDS: Final = 60.0


class Answer(NamedTuple):
    """What came for a page, and after how many ms all of it was here."""

    status: int
    text: str
    ms: float


class Visitor:
    """Signed in by a login link; keeps one connection, as a browser does."""

    def __init__(self, link: str) -> None:
        parts = urlsplit(link)
        self.host = parts.netloc
        self._cookies: dict[str, str] = {}
        self._connection = http.client.HTTPConnection(self.host, timeout=_PATIENCE_SECONDS)
        form = _TOKEN.search(self.get(parts.path).text)
        if form is None:
            raise BusError(f"expected a login form at {parts.path}, got none")
        self._ask("POST", parts.path, urlencode({"csrfmiddlewaretoken": form[1]}))

    @property
    def headers(self) -> dict[str, str]:
        """What makes a request or a socket this visitor's."""
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        return {"Cookie": cookie, "Origin": f"http://{self.host}"}

    def get(self, path: str) -> Answer:
        """The page at `path`."""
        return self._ask("GET", path)

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: str | None = None) -> Answer:
        typed = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        began = time.perf_counter()
        self._connection.request(method, path, body, {**self.headers, **typed})
        response = self._connection.getresponse()
        text = response.read().decode()
        took = (time.perf_counter() - began) * 1000
        for cookie in response.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return Answer(response.status, text, took)


def processor_seconds(data: Path, command: str) -> float | None:
    """What our processes of this command spent of the processor, with data there; None where /proc does not say."""
    found = [_spent(place) for place in Path("/proc").glob("[0-9]*") if _is(place, data, command)]
    return sum(found) if found else None


def _is(process: Path, data: Path, command: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
        return command.encode() in words and f"BUS_DATA={data}".encode() in (process / "environ").read_bytes().split(
            b"\0"
        )
    except OSError:
        return False  # somebody else's, or gone


def _spent(process: Path) -> float:
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
