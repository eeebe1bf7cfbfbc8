"""Notices: who outside is told of a raise or a clear. Written with the alert's step, so that none is lost or doubled.

Each sink has a bounded list of its own; what is too much is dropped, oldest first, and counted.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.db.models import F

from dashboard.alerts.models import AlertHealth, AlertNotice, AlertStep

MAX_WAITING: Final = 1_000
KEPT_MS: Final = 7 * 86_400_000


class Sink(NamedTuple):
    """Where notices go. `name` is shown and stored: of an address, which may hold a secret, only the host."""

    name: str
    kind: str
    address: str


def sinks() -> list[Sink]:
    """Those that the settings name."""
    found = [Sink(_name(url), "webhook", url) for url in settings.ALERT_WEBHOOKS]
    mail = [Sink("e-mail", "mail", ", ".join(settings.ALERT_EMAILS))] if settings.ALERT_EMAILS else []
    return [*found, *mail]


def _name(url: str) -> str:
    tell_apart = hashlib.sha256(url.encode()).hexdigest()[:4]
    return f"webhook {(urlsplit(url).hostname or '')[:90]} {tell_apart}"


def tell(step: AlertStep) -> None:
    """Put the step on each sink's list; in the transaction that stores it."""
    for sink in sinks():
        AlertNotice.objects.create(step=step, sink=sink.name, next_ms=step.at_ms)
        waiting = AlertNotice.objects.filter(sink=sink.name, ended_ms=None).order_by("-pk")
        if surplus := list(waiting.values_list("pk", flat=True)[MAX_WAITING : 2 * MAX_WAITING]):
            drop(sink.name, surplus, step.at_ms)


def drop(sink: str, pks: list[int], now_ms: int) -> None:
    """Give these up, and count them."""
    count = AlertNotice.objects.filter(pk__in=pks, ended_ms=None).update(ended_ms=now_ms)
    AlertHealth.objects.get_or_create(name=sink)
    AlertHealth.objects.filter(name=sink).update(dropped=F("dropped") + count)
