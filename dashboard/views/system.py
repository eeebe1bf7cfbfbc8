"""The System page, and the line that every other page shows when something is badly wrong.

Shapes what `queries.system()` answers; must not query by itself.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.live.hub import Hub

LATE_MS = 2_000  # a recorder further behind is worth a colour


@require_safe
def system(request: HttpRequest) -> HttpResponse:
    """What is wrong and what to do; then server, recorder, workers, streams, read model."""
    return render(request, "system.html", _context())


@require_safe
def body(request: HttpRequest) -> HttpResponse:
    """The page's body again, for the page itself to take in every few seconds."""
    return render(request, "system/_body.html", _context())


@require_safe
def alarm(request: HttpRequest) -> HttpResponse:
    """The line of alarm again, for a page that is open. `on`: the page's name."""
    return render(request, "_alarm.html", {"here": request.GET.get("on", "")[:40]})


def alarms(_request: HttpRequest) -> dict[str, Any]:
    """For every template: the errors among the findings, and breakpoints. Asked for when a template wants them."""
    return {"alarms": SimpleLazyObject(queries.alarms), "holds": SimpleLazyObject(queries.holds)}


def _context() -> dict[str, Any]:
    return {"system": queries.system(), "live": Hub.figures(), "late_ms": LATE_MS}
