"""Telling others: takes what is due for a sink, several notices at once, and tries until it is taken or given up.

A notice is claimed by compare-and-set before it goes out, so of several processes one sends it. Killed between that
and the answer, it goes out again with the same ids.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import smtplib
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException
from typing import Any, Final

import msgspec
from django.conf import settings
from django.core.mail import EmailMessage, get_connection

from dashboard.alerts.models import AlertHealth, AlertNotice
from dashboard.alerts.notices import Sink, drop, sinks

TIMEOUT_SECONDS: Final = 5.0
MAX_TOGETHER: Final = 100
BACKOFF_MS: Final = (2_000, 10_000, 30_000, 60_000, 300_000)
MAX_TRIES: Final = 60  # about five hours
CLAIM_MS: Final = 60_000  # who claimed it and is not heard of any more was killed

log = logging.getLogger("dashboard.alerts")


class NotTaken(Exception):
    """The sink did not take it; the text says why."""


def send_due(sink: Sink) -> int:
    """Send what is due for a sink. Result: how many were taken."""
    now_ms = _now_ms()
    due = AlertNotice.objects.filter(sink=sink.name, ended_ms=None, next_ms__lte=now_ms)
    claimed = [one for one in due.select_related("step__alert__rule").order_by("pk")[:MAX_TOGETHER] if _claim(one)]
    if not claimed:
        return 0
    try:
        _SEND[sink.kind](sink, claimed)
    except (NotTaken, OSError, HTTPException, smtplib.SMTPException, ValueError) as error:
        _put_off(sink, claimed, f"{type(error).__name__}: {error}" if not isinstance(error, NotTaken) else str(error))
        return 0
    AlertNotice.objects.filter(pk__in=[one.pk for one in claimed]).update(ended_ms=_now_ms())
    AlertHealth.objects.update_or_create(
        name=sink.name, defaults={"well_ms": _now_ms(), "trouble": "", "trouble_ms": None}
    )
    return len(claimed)


def _claim(notice: AlertNotice) -> bool:
    mine = AlertNotice.objects.filter(pk=notice.pk, tries=notice.tries, ended_ms=None, next_ms=notice.next_ms)
    taken = mine.update(tries=notice.tries + 1, next_ms=_now_ms() + CLAIM_MS) == 1
    notice.tries += 1
    return taken


def _put_off(sink: Sink, claimed: Sequence[AlertNotice], why: str) -> None:
    """Try again later; give up what was tried often enough."""
    now_ms = _now_ms()
    for one in claimed:
        wait_ms = BACKOFF_MS[min(one.tries, len(BACKOFF_MS)) - 1]
        AlertNotice.objects.filter(pk=one.pk).update(next_ms=now_ms + wait_ms)
    drop(sink.name, [one.pk for one in claimed if one.tries >= MAX_TRIES], now_ms)
    health, _ = AlertHealth.objects.get_or_create(name=sink.name)
    if not health.trouble:
        log.warning("%s takes no alert: %s; trying again", sink.name, why[:200])
    AlertHealth.objects.filter(name=sink.name).update(
        trouble=" ".join(why.split())[:300], trouble_ms=health.trouble_ms or now_ms
    )


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Only the address that the settings name is asked: whoever answers there can't lead us on to another."""

    def redirect_request(self, _request: Any, _body: Any, code: int, *_more: Any) -> None:
        raise NotTaken(f"it answered {code} and leads to another address, which is not followed")


_opener: Final = urllib.request.build_opener(_NoRedirect)


def _post(sink: Sink, notices: Sequence[AlertNotice]) -> None:
    """One POST. The signature covers the moment and the body, so that an old one can't be used again."""
    sent = str(_now_ms())
    body = msgspec.json.encode({"sent_ms": int(sent), "alerts": [told(one) for one in notices]})
    request = urllib.request.Request(sink.address, body, method="POST")  # noqa: S310  checked in environment.py
    request.add_header("Content-Type", "application/json")
    request.add_header("User-Agent", "Fanlight")
    request.add_header("X-Fanlight-Time", sent)
    if settings.ALERT_WEBHOOK_SECRET:
        request.add_header("X-Fanlight-Signature", signature(settings.ALERT_WEBHOOK_SECRET, sent, body))
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS):
            pass
    except urllib.error.HTTPError as error:
        error.close()
        raise NotTaken(f"it answered {error.code}, expected 2xx") from None
    except urllib.error.URLError as error:
        raise NotTaken(f"it can't be reached: {error.reason}") from None
    except TimeoutError:
        raise NotTaken(f"it did not answer within {TIMEOUT_SECONDS:g} s") from None


def signature(secret: str, sent: str, body: bytes) -> str:
    """`sha256=…`: HMAC of the moment, a dot, and the body."""
    return "sha256=" + hmac.new(secret.encode(), f"{sent}.".encode() + body, hashlib.sha256).hexdigest()


def _mail(_sink: Sink, notices: Sequence[AlertNotice]) -> None:
    lines = [told(one) for one in notices]
    first = lines[0]
    more = f" and {len(lines) - 1} more" if len(lines) > 1 else ""
    subject = f"[Fanlight] {first['step']}: {first['told']}{more}"
    body = "\n\n".join(
        f"{one['step'].upper()} ({one['severity']}): {one['told']}\nrule: {one['rule']}\n{one['url']}" for one in lines
    )
    with get_connection(timeout=TIMEOUT_SECONDS) as connection:
        EmailMessage(
            " ".join(subject.split())[:200], body, to=settings.ALERT_EMAILS, connection=connection
        ).send()  # fmt: skip


_SEND: Final[Mapping[str, Callable[[Sink, Sequence[AlertNotice]], None]]] = {"webhook": _post, "mail": _mail}


def told(notice: AlertNotice) -> dict[str, Any]:
    """What is said of one notice. `id` stays the same when it is sent again."""
    step, alert = notice.step, notice.step.alert
    return {
        "id": notice.pk,
        "step": step.step,
        "at_ms": step.at_ms,
        "alert": alert.pk,
        "rule": alert.rule.name,
        "kind": alert.rule.kind,
        "severity": alert.severity,
        "topic": alert.topic,
        "group": alert.group,
        "told": step.told,
        "reason": step.reason,
        "by": step.who,
        "since_ms": alert.since_ms,
        "value": alert.value,
        "threshold": alert.rule.threshold,
        "url": f"{settings.PUBLIC_URL}/alerts/{alert.pk}/",
    }


def named(name: str) -> Sink | None:
    """The sink of this name, as long as the settings name it."""
    return next((sink for sink in sinks() if sink.name == name), None)


def _now_ms() -> int:
    return int(time.time() * 1000)
