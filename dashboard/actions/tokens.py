"""Tokens of scripts: a secret that is shown once and kept as its hash, with a role on some topics, until it is revoked.

`BearerMiddleware` lets one in, to the API only: no cookie goes with it, so no other site can act with it.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from bus.errors import BusError
from dashboard.actions import rates
from dashboard.actions.models import Token
from dashboard.actions.roles import Role

PREFIX: Final = "fl_"
USED_EVERY_MS: Final = 60_000  # how exactly it is known when one was used last
MAX_WRONG: Final = 20  # wrong tokens from one address within a minute


class TokenInvalid(BusError):
    """No token can be made or revoked as asked."""


class Bearer:
    """Who a token stands for, where a user is expected."""

    is_authenticated = is_active = has_own_roles_only = True
    is_superuser = is_anonymous = False

    def __init__(self, token: Token) -> None:
        self.pk = f"token {token.pk}"
        self.username = f"token {token.name}"
        self._fanlight_grants = [(token.role, pattern.strip()) for pattern in token.patterns.split(",")]

    def get_username(self) -> str:
        return self.username

    def has_perm(self, _name: str) -> bool:
        """What it may is in its grants."""
        return False


def create(name: str, role: Role, patterns: str, made_by: str) -> str:
    """A new token's secret: the only time that anybody sees it. Raises `TokenInvalid`."""
    secret = PREFIX + secrets.token_urlsafe(32)
    now = int(time.time() * 1000)
    try:
        Token.objects.create(
            name=name, digest=digest(secret), role=int(role), patterns=patterns, made_by=made_by, made_ms=now
        )
    except IntegrityError:
        raise TokenInvalid(f"expected a name that no token has or had, got {name!r}") from None
    return secret


def revoke(name: str) -> None:
    """Let it in no more, from now on. Raises `TokenInvalid`."""
    if not Token.objects.filter(name=name, revoked_ms=0).update(revoked_ms=int(time.time() * 1000)):
        raise TokenInvalid(
            f"expected the name of a token that is valid, got {name!r}; 'manage.py token list' shows them"
        )


def bearer(secret: str) -> Bearer | None:
    """Who the secret stands for; None for nobody."""
    token = Token.objects.filter(digest=digest(secret), revoked_ms=0).first()
    if token is None:
        return None
    now = int(time.time() * 1000)
    if now - token.used_ms > USED_EVERY_MS:
        Token.objects.filter(pk=token.pk).update(used_ms=now)
    return Bearer(token)


def digest(secret: str) -> str:
    """What is kept of a secret. It is looked up by this, so how long that takes says nothing about it."""
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).hexdigest()


class BearerMiddleware:
    """`Authorization: Bearer …` on the API. Behind Django's own authentication, before its check of forms."""

    def __init__(self, following: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._following = following

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        kind, _, secret = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not request.path.startswith("/api/"):
            return self._following(request)
        who = f"wrong tokens {request.META.get('REMOTE_ADDR', '')}"
        found = bearer(secret.strip())
        if found is None:
            wait = rates.wait_seconds(who, MAX_WRONG)
            return _refused(429 if wait else 401, "expected a token that is valid, got one that is unknown or revoked")
        given: Any = request
        given.user = found
        given._dont_enforce_csrf_checks = True  # no browser adds this header by itself
        return self._following(request)


def _refused(status: int, message: str) -> HttpResponseBase:
    response = JsonResponse({"error": {"message": message}}, status=status)
    response["WWW-Authenticate"] = "Bearer"
    return response
