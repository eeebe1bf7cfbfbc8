"""An event as text that publishes it again: for a shell, in Python, as a test. Pure; each text runs as it stands.

What was masked before it was stored stays masked in the texts, which say so.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pprint import pformat
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from bus.keys import Keys
from dashboard.record.masking import MARK

WIDTH: Final = 96
_NOT_A_NAME: Final = re.compile(r"\W+", re.ASCII)
_MODULE: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*\Z", re.ASCII)
_MASKED: Final = f"# {MARK} stands for what was masked before it was stored.\n"

Row = Mapping[str, Any]


def copies(
    event: Row,
    lane: Row | None,
    *,
    handlers: Sequence[str],
    url: str | None,
    prefix: str,
    site: str = "http://localhost",
) -> list[dict[str, str]]:
    """Name and text of each way to publish the event again; none where its data isn't JSON that was kept whole."""
    if event["data"] is None and event["data_text"].strip() != "null":
        return []
    note = _MASKED if MARK in event["data_text"] else ""
    return [
        {"name": "Python", "text": note + _python(event)},
        {"name": "pytest", "text": note + _test(event, lane, handlers)},
        {"name": "manage.py", "text": note + _command(event)},
        {"name": "redis-cli", "text": note + _xadd(event, url, prefix)},
        {"name": "curl", "text": note + _curl(event, site)},
    ]


def _python(event: Row) -> str:
    return f"import bus\n\nbus.publish(\n{_indented(_arguments(event), 4)}\n)\n"


def _arguments(event: Row) -> str:
    lines = [repr(event["topic"]), repr(event["type"]), pformat(event["data"], width=WIDTH, sort_dicts=False)]
    if event["key"]:
        lines.append(f"key={event['key']!r}")
    if event["headers"]:
        lines.append(f"headers={pformat(event['headers'], width=WIDTH, sort_dicts=False)}")
    return "".join(f"{line},\n" for line in lines).rstrip()


def _test(event: Row, lane: Row | None, handlers: Sequence[str]) -> str:
    """A test that delivers the event to the lane's group, in memory: red for as long as the handler fails."""
    group = lane["group"] if lane else ""
    name = _name(f"{group} handles {event['type']}" if group else f"{event['type']} is handled")
    modules = "".join(f"import {module}  # noqa: F401  subscribes here\n" for module in _modules(handlers))
    failed = next((attempt for attempt in reversed(lane["attempts"]) if attempt["error"]), None) if lane else None
    why = f"        # Attempt {failed['number']} failed with {_line(failed['error'])}\n" if failed else ""
    probe = f"bus.testing.memory(groups=[{group!r}])" if group else "bus.testing.memory()"
    return (
        f"import bus\nimport bus.testing\n{modules}\n\ndef test_{name}() -> None:\n    with {probe} as probe:\n"
        f"        bus.publish(\n{_indented(_arguments(event), 12)}\n        )\n{why}        probe.deliver()\n"
    )


def _command(event: Row) -> str:
    key = ["--key", event["key"]] if event["key"] else []
    data = msgspec.json.encode(event["data"]).decode()
    return shlex.join(["python", "manage.py", "publish", *key, "--", event["topic"], event["type"], data]) + "\n"


def _curl(event: Row, site: str) -> str:
    """A request to this dashboard's API, with the token of whoever runs it; headers can't be given there."""
    said = {name: event[name] for name in ("topic", "type", "key") if event[name]}
    data = msgspec.json.encode(event["data"]).decode()
    body = msgspec.json.encode({**said, "data": data, "reason": "published again by curl"}).decode()
    lost = "# The API publishes without the event's headers.\n" if event["headers"] else ""
    # The token is a variable of the shell, in double quotes: it never stands in the text that is copied.
    bearer = '-H "Authorization: Bearer $FANLIGHT_TOKEN"'
    how = shlex.join(["-H", "Content-Type: application/json", "--data-raw", body, f"{site}/api/actions/publish"])
    return f"{lost}# FANLIGHT_TOKEN: a token of yours, from manage.py token\ncurl -sS --fail-with-body {bearer} {how}\n"


def _xadd(event: Row, url: str | None, prefix: str) -> str:
    key = Keys(prefix, event["topic"], event["partition"]).events.decode()
    fields = [
        ("type", event["type"]),
        ("source", event["source"]),
        *([("partitionkey", event["key"])] if event["key"] else []),
        ("data", msgspec.json.encode(event["data"]).decode()),
        *event["headers"].items(),
    ]
    words = ["XADD", key, "*", *(word for pair in fields for word in pair)]
    return f"redis-cli {_where(url)}{shlex.join(words)}\n"


def _where(url: str | None) -> str:
    """The options of redis-cli that lead to the server. A password is not written out."""
    parts = urlsplit((url or "").split(",")[0])
    if parts.scheme == "unix":
        return f"-s {shlex.quote(unquote(parts.path))} "
    if not parts.hostname:
        return ""
    words = ["-h", parts.hostname, "-p", str(parts.port or 6379)]
    number = parts.path.strip("/")
    words += ["-n", number] if number.isdigit() and number != "0" else []
    words += ["--tls"] if parts.scheme == "rediss" else []
    words += ["--user", unquote(parts.username)] if parts.username else []
    return shlex.join(words) + (' -a "$BUS_PASSWORD" ' if parts.password else " ")


def _modules(handlers: Iterable[str]) -> list[str]:
    """The modules of handlers `package.module.function`; of one that was made inside a function, nothing imports it."""
    named = {name.partition(".<locals>")[0].rpartition(".")[0] for name in handlers if ".<locals>" not in name}
    return sorted(module for module in named if _MODULE.match(module) and module != "__main__")


def _name(text: str) -> str:
    return _NOT_A_NAME.sub("_", text.lower()).strip("_")[:80] or "event"


def _line(text: str) -> str:
    return " ".join(text.split())[:120]


def _indented(text: str, by: int) -> str:
    return "\n".join(" " * by + line if line else "" for line in text.split("\n"))
