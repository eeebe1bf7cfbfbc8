"""Logging in: nothing is anonymous; a link works once, on this machine, for a while."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLPattern, get_resolver, reverse

from dashboard import login

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def links(settings: Any, tmp_path: Path) -> Path:
    settings.DATA_FOLDER = tmp_path
    return tmp_path / "login"


def url_of(token: str) -> str:
    return reverse("login_link", args=[token])


def is_logged_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_a_link_logs_the_operator_in(client: Client) -> None:
    response = client.post(url_of(login.new_token()))
    assert (response.status_code, response["Location"]) == (302, "/")
    assert client.session["_auth_user_id"] == str(User.objects.get(username="operator").pk)
    assert not User.objects.get(username="operator").has_usable_password()


def test_looking_at_a_link_changes_nothing(client: Client) -> None:
    token = login.new_token()
    for _ in range(2):
        response = client.get(url_of(token))
        assert response.status_code == 200
        assert re.search(r'<form method="post"', response.content.decode())
    assert not is_logged_in(client)
    assert client.post(url_of(token)).status_code == 302


def test_a_link_works_once(client: Client) -> None:
    token = login.new_token()
    client.post(url_of(token))
    other = Client()
    assert other.post(url_of(token)).status_code == 410
    assert other.get(url_of(token)).status_code == 410
    assert not is_logged_in(other)


def test_of_many_who_use_a_link_at_once_one_gets_in() -> None:
    token = login.new_token()
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(login.spend, [token] * 64)) == 1


def test_a_link_expires(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    token = login.new_token()
    later = time.time() + login.VALID_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    assert client.post(url_of(token)).status_code == 410
    assert not is_logged_in(client)


def test_expired_links_are_forgotten(links: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login.new_token()
    later = time.time() + login.VALID_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    login.new_token()
    assert len(list(links.iterdir())) == 1


@pytest.mark.parametrize("token", ["nonsense", "x" * 5000, "%00", "..", "ü"])
def test_a_made_up_link_is_refused(client: Client, token: str) -> None:
    assert client.post(url_of(token)).status_code == 410


@pytest.mark.parametrize(
    "seen",
    [
        {"REMOTE_ADDR": "192.0.2.7"},
        {"HTTP_X_FORWARDED_FOR": "192.0.2.7"},
        {"REMOTE_ADDR": ""},
        {"REMOTE_ADDR": "unix:"},
    ],
)
def test_a_link_is_refused_from_elsewhere_and_stays_valid(client: Client, seen: dict[str, str]) -> None:
    token = login.new_token()
    assert client.post(url_of(token), **seen).status_code == 403  # type: ignore[arg-type]
    assert client.get(url_of(token), **seen).status_code == 403  # type: ignore[arg-type]
    assert login.is_valid(token)


def test_a_form_from_another_site_does_not_log_in() -> None:
    strict = Client(enforce_csrf_checks=True)
    token = login.new_token()
    assert strict.post(url_of(token)).status_code == 403
    assert login.is_valid(token)


def test_the_secret_is_nowhere_in_the_data_folder(links: Path) -> None:
    token = login.new_token()
    (file,) = links.iterdir()
    assert token not in file.name + file.read_text()
    assert file.stat().st_mode & 0o077 == 0


def test_the_link_is_kept_out_of_caches_and_referrers(client: Client) -> None:
    response = client.get(url_of(login.new_token()))
    assert response["Referrer-Policy"] == "same-origin"
    assert "no-store" in response["Cache-Control"]


def test_a_user_logs_in_by_password_and_out_again(client: Client) -> None:
    User.objects.create_user("ann", password="correct horse")
    assert client.post(reverse("login"), {"username": "ann", "password": "wrong"}).status_code == 200
    assert not is_logged_in(client)
    assert client.post(reverse("login"), {"username": "ann", "password": "correct horse"}).status_code == 302
    assert is_logged_in(client)
    assert client.get(reverse("logout")).status_code == 405
    assert client.post(reverse("logout")).status_code == 302
    assert not is_logged_in(client)


def test_a_login_goes_on_to_this_site_only(client: Client) -> None:
    User.objects.create_user("ann", password="correct horse")
    data = {"username": "ann", "password": "correct horse", "next": "https://elsewhere.example/"}
    assert client.post(reverse("login"), data)["Location"] == "/"


def patterns() -> list[URLPattern]:
    return [pattern for pattern in get_resolver().url_patterns if isinstance(pattern, URLPattern)]


def test_no_page_is_anonymous_but_the_ways_in(client: Client) -> None:
    for pattern in patterns():
        values = dict.fromkeys(pattern.pattern.converters or pattern.pattern.regex.groupindex, "topics")
        values |= {name: "1" for name, kind in pattern.pattern.converters.items() if kind.regex == "[0-9]+"}
        if pattern.name in ("login", "login_link", "logout"):
            continue
        response = client.get(reverse(str(pattern.name), kwargs=values))
        assert response.status_code == 302, pattern.name
        assert response["Location"].startswith("/login/"), pattern.name


def test_every_page_carries_the_policy(client: Client) -> None:
    response = client.get(reverse("login"))
    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
