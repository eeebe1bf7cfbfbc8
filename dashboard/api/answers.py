"""What every answer of the API has in common: who may ask, JSON, and errors that point at the word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache

from dashboard.queries import QueryInvalid

P = ParamSpec("P")
Answer = dict[str, Any] | HttpResponseBase


class Refused(Exception):
    """What was asked can't be answered; the text says why. `status`: 400, 403 or 404."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


def endpoint_for(
    *methods: str,
) -> Callable[[Callable[Concatenate[HttpRequest, P], Answer]], Callable[..., HttpResponseBase]]:
    """An address of the API. It answers who is logged in, with JSON: a script can't do much with a login page."""

    def decorated(view: Callable[Concatenate[HttpRequest, P], Answer]) -> Callable[..., HttpResponseBase]:
        @login_not_required  # the check below says 401 instead of showing a form
        @never_cache
        @wraps(view)
        def answered(request: HttpRequest, *arguments: P.args, **named: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                return _error(401, "log in first: the API takes the session of a browser that is logged in")
            if request.method not in methods:
                return _wrong_method(request, methods)
            try:
                answer = view(request, *arguments, **named)
            except QueryInvalid as error:
                return _error(400, error.message, **pointed(error))
            except Refused as error:
                return _error(error.status, error.message)
            return JsonResponse(answer) if isinstance(answer, dict) else answer

        return answered

    return decorated


def endpoint(view: Callable[Concatenate[HttpRequest, P], Answer]) -> Callable[..., HttpResponseBase]:
    """An address of the API that only reads."""
    return endpoint_for("GET", "HEAD")(view)


def _wrong_method(request: HttpRequest, methods: Sequence[str]) -> HttpResponse:
    why = "the API only reads" if "POST" not in methods else "it acts, so a link must not do it"
    response = _error(405, f"expected {methods[0]}, got {request.method}: {why}")
    response["Allow"] = ", ".join(methods)
    return response


def pointed(error: QueryInvalid) -> dict[str, Any]:
    """Where a query is wrong, and what may have been meant."""
    return {
        "query": error.text,
        "start": error.start,
        "end": error.end,
        "word": error.text[error.start : error.end],
        "nearest": error.nearest,
    }


def whole(request: HttpRequest, name: str, *, default: int, most: int) -> int:
    """A whole number from the address, at least 1, brought down to `most`."""
    text = request.GET.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise Refused(f"expected {name} to be a whole number from 1 to {most:,}, got {ascii(text)[:40]}")
    return max(1, min(int(text[:18]), most))


def needed(request: HttpRequest, name: str) -> str:
    """A parameter that must be there."""
    text = request.GET.get(name, "")
    if not text:
        raise Refused(f"expected ?{name}=…, got none")
    return text


def _error(status: int, message: str, **more: Any) -> HttpResponse:
    return JsonResponse({"error": {"message": message, **more}}, status=status)
