"""`manage.py up`: everything that one machine needs, as one command: server, database, web, recorder, workers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

import bus
from bus import health, inspect, streams
from bus.config import Config
from bus.management.base import BusCommand
from bus.server import EmbeddedServer
from dashboard.management.commands.loginlink import link
from dashboard.supervisor import Program, Supervisor, interrupt_on_terminate


class Command(BusCommand):
    help = "Run everything on this machine: the server (unless BUS_URL), web, recorder, workers of BUS_HANDLERS."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--port", type=int, default=8000, help="port of the pages (default 8000; 0: a free one)")
        parser.add_argument("--host", default="127.0.0.1", help="address of the pages (default 127.0.0.1)")
        parser.add_argument("--workers", type=int, default=1, help="worker processes (default 1)")

    def handle(self, **options: Any) -> None:
        if not 0 <= options["workers"] <= 64:
            raise CommandError(f"expected --workers to be from 0 to 64, got {options['workers']}")
        interrupt_on_terminate()
        try:
            with ExitStack() as stack:
                listening = stack.enter_context(_listen(options["host"], options["port"]))
                tend = stack.enter_context(self._server(bus.config()))
                self._migrate()
                self._greet(*listening.getsockname())
                Supervisor(self.programs(listening, options), self.say, tend=tend).run()
        except KeyboardInterrupt:
            self.say("stopped before everything had started")
            return
        self.say("stopped; nothing is left running")

    def programs(self, listening: socket.socket, options: dict[str, Any]) -> list[Program]:
        """What to keep running."""
        return [*service_programs(listening), *worker_programs(settings.BUS_HANDLERS, options["workers"])]

    @contextmanager
    def _server(self, config: Config) -> Iterator[Callable[[], None]]:
        """The bus' server while inside; yields what brings the embedded one back when it crashed."""
        if config.url is not None:
            self._say_health(config)
            yield lambda: None
            return
        with EmbeddedServer(config.data_folder, config.durability) as server:
            self.say(f"bus: embedded server, process {server.pid}, {config.durability} durability")
            yield lambda: self._restart_crashed(server)

    def _say_health(self, config: Config) -> None:
        """Away or too old: say so before anything is started. So too what else is wrong."""
        client = streams.connect(config)
        self.say("bus: the server of BUS_URL")
        for finding in health.findings(client.run(inspect.server()), config):
            if finding.level != "fine":
                self.say(f"{finding.level}: {finding.line}")
        client.close()

    def _restart_crashed(self, server: EmbeddedServer) -> None:
        if server.has_crashed():
            self.say("the embedded server ended by itself; starting it again on the same data")
            server.start()

    def _migrate(self) -> None:
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except DatabaseError as error:
            first = str(error).strip().split("\n")[0]
            raise CommandError(
                f"expected a database that answers, got: {first}; check DATABASE_URL, or leave it unset for SQLite"
            ) from None

    def _greet(self, host: str, port: int) -> None:
        self.say(f"data: {settings.DATA_FOLDER}")
        if host.startswith("127.") or host == "0.0.0.0":  # noqa: S104  compared, not bound
            self.say(f"open: {link(f'http://127.0.0.1:{port}')}")
            self.say("      (logs in once, from this machine, within 15 minutes; another: manage.py loginlink)")
        else:
            self.say(f"open: http://{host}:{port}/ as a user of manage.py createsuperuser (see ALLOWED_HOSTS)")
        self.say("Ctrl-C stops everything.")


def service_programs(listening: socket.socket) -> list[Program]:
    """The dashboard's own processes, and the relay where there is an outbox."""
    descriptor = listening.fileno()
    relay = [Program("relay", ["relay"])] if bus.config().outbox else []
    return [
        Program("web", ["web", "--fd", str(descriptor)], descriptors=[descriptor]),
        Program("recorder", ["recorder"]),
        Program("replays", ["replays"]),
        Program("alerts", ["alerts"]),
        *relay,
    ]


def worker_programs(modules: Sequence[str], count: int, environment: Mapping[str, str] | None = None) -> list[Program]:
    """`count` equal worker processes for the handlers of modules; none when there are no modules."""
    names = ["worker"] if count == 1 else [f"worker-{number}" for number in range(1, count + 1)]
    return [Program(name, ["worker", *modules], environment=environment or {}) for name in names if modules]


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything is started; the web process inherits it, so nobody else can have it."""
    if not 0 <= port <= 65535:
        raise CommandError(f"expected --port to be from 0 to 65535, got {port}")
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        raise CommandError(
            f"expected to listen on {host}, port {port}, got: {error.strerror or error};"
            " stop what uses it, or choose another with --port (0: any free one)"
        ) from None
