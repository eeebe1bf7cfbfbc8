"""The dashboard's own settings, with a data folder that no person uses."""

from __future__ import annotations

import os
import tempfile

os.environ["BUS_DATA"] = tempfile.mkdtemp(prefix="fanlight-tests-")  # removed by tests/conftest.py
for name in (
    "BUS_URL",
    "DATABASE_URL",
    "BUS_HANDLERS",
    "DEBUG",
    "HTTPS",
    "ALLOWED_HOSTS",
    "MASKED_NAMES",
    "KEEP_EVENTS",
    "KEEP_DAYS",
    "KEEP_SIZE",
    "DEFAULT_ROLE",
    "ALERT_WEBHOOKS",
    "ALERT_WEBHOOK_SECRET",
    "ALERT_EMAILS",
    "PUBLIC_URL",
):
    os.environ.pop(name, None)  # whatever the shell has set, tests start from the defaults

if other := os.environ.get("TEST_DATABASE_URL"):  # tests/on_postgres.py says so
    os.environ["DATABASE_URL"] = other

from dashboard.settings import *  # noqa: E402, F403  the point of this module

DEFAULT_ROLE = "payload viewer"  # pages show all that they have, unless a test is about roles
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # logins by the hundred
# A file, as in production: of a database in memory, threads lock each other out instead of waiting.
if other:
    DATABASES["default"]["CONN_MAX_AGE"] = 0  # noqa: F405  threads of tests end, and leave none open
else:
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(os.environ["BUS_DATA"], "tests.sqlite3")}  # noqa: F405
