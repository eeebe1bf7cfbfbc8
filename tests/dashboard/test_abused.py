"""What somebody who means harm may try, and what comes of it: nothing, quickly.

Research reliability, §5 rows 24 (logs), 25 (patterns), 26 (redirects), 27 (sessions), 29 (secrets), 30 (anonymous),
32 (what inflates) and 33 (numbers). Costs are times of this thread alone, the best of
a few: others share the machine.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import logging
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse

from bus.journal import Failure
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from dashboard import queries
from dashboard.actions.plan import Outdated, thaw
from dashboard.actions.roles import Deed, Role
from dashboard.log_lines import Lines
from dashboard.queries.language import MAX_LENGTH
from tests.dashboard import test_matrix as matrix
from tests.dashboard.conftest import Record
from tests.dashboard.dead import Graveyard
from tests.dashboard.hostile import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]
OURS = [path for folder in ("bus", "dashboard") for path in sorted((ROOT / folder).rglob("*.py"))]
LOGGING: dict[str, Any] = django_settings.LOGGING
strict, keys = matrix.strict, matrix.keys  # fixtures


def cost_ms(do: Callable[[], Any], tries: int = 5) -> float:
    """The least that it took of this thread's time."""

    def once() -> float:
        began = time.thread_time()
        do()
        return (time.thread_time() - began) * 1000

    return min(once() for _ in range(tries))


def peak_bytes(do: Callable[[], Any]) -> int:
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Row 24


@pytest.mark.parametrize("text", PUBLISHED)
def test_no_text_forges_a_log_line_or_moves_the_cursor(text: str) -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    line = LOGGING["formatters"]["line"]
    handler.setFormatter(Lines(line["format"], line["datefmt"], style="{"))
    evil = f"{text}\r\n2026-01-01 00:00:00 ERROR   bus: forged\x1b[2J"
    try:
        raise ValueError(evil)
    except ValueError:
        handler.handle(logging.LogRecord("bus", logging.ERROR, "", 0, "failed: %s", (evil,), sys.exc_info()))
    first, *below = out.getvalue().removesuffix("\n").split("\n")
    assert "failed: " in first
    assert all(one.startswith("  ") for one in below)
    assert not {"\r", "\x1b", "\u2028", "\u202e"} & set(out.getvalue())


def test_every_record_goes_through_that_form() -> None:
    assert LOGGING["formatters"]["line"]["()"] == "dashboard.log_lines.Lines"
    assert [one["formatter"] for one in LOGGING["handlers"].values()] == ["line"]


# Row 25

REDOS = "(a+)+$" * 16_667


def test_no_pattern_comes_from_outside() -> None:
    """Every pattern that is compiled is written in the source: a constant, or built of constants by name."""
    found = []
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            is_re = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if is_re and isinstance(node.func.value, ast.Name) and node.func.value.id == "re" and node.args:  # type: ignore[attr-defined]
                pattern = node.args[0]  # type: ignore[attr-defined]
                names = [one.id for one in ast.walk(pattern) if isinstance(one, ast.Name)]
                if any(not name.lstrip("_").isupper() for name in names):
                    found.append((path.name, ast.unparse(pattern)))
    assert [one for one in found if one[0] != "masking.py"] == []  # whose names are escaped, and come from the settings


def test_a_pattern_as_a_query_costs_next_to_nothing(keys: Keys) -> None:
    who = matrix.browser(Role.ADMIN)
    for field in ("q", "topic", "group", "key"):
        assert cost_ms(lambda name=field: who.get("/api/events", {name: REDOS}), 3) < 100  # type: ignore[misc]
    assert cost_ms(lambda: queries.suggest(REDOS)) < 100
    for text in ("(a+)+$", "payload.a:(a+)+$", "error:(a+)+$", "a" * (MAX_LENGTH - 1) + "!"):
        assert cost_ms(lambda asked=text: who.get("/api/events", {"q": asked}), 3) < 100, text  # type: ignore[misc]


# Rows 26 and 27


@pytest.mark.parametrize(
    "wanted", ["//evil.example", "https:evil.example", "\\\\evil.example", "/\\evil.example", "/%0d%0aSet-Cookie:a=b",
               "/a\r\nb",
               "javascript:alert(1)", "https://evil.example/", "///evil.example", "http:///evil.example"],
)  # fmt: skip
def test_no_login_leads_elsewhere(db: None, wanted: str) -> None:
    User.objects.create_user("ann", password="correct horse")
    answer = Browser().post(f"{reverse('login')}", {"username": "ann", "password": "correct horse", "next": wanted})
    assert answer["Location"].startswith("/")
    assert not answer["Location"].startswith(("//", "/\\"))
    assert "evil" not in answer["Location"]
    assert "a" not in answer.cookies


def test_a_login_changes_the_session_and_the_old_one_is_dead(db: None) -> None:
    User.objects.create_user("ann", password="correct horse")
    web = Browser()
    session = web.session
    session["planted"] = "by somebody else"
    session.save()
    planted = session.session_key
    web.cookies[django_settings.SESSION_COOKIE_NAME] = str(planted)
    web.post(reverse("login"), {"username": "ann", "password": "correct horse"})
    assert web.cookies[django_settings.SESSION_COOKIE_NAME].value != planted
    other = Browser()
    other.cookies[django_settings.SESSION_COOKIE_NAME] = str(planted)
    assert other.get("/").status_code == 302
    after = web.cookies[django_settings.SESSION_COOKIE_NAME].value
    web.post(reverse("logout"))
    other.cookies[django_settings.SESSION_COOKIE_NAME] = after
    assert other.get("/").status_code == 302, "what was logged out stays so"


# Row 29

CANARIES = [f"canary{number}tweet" for number in range(10)]


def test_ten_secrets_that_were_planted_are_nowhere(
    keys: Keys, bus_client: Client, publisher: Publisher, record: Record
) -> None:
    """On every page, in the API, the exports, the record of actions: for whoever may see all payloads."""
    one = CANARIES
    data = {"password": one[0], "card": {"cvv": one[1]}, "note": f"Authorization: Bearer {one[2]}", "url": f"redis://u:{one[3]}@h/0",
            "list": [{"api_key": one[4]}], "text": f"token={one[5]}"}  # fmt: skip
    publisher.publish(
        publisher.draft("orders", "t", data, id="e-7", key="o-1", correlation_id="trace", headers={"x-api-key": one[6]})
    )
    grave = Graveyard(bus_client, "orders", ("email",))
    failure = Failure("ValueError", f"password={one[7]}", traceback=f"line\nsecret: '{one[8]}'", fingerprint="f")
    grave.give_up("email", failure, worker="w#0")
    record()
    admin = matrix.browser(Role.ADMIN)
    body = {**matrix.OF_GROUP, "reason": f"password={one[9]}"}
    assert admin.post("/api/actions/pause", json.dumps(body), content_type="application/json").status_code == 200
    told, pages = [], 0
    for name, row in matrix.MATRIX.items():
        for query in {row.query, "event=e-7", "q=key:o-1", "format=json&q=key:o-1", "format=csv"}:
            address = reverse(name, kwargs=dict(row.where) or None)
            for where in {address, address.replace("e-1", "e-7")}:
                answer = admin.get(f"{where}?{query}", follow=True)
                text = b"".join(_streamed(answer)).decode() if answer.streaming else answer.content.decode()
                told += [(where, query, canary) for canary in one if canary in text]
                pages += "•••" in text
    assert not told, told[:5]
    assert pages > 10, "the masks are there"


def _streamed(answer: Any) -> list[bytes]:
    from asgiref.sync import async_to_sync

    async def gathered() -> list[bytes]:
        return [part async for part in answer.streaming_content]

    return async_to_sync(gathered)()


# Row 30


@pytest.mark.parametrize(
    "address", ["/metrics", "/metrics/", "/health", "/health/", "/healthz", "/api/", "/admin/", "/debug", "/.env"]
)
def test_nothing_is_told_to_whoever_is_not_logged_in(db: None, address: str) -> None:
    answer = Browser().get(address)
    assert answer.status_code in (302, 404)
    assert b"fanlight" not in answer.content.lower().replace(b"fanlight</title>", b"").replace(b">fanlight<", b"")


# Row 32


def test_nothing_that_comes_from_outside_is_inflated() -> None:
    """No module of ours knows how to; Django's signed forms do, once their signature was checked."""
    names = {"gzip", "bz2", "lzma", "zipfile", "tarfile", "brotli", "zstandard"}
    for path in OURS:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not names & {module.partition(".")[0] for module in modules}, path
            inflates = isinstance(node, ast.Attribute) and node.attr in ("decompress", "decompressobj", "inflate")
            assert not inflates, f"{path}: what inflates needs a bound on what comes out"


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """200 MB in 194 kB."""
    made = zlib.compress(bytes(200_000_000), 9)
    assert len(made) < 200_000
    return made


def test_a_bomb_as_a_confirmation_or_as_a_body_is_refused_before_it_goes_off(keys: Keys, bomb: bytes) -> None:
    text = "." + base64.urlsafe_b64encode(bomb).decode().rstrip("=") + ":1abcde:" + "s" * 43

    def confirm() -> None:
        with pytest.raises(Outdated):
            thaw(text, Deed.PAUSE)

    assert cost_ms(confirm) < 50
    assert peak_bytes(confirm) < 5_000_000
    who = matrix.browser(Role.ADMIN)
    headers = {"Content-Encoding": "deflate"}

    def post() -> None:
        answer = who.post("/api/actions/pause", bomb, content_type="application/json", headers=headers)
        assert answer.status_code == 400

    assert cost_ms(post) < 500
    assert peak_bytes(post) < 20_000_000


# Row 33

NUMBERS = ("1000000000", "1" + "0" * 30, "-1", "0", "1e9", "NaN", "9223372036854775808")
NUMBERED = ("limit", "days", "since_ms", "before", "page", "cursor", "since", "range", "show", "past")


def test_no_number_makes_an_answer_long_or_large(keys: Keys) -> None:
    who = matrix.browser(Role.ADMIN)
    for name, row in matrix.MATRIX.items():
        if 200 not in row.get or name in ("api-export", "api-openapi"):
            continue
        address = reverse(name, kwargs=dict(row.where) or None)
        for number in NUMBERS:
            asked = {
                **dict.fromkeys(NUMBERED, number),
                **dict(part.split("=") for part in row.query.split("&") if part),
            }

            def ask(where: str = address, said: dict[str, str] = asked) -> None:
                assert who.get(where, said).status_code in (200, 302, 400, 404), (where, said)

            assert cost_ms(ask, 1) < 1_000 or cost_ms(ask, 3) < 1_000, (name, number)
        assert peak_bytes(ask) < 50_000_000, name
