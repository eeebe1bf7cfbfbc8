"""`manage.py project [NAME...]`: bring projections up to date, with progress, and end."""

from __future__ import annotations

import signal
import time
from typing import Any, Final

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

import bus
from bus import projections
from bus.management.base import BusCommand
from bus.management.commands.worker import import_modules
from bus.projector import Build, Projector, refusal

SAY_SECONDS: Final = 1.0


class Command(BusCommand):
    help = "Build projections up to the end of their topics, with progress, and hand over to them. Ctrl-C: go on later."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("names", nargs="*", help="projections (default: all that the modules declare)")
        parser.add_argument("--modules", help="modules to import, comma-separated (default: BUS_HANDLERS)")
        parser.add_argument(
            "--accept-missing",
            action="store_true",
            help="hand over even to a version that lacks events which the topic no longer has",
        )

    def handle(self, **options: Any) -> None:
        named = [name.strip() for name in (options["modules"] or "").split(",") if name.strip()]
        import_modules(named or getattr(settings, "BUS_HANDLERS", []))
        wanted = projections.registry.wanted(options["names"])
        if not wanted:
            raise CommandError("expected a projection, got none; name a module that declares one with @bus.projection")
        projector = Projector(bus.config(), wanted, accept_missing=options["accept_missing"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: projector.stop())
        try:
            self._build(projector)
        finally:
            projector.close()
        if projector.is_stopping:
            self.say("stopped; the next run goes on from here")

    def _build(self, projector: Projector) -> None:
        next_word = time.monotonic() + SAY_SECONDS
        while not projector.is_stopping:
            projector.turn()
            if any(build.refused for build in projector.builds):
                raise CommandError("; ".join(refusal(build) for build in projector.builds if build.refused))
            done = all(build.live or not build.parts for build in projector.builds)
            if done or time.monotonic() >= next_word:
                next_word = time.monotonic() + SAY_SECONDS
                for build in projector.builds:
                    self.say(progress(build))
            if done:
                return


def progress(build: Build) -> str:
    """How far it is, as a line."""
    if not build.parts:
        return f"{build.projection}: left alone, a higher version is live"
    behind = sum(part.place.number for part in build.parts)
    total = max(sum(part.added for part in build.parts), behind)
    missing = sum(part.place.missing for part in build.parts)
    lacking = f", {missing:,} of them gone before they were read" if missing else ""
    state = "live" if build.live else f"building, {behind * 100 // max(total, 1)} %"
    fails = any(part.failing for part in build.parts)
    waiting = ", waits for a handler that fails (see the log)" if fails else ""
    return f"{build.projection}: {state}, {behind:,} of {total:,} events{lacking}{waiting}"
