"""Django's settings. Everything that differs between machines comes from the environment (README, "Settings")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from bus.config import default_data_folder
from dashboard import environment

BASE_DIR = Path(__file__).resolve().parent.parent

# Options of the bus, as `bus/config.py` lists them. What is not named here: BUS_URL, BUS_DATA, then the default.
BUS: dict[str, Any] = {"source": "fanlight"}
# Modules that declare subscriptions; `manage.py up` runs a worker for them, `manage.py worker` takes them as default.
BUS_HANDLERS = environment.listed("BUS_HANDLERS", default=[])

DATA_FOLDER = Path(BUS.get("data_folder") or os.environ.get("BUS_DATA") or default_data_folder())

# Names of values that are secrets, beside those of dashboard/record/masking.py: never stored, never shown.
MASKED_NAMES = environment.listed("MASKED_NAMES", default=[])

# How much of the past the pages keep: events, days (ten times as long what still needs somebody), and bytes of the
# database, 0 for any.
KEEP_EVENTS = environment.number("KEEP_EVENTS", default=1_000_000)
KEEP_DAYS = environment.number("KEEP_DAYS", default=7)
KEEP_SIZE = environment.size("KEEP_SIZE", default=0)
# What a user may who was given no role: viewer, payload viewer, operator or admin.
DEFAULT_ROLE = environment.one_of("DEFAULT_ROLE", ("viewer", "payload viewer", "operator", "admin"))

# Who is told of alerts: addresses that get a POST, signed with the secret, and mailboxes (by Django's mail settings).
ALERT_WEBHOOKS = environment.addresses("ALERT_WEBHOOKS")
ALERT_WEBHOOK_SECRET = environment.text("ALERT_WEBHOOK_SECRET")
ALERT_EMAILS = environment.listed("ALERT_EMAILS", default=[])
PUBLIC_URL = environment.text("PUBLIC_URL").rstrip("/")
EMAIL_HOST = environment.text("EMAIL_HOST") or "localhost"
EMAIL_PORT = environment.number("EMAIL_PORT", default=25)
EMAIL_HOST_USER = environment.text("EMAIL_HOST_USER")
EMAIL_HOST_PASSWORD = environment.text("EMAIL_HOST_PASSWORD")
EMAIL_USE_TLS = environment.flag("EMAIL_USE_TLS", default=False)
DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM") or "fanlight@localhost"

DEBUG = environment.flag("DEBUG", default=False)
SECRET_KEY = environment.secret_key(DATA_FOLDER)
ALLOWED_HOSTS = environment.listed("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = environment.listed("CSRF_TRUSTED_ORIGINS", default=[])

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "channels",
    "django_htmx",
    "dashboard",  # before the bus: its `replay` knows more
    "bus",
    "dashboard.shop",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "dashboard.actions.tokens.BearerMiddleware",  # a script's token, on the API only
    "dashboard.actions.sight.SeenTopics",  # topics that somebody may not see are not there
    "django.contrib.auth.middleware.LoginRequiredMiddleware",  # no page is anonymous unless it says so
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "dashboard.urls"
ASGI_APPLICATION = "dashboard.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "dashboard.views.system.alarms",
            ],
        },
    },
]

DATABASES = {"default": environment.database(DATA_FOLDER / "fanlight.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True  # served from the checkout: no collectstatic between `git pull` and a page
WHITENOISE_AUTOREFRESH = DEBUG

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Set HTTPS=1 behind a TLS proxy: cookies then never travel in the clear. A loopback demo has no TLS.
HTTPS = environment.flag("HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SESSION_COOKIE_NAME = "fanlight_session"  # cookies ignore ports: another Django on localhost must not log us out
CSRF_COOKIE_NAME = "fanlight_csrf"
SESSION_COOKIE_HTTPONLY = True
CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF],
        "font-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {
            "()": "dashboard.log_lines.Lines",
            "format": "{asctime} {levelname:<7} {name}: {message}",
            "style": "{",
            "datefmt": "%Y-%m-%d %H:%M:%S",
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "bus": {"level": os.environ.get("LOG_LEVEL", "INFO")},
        "dashboard": {"level": os.environ.get("LOG_LEVEL", "INFO")},
        "django.request": {"level": "ERROR"},  # a 404 is not news
        "daphne": {"level": "WARNING"},
    },
}
