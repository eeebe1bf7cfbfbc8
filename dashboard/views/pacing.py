"""How often one user may post what changes something: the same limit for every page, shared with the API."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard.actions import rates

P = ParamSpec("P")


def paced(view: Callable[Concatenate[HttpRequest, P], HttpResponse]) -> Callable[..., HttpResponse]:
    """A page whose POSTs are counted; too many within a minute have to wait."""

    @wraps(view)
    def answered(request: HttpRequest, *arguments: P.args, **named: P.kwargs) -> HttpResponse:
        wait = rates.wait_seconds(f"user {request.user.pk}") if request.method == "POST" else 0
        if not wait:
            return view(request, *arguments, **named)
        why = f"more than {rates.PER_MINUTE} actions within a minute: nothing was done, try again in {wait} s"
        context: dict[str, Any] = {"why": why}
        response = render(request, "403.html", context, status=429)
        response["Retry-After"] = str(wait)
        return response

    return answered
