"""Logging in: by name and password, or on this machine by a link that works once.

The link is for whoever can read the data folder: its secret is known only to the terminal that printed it; a
file named by the secret's hash stands for it, and deleting that file, which only one process can, spends it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bus import folder
from dashboard.actions import rates

VALID_SECONDS: Final = 15 * 60
MAX_WRONG: Final = 10
WRONG_SECONDS: Final = 300.0
OPERATOR: Final = "operator"  # who a link logs in: the person at this machine


def new_token() -> str:
    """A fresh secret for a link, valid once, for 15 minutes."""
    _forget_expired()
    token = secrets.token_urlsafe(32)
    folder.write_private(_file(token), str(time.time() + VALID_SECONDS))
    return token


def spend(token: str) -> bool:
    """Use the token up. True for one caller only, and only before it expires."""
    valid = is_valid(token)
    try:
        _file(token).unlink()
    except FileNotFoundError:
        return False
    return valid


def is_valid(token: str) -> bool:
    """Whether the token could be used now."""
    return _expires(_file(token)) > time.time()


def _links() -> Path:
    links = Path(settings.DATA_FOLDER) / "login"
    folder.prepare(links)
    return links


def _file(token: str) -> Path:
    # Looked up by hash: how long that takes says nothing about the secret.
    return _links() / hashlib.sha256(token.encode("utf-8", "backslashreplace")).hexdigest()


def _expires(file: Path) -> float:
    try:
        return float(file.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def _forget_expired() -> None:
    for file in _links().glob("[0-9a-f]" * 64):
        if _expires(file) < time.time():
            file.unlink(missing_ok=True)


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def login_link(request: HttpRequest, token: str) -> HttpResponse:
    """GET shows a form (a preview or prefetch must not spend the link); POST logs in and goes to the overview."""
    if not _is_local(request):
        reason = "A login link works only on the machine that printed it. Log in with name and password instead."
        response = render(request, "login_link.html", {"reason": reason}, status=403)
    elif request.method == "POST" and spend(token):
        login(request, _operator(), backend="django.contrib.auth.backends.ModelBackend")
        response = redirect(settings.LOGIN_REDIRECT_URL)
    elif request.method != "POST" and is_valid(token):
        response = render(request, "login_link.html", {"token": token})
    else:
        reason = "This link was used before, or is older than 15 minutes."
        response = render(request, "login_link.html", {"reason": reason}, status=410)
    return response


def _is_local(request: HttpRequest) -> bool:
    """Whether the browser is on this machine. What came through a proxy could be from anywhere."""
    forwarded = {"HTTP_FORWARDED", "HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP"} & request.META.keys()
    try:
        return not forwarded and ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _operator() -> User:
    user, made = User.objects.get_or_create(username=OPERATOR, defaults={"is_superuser": True})
    if made:
        user.set_unusable_password()
        user.save(update_fields=["password"])
    return user


class ThrottledLogin(LoginView):
    """Name and password; ten wrong ones from one address, or for one name, and both wait for five minutes."""

    redirect_authenticated_user = True

    def post(self, request: HttpRequest, *arguments: Any, **named: Any) -> HttpResponse:
        waits = [rates.wait_seconds(who, MAX_WRONG, WRONG_SECONDS) for who in self._who()]
        if not any(waits):
            return super().post(request, *arguments, **named)
        # Unbound: one that is bound would try the password as soon as it is drawn.
        context = self.get_context_data(form=AuthenticationForm(request), wait_seconds=max(waits))
        return render(request, "registration/login.html", context, status=429)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        for who in self._who():
            rates.forget(who)
        return super().form_valid(form)

    def _who(self) -> tuple[str, str]:
        name = self.request.POST.get("username", "")[:150].lower()
        return f"login from {self.request.META.get('REMOTE_ADDR', '')}", f"login as {name}"


urlpatterns = [
    path("login/", ThrottledLogin.as_view(), name="login"),
    path("login/link/<token>/", login_link, name="login_link"),
    path("logout/", LogoutView.as_view(), name="logout"),
]
