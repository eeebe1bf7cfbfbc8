"""`manage.py recorder`: keep the database up to date with the bus, until told to stop; or make it anew, once."""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser
from django.db import Error as DatabaseError

import bus
from bus import server
from bus.errors import ServerError, one_line
from bus.garbage import collect_rarely
from bus.management.base import BusCommand
from bus.server import EmbeddedServer
from bus.streams import connect
from dashboard.record.rebuild import Progress, Rebuild
from dashboard.recorder import Recorder

SAY_SECONDS: Final = 1.0


class Command(BusCommand):
    help = "Turn the bus' journal into the rows that pages show. Ctrl-C or SIGTERM stores what was read, then stops."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--rebuild", action="store_true", help="make all rows anew from the streams, beside those in use, then end"
        )
        parser.add_argument(
            "--from-scratch", action="store_true", help="with --rebuild: lose rows of what the streams no longer hold"
        )

    def handle(self, **options: Any) -> None:
        collect_rarely()
        if options["rebuild"]:
            self._rebuild(from_scratch=options["from_scratch"])
            return
        if options["from_scratch"]:
            raise CommandError("expected --from-scratch together with --rebuild; add it, or leave both out to record")
        recorder = Recorder(connect(bus.config()))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: recorder.stop())
        recorder.run()

    def _rebuild(self, *, from_scratch: bool) -> None:
        config = bus.config()
        with ExitStack() as stack:
            if config.url is None and server.address(config.data_folder) is None:  # `up` is stopped
                stack.enter_context(EmbeddedServer(config.data_folder, config.durability))
            rebuild = Rebuild(connect(config))
            rebuild.check(from_scratch=from_scratch)
            self._next_line = 0.0
            try:
                done = rebuild.run(self._tell)
            except (ServerError, DatabaseError, KeyboardInterrupt) as error:
                why = one_line(error) or "interrupted"
                raise CommandError(f"{why}; the rows are as they were before") from None
        self.say(f"rebuilt from {done.done:,} entries of the streams")

    def _tell(self, progress: Progress) -> None:
        if time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + SAY_SECONDS
            self.say(f"{progress.percent:3d} %  {progress.done:,} of {progress.total:,} entries")
