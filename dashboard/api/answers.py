"""What every answer of the API has in common: who may ask, JSON, and errors that point at the word."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.views.decorators.cache import never_cache

from bus.errors import BusError, GroupBusy, ServerUnavailable
from dashboard.actions import rates
from dashboard.actions.audit import Forbidden
from dashboard.queries import QueryInvalid

P = ParamSpec("P")
Answer = dict[str, Any] | HttpResponseBase


class Refused(Exception):
    """What was asked can't be answered; the text says why. `status`: 400, 403 or 404."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.message, self.status = message, status


MAX_A_MINUTE: Final = 1_200


def endpoint(
    view: Callable[Concatenate[HttpRequest, P], Answer], methods: Sequence[str] = ("GET", "HEAD")
) -> Callable[..., HttpResponseBase]:
    """An address of the API. It answers who is logged in, with JSON: a script can't do much with a login page."""

    @login_not_required  # the check below says 401 instead of showing a form
    @never_cache
    @wraps(view)
    def answered(request: HttpRequest, *arguments: P.args, **named: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _error(401, "log in first: the API takes a browser's session, or a token (Authorization: Bearer …)")
        if request.method not in methods:
            response = _error(405, f"expected {methods[0]}, got {request.method}")
            response["Allow"] = ", ".join(methods)
            return response
        if wait := rates.wait_seconds(f"api {request.user.pk}", MAX_A_MINUTE):
            response = _error(429, f"expected at most {MAX_A_MINUTE:,} requests a minute; try again in {wait} s")
            response["Retry-After"] = str(wait)
            return response
        if request.method == "POST" and (wait := rates.wait_seconds(f"user {request.user.pk}")):
            response = _error(429, f"expected at most {rates.PER_MINUTE} actions a minute; try again in {wait} s")
            response["Retry-After"] = str(wait)
            return response
        return _tried(lambda: view(request, *arguments, **named))

    return answered


def endpoint_for(
    *methods: str,
) -> Callable[[Callable[Concatenate[HttpRequest, P], Answer]], Callable[..., HttpResponseBase]]:
    """An address that takes these methods."""
    return lambda view: endpoint(view, methods)


def posted(view: Callable[Concatenate[HttpRequest, P], Answer]) -> Callable[..., HttpResponseBase]:
    """An address that changes something: POST alone, with a token, or a session and its CSRF token."""
    return endpoint(view, ("POST",))


def _tried(answer: Callable[[], Answer]) -> HttpResponseBase:
    try:
        given = answer()
    except QueryInvalid as error:
        return _error(400, error.message, **pointed(error))
    except Refused as error:
        return _error(error.status, error.message)
    except Forbidden as error:
        return _error(403, str(error))
    except (ServerUnavailable, GroupBusy) as error:
        return _error(503 if isinstance(error, ServerUnavailable) else 409, str(error))
    except BusError as error:
        return _error(400, str(error))
    return JsonResponse(given) if isinstance(given, dict) else given


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
