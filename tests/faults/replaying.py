"""`python -m tests.faults.replaying --letters 100000`: a replay as people start it, while what carries it is killed.

A worker gives every event up, the cause is fixed, and the replay is planned, confirmed and looked at over the API. The
web process, the runner and the server are killed (-9) half-way and come back. Exit code 0: the journal has exactly the
letters of the list, each handed back once, to their own group alone, and the numbers on screen are the journal's.
With --broken the cause is not fixed: the replay must stop after its canary.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import django

from bus.config import Config
from bus.journal import Step
from bus.publisher import Publisher
from bus.streams import connect
from tests.faults.__main__ import program_named
from tests.faults.evidence import Evidence, read_bus
from tests.faults.processes import ROOT, Keeper, Process
from tests.servers import Server

BATCH: Final = 500
TOKEN: Final = "a" * 32  # of forms: the cookie and the header are the same
LOAD_SECONDS: Final = 600.0


class Web:
    """The API as somebody's script sees it: it goes away and comes back."""

    def __init__(self, port: int, session: str) -> None:
        self._base = f"http://127.0.0.1:{port}/api"
        self._headers = {
            "Cookie": f"fanlight_session={session}; fanlight_csrf={TOKEN}",
            "X-CSRFToken": TOKEN,
            "Content-Type": "application/json",
        }

    def ask(self, path: str, said: dict[str, Any] | None = None) -> Any:
        """The answer, or None while nobody answers."""
        data = None if said is None else json.dumps(said).encode()
        request = urllib.request.Request(f"{self._base}{path}", data, self._headers)  # noqa: S310  our own address
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{path}: {error.code} {error.read().decode()[:300]}") from None
        except OSError:
            return None


class Replaying:
    """One run of the proof."""

    def __init__(self, options: argparse.Namespace, folder: Path, server: Server, port: int) -> None:
        self.options = options
        self.folder = folder
        self.killed: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.shown: dict[str, Any] = {}
        self._server = server
        self._port = port
        self._dice = random.Random(options.seed)
        self._config = Config(url=server.url, data_folder=folder, source="proof")
        django_names = {"DJANGO_SETTINGS_MODULE": "tests.faults.settings", "SECRET_KEY": "proof"}
        self.environment = {
            **os.environ, **django_names, "BUS_DATA": str(folder), "BUS_URL": server.url, "PROOF_FOLDER": str(folder),
        }  # fmt: skip
        self.processes = {
            name: Process(name, words, folder=folder, environment=self.environment, ready=ready)
            for name, words, ready in (
                ("recorder", ["recorder"], lambda said: b"recording" in said),
                ("worker", ["worker", "tests.faults.replay_handlers"], lambda said: b"handles" in said),
                ("web", ["web", "--port", str(port)], lambda _said: True),
                ("runner", ["replays"], lambda _said: True),
                ("second runner", ["replays"], lambda _said: True),
            )
        }

    def run(self) -> None:
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "-v0"], cwd=ROOT, env=self.environment, check=True, timeout=120
        )
        os.environ.update(self.environment)
        django.setup()
        (self.folder / "broken").touch()
        with ExitStack() as stack:
            for process in self.processes.values():
                stack.callback(process.end)
            keeper = Keeper(list(self.processes.values()))
            stack.callback(keeper.stop)
            self._timed("making letters", self._make)
            if not self.options.broken:
                (self.folder / "broken").unlink()
            self._timed("replaying", self._replay)

    def _make(self) -> None:
        with closing(Publisher(self._config)) as publisher:
            publisher.declare("orders", 1)
            for first in range(0, self.options.letters, BATCH):
                numbers = range(first, min(first + BATCH, self.options.letters))
                publisher.publish_many([publisher.draft("orders", "order_placed", {"number": n}) for n in numbers])
        self._until(lambda: self._count_dead() >= self.options.letters, "every event given up and recorded")

    def _count_dead(self) -> int:
        from dashboard.models import Delivery  # needs django.setup()

        succeeded = Delivery.objects.filter(group="audit", state="succeeded").count()
        return min(Delivery.objects.filter(state="dead").count(), succeeded)

    def _replay(self) -> None:
        web = Web(self._port, _session())
        plan = self._until(lambda: web.ask("/replays", {"group": "email"}), "a plan")
        terms = {"pace": self.options.pace, "reason": "proof"}
        self._until(lambda: web.ask(f"/replays/{plan['id']}/confirm", terms), "a confirmation")
        due = sorted(
            (self._dice.uniform(0.15, 0.85), name)
            for name in ["web", "runner", "second runner", "server"]
            for _ in range(0 if self.options.broken else 1 if name == "server" else self.options.kills)
        )

        def ended() -> bool:
            self.shown = web.ask(f"/replays/{plan['id']}") or self.shown
            while due and self.shown and self.shown["touched"] >= due[0][0] * self.options.letters:
                self._kill(due.pop(0)[1])
            return bool(self.shown) and self.shown["stage"] != "running" and not self.shown["waiting"]

        self._until(ended, "the end of the replay")

    def _kill(self, name: str) -> None:
        if name == "server":
            self._server.kill()
            self._server.start(seconds=LOAD_SECONDS)
        else:
            self._until(self.processes[name].kill, f"{name} to be killed")
        self.killed[name] += 1

    def findings(self) -> Iterator[str]:
        """What is not as it should be."""
        with closing(connect(self._config)) as client:
            events, journal = read_bus(client)
        told = Evidence(groups={"email", "audit"}, events=events, journal=journal)
        replayed = Counter((one.group, one.entry) for one, record in told.records() if record.step == Step.REPLAYED)
        succeeded = Counter(
            one.entry for one, record in told.records() if record.step == Step.SUCCEEDED and one.group == "email"
        )
        wanted = 11 if self.options.broken else self.options.letters
        if (len(replayed), replayed.total()) != (wanted, wanted):
            yield f"expected {wanted:,} handed back once each, got {len(replayed):,}, {replayed.total():,} times"
        if others := {group for group, _ in replayed} - {"email"}:
            yield f"handed back to {others} too"
        if succeeded.total() != len(succeeded) or len(succeeded) != (0 if self.options.broken else wanted):
            yield f"succeeded: {len(succeeded):,} events, {succeeded.total():,} times"
        ran = Counter((self.folder / "audit.ran").read_text().split())
        if len(ran) != self.options.letters or (ran.total() != len(ran) and not self.killed["server"]):
            yield f"audit ran {ran.total():,} times for {len(ran):,} events"
        numbers = (self.shown["touched"], self.shown["succeeded"], self.shown["missed"])
        if numbers != (replayed.total(), len(succeeded), 0):
            yield f"the screen says {numbers} touched, succeeded, missed"
        if self.options.broken and "Stopped after the canary: 11 of" not in self.shown["told"]:
            yield f"expected it to stop after the canary, it says {self.shown['told']!r}"

    def _timed(self, name: str, work: Callable[[], None]) -> None:
        began = time.monotonic()
        work()
        self.seconds[name] = time.monotonic() - began

    def _until(self, condition: Callable[[], Any], what: str) -> Any:
        from tests.conftest import wait_for

        return wait_for(condition, seconds=self.options.seconds, what=what)


def _session() -> str:
    """A session of an operator."""
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore

    from dashboard.actions import roles
    from dashboard.actions.roles import Role

    user = User.objects.create_user("ann")
    roles.give(user, Role.OPERATOR)
    store = SessionStore()
    store[SESSION_KEY] = str(user.pk)
    store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    store[HASH_SESSION_KEY] = user.get_session_auth_hash()
    store.save()
    return str(store.session_key)


def main(words: list[str]) -> int:
    options = _parser().parse_args(words)
    with tempfile.TemporaryDirectory(prefix="fanlight-replaying-") as folder:
        server = Server(options.server, Path(folder) / "server")
        with server:
            run = Replaying(options, Path(folder), server, options.port)
            run.run()
            wrong = list(run.findings())
    seconds = ", ".join(f"{name} {one:.0f} s" for name, one in run.seconds.items())
    print(f"{options.letters:,} dead letters, {options.pace:,} a second, seed {options.seed}: {seconds}")
    print("killed:", ", ".join(f"{name} {count}" for name, count in run.killed.items()) or "nothing")
    print(f"on screen: {run.shown['stage']}, {run.shown['touched']:,} touched. {run.shown['told']}")
    print("\n".join(wrong) or "the journal says the same; each once, to its own group alone")
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.replaying", description=__doc__)
    parser.add_argument("--letters", type=int, default=2_000, help="how many dead letters (default 2000)")
    parser.add_argument("--pace", type=int, default=1_000, help="letters a second (default 1000)")
    parser.add_argument("--kills", type=int, default=2, help="of web and of each of two runners (default 2)")
    parser.add_argument("--broken", action="store_true", help="the cause is not fixed")
    parser.add_argument("--seed", type=int, default=1, help="decides when what is killed (default 1)")
    parser.add_argument("--port", type=int, default=8467, help="of the web process (default 8467)")
    parser.add_argument("--seconds", type=float, default=1_800, help="patience with each step (default 1800)")
    parser.add_argument("--server", type=program_named, default="valkey-9", help="a name or a path")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
