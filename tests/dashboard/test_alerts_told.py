"""Who is told of alerts: one notice a raise and a clear, by real servers, whatever those do; and nobody else is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.policy import default as modern
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bus.errors import ConfigError
from dashboard import environment
from dashboard.alerts import notices, sending
from dashboard.alerts.evaluate import turn
from dashboard.alerts.models import AlertHealth, AlertNotice, AlertRule
from dashboard.alerts.notices import sinks
from dashboard.alerts.sending import send_due, signature
from dashboard.alerts.watch import Watch
from dashboard.queries.findings import of_alerts
from tests.dashboard.recorded import NOW_MS
from tests.dashboard.test_alerts import rule, scene, watch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _none_yet(transactional_db: None, settings: Any) -> None:
    AlertRule.objects.all().delete()
    settings.ALERT_WEBHOOKS, settings.ALERT_EMAILS, settings.ALERT_WEBHOOK_SECRET = [], [], "hush"
    settings.PUBLIC_URL = "https://fanlight.example"


class Taken:
    """What a server was sent, and what it answers next."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        self.location = ""
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.url = ""

    def alerts(self) -> list[dict[str, Any]]:
        return [one for _, body in self.requests for one in json.loads(body)["alerts"]]


@pytest.fixture
def hook() -> Iterator[Taken]:
    taken = Taken()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            taken.requests.append((dict(self.headers), body))
            taken.may_answer.wait(30)
            self.send_response(taken.status)
            if taken.location:
                self.send_header("Location", taken.location)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    taken.url = f"http://127.0.0.1:{server.server_port}/hook?key=secret"
    yield taken
    taken.may_answer.set()
    server.shutdown()
    server.server_close()


@contextmanager
def mail_server() -> Iterator[tuple[int, list[bytes]]]:
    """A small SMTP server on loopback; yields its port and what it took."""
    taken: list[bytes] = []
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper() if line.split() else b""
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                taken.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
            if word == b"QUIT":
                break
        await writer.drain()
        writer.close()

    server = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield server.sockets[0].getsockname()[1], taken
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.run_until_complete(asyncio.sleep(0))
    server.close()
    loop.close()


def due() -> None:
    """Let what waits for its next try be due now."""
    AlertNotice.objects.filter(ended_ms=None).update(next_ms=0)


def raise_one() -> None:
    rule("lag", hold_s=0)
    watch((0, 10))


def test_one_raise_and_one_clear_are_told_once_each_and_signed(hook: Taken, settings: Any) -> None:
    settings.ALERT_WEBHOOKS = [hook.url]
    raise_one()
    (sink,) = sinks()
    assert send_due(sink) == 1
    watch((2, 50), (4, 0), (15, 0))
    assert (send_due(sink), send_due(sink)) == (1, 0)
    told = hook.alerts()
    assert [(one["step"], one["group"], one["topic"]) for one in told] == [
        ("raised", "email", "orders"),
        ("cleared", "email", "orders"),
    ]
    assert told[0]["told"] == "email is 10 events behind on orders"
    assert told[0]["url"] == f"https://fanlight.example/alerts/{told[0]['alert']}/"
    headers, body = hook.requests[0]
    assert headers["X-Fanlight-Signature"] == signature("hush", headers["X-Fanlight-Time"], body)
    assert headers["Content-Type"] == "application/json"


def test_many_at_once_come_in_one_request(hook: Taken, settings: Any) -> None:
    settings.ALERT_WEBHOOKS = [hook.url]
    rule("lag", hold_s=0)
    groups = [{"topic": "orders", "group": f"g{n}", "lag": 10, "age_ms": 0} for n in range(30)]
    turn(scene(0, groups=groups))
    assert send_due(sinks()[0]) == 30
    assert (len(hook.requests), len(hook.alerts())) == (1, 30)


@pytest.mark.parametrize("status", [500, 404, 302])
def test_what_is_not_taken_is_tried_again_and_said_and_led_nowhere(hook: Taken, settings: Any, status: int) -> None:
    settings.ALERT_WEBHOOKS = [hook.url]
    hook.status, hook.location = status, hook.url.replace("hook", "elsewhere")
    raise_one()
    (sink,) = sinks()
    assert send_due(sink) == 0
    assert len(hook.requests) == 1, "a redirect is not followed"
    (health,) = AlertHealth.objects.exclude(name="")
    assert f"it answered {status}" in health.trouble
    assert "secret" not in health.trouble + health.name, "an address may hold a secret"
    assert send_due(sink) == 0, "not before its time"
    assert len(hook.requests) == 1
    (finding,) = of_alerts(NOW_MS, 0)
    assert (finding.title, finding.level) == ("Alerts are not delivered", "warning")
    hook.status, hook.location = 200, ""
    due()
    assert send_due(sink) == 1
    assert AlertHealth.objects.exclude(name="").get().trouble == ""
    assert len({one["id"] for one in hook.alerts()}) == 1


def test_an_address_where_nobody_listens_is_said(settings: Any, free_port: int) -> None:
    settings.ALERT_WEBHOOKS = [f"http://127.0.0.1:{free_port}/"]
    raise_one()
    assert send_due(sinks()[0]) == 0
    assert "it can't be reached" in AlertHealth.objects.exclude(name="").get().trouble


def test_one_that_does_not_answer_is_given_up_in_time_and_holds_up_nobody(
    hook: Taken, settings: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    monkeypatch.setattr(sending, "TIMEOUT_SECONDS", 0.3)
    settings.ALERT_WEBHOOKS = [hook.url]
    hook.may_answer.clear()
    raise_one()
    thread = threading.Thread(target=lambda: send_due(sinks()[0]))
    thread.start()
    wait_until(lambda: hook.requests, seconds=30)
    assert watch((2, 0), (13, 0)) == ["cleared"], "rules are looked at meanwhile"
    thread.join(30)
    assert "answer" in AlertHealth.objects.exclude(name="").get().trouble or "timed out" in (
        AlertHealth.objects.exclude(name="").get().trouble
    )


def test_what_is_tried_too_often_or_too_much_is_dropped_and_counted(
    settings: Any, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.ALERT_WEBHOOKS = [f"http://127.0.0.1:{free_port}/"]
    monkeypatch.setattr(notices, "MAX_WAITING", 10)
    monkeypatch.setattr(sending, "MAX_TRIES", 2)
    rule("lag", hold_s=0)
    groups = [{"topic": "orders", "group": f"g{n}", "lag": 10, "age_ms": 0} for n in range(15)]
    turn(scene(0, groups=groups))
    assert AlertNotice.objects.filter(ended_ms=None).count() == 10
    for _ in range(2):
        due()
        send_due(sinks()[0])
    assert AlertNotice.objects.filter(ended_ms=None).count() == 0
    assert AlertHealth.objects.exclude(name="").get().dropped == 15


def test_mailboxes_get_one_mail_for_what_came_together(settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.ALERT_EMAILS = ["ann@example.com", "ben@example.com"]
    with mail_server() as (port, taken):
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", port
        rule("lag", hold_s=0, name="late\nBcc: eve@example.com")
        groups = [{"topic": "orders", "group": f"g\r\n{n}", "lag": 10, "age_ms": 0} for n in range(3)]
        turn(scene(0, groups=groups))
        assert send_due(sinks()[0]) == 3
    (raw,) = taken
    mail = message_from_bytes(raw, policy=modern)
    assert str(mail["To"]) == "ann@example.com, ben@example.com"
    assert mail["Bcc"] is None
    assert str(mail["Subject"]) == "[Fanlight] raised: g 0 is 10 events behind on orders and 2 more"
    assert mail.get_content().count("/alerts/") == 3


def test_a_mail_server_that_is_away_is_said(settings: Any, free_port: int) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.ALERT_EMAILS, settings.EMAIL_HOST, settings.EMAIL_PORT = ["ann@example.com"], "127.0.0.1", free_port
    raise_one()
    assert send_due(sinks()[0]) == 0
    assert "refused" in AlertHealth.objects.get(name="e-mail").trouble


def test_two_that_send_take_different_notices(hook: Taken, settings: Any) -> None:
    settings.ALERT_WEBHOOKS = [hook.url]
    raise_one()
    (notice,) = AlertNotice.objects.all()
    (same,) = AlertNotice.objects.all()
    assert (sending._claim(notice), sending._claim(same)) == (True, False)


def test_the_loop_looks_and_tells_and_ends_when_it_is_told(
    hook: Taken, settings: Any, config: object, wait_until: Any
) -> None:
    settings.ALERT_WEBHOOKS = [hook.url]
    raise_one()  # a group that nobody knows: it clears
    loop = Watch(turn_seconds=0.05)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        wait_until(hook.alerts, seconds=60)
        wait_until(lambda: AlertHealth.objects.filter(name="", well_ms__gt=NOW_MS + 1).exists(), seconds=60)
    finally:
        loop.stop()
        thread.join(30)
    assert not thread.is_alive()


def test_only_addresses_of_the_web_are_taken_from_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_WEBHOOKS", "https://a.example/x?key=secret, file:///etc/passwd")
    with pytest.raises(ConfigError, match="number 2 is none") as raised:
        environment.addresses("ALERT_WEBHOOKS")
    assert "passwd" not in str(raised.value)
    monkeypatch.setenv("ALERT_WEBHOOKS", "https://a.example/x")
    assert environment.addresses("ALERT_WEBHOOKS") == ["https://a.example/x"]
