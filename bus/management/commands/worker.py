"""`manage.py worker MODULE...`: run the handlers that modules declare, until told to stop."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Sequence
from typing import Any, Protocol

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

import bus
from bus import projections
from bus.garbage import collect_rarely
from bus.management.base import BusCommand
from bus.projector import Projector


class Command(BusCommand):
    help = "Run the handlers and projections that the modules declare. Ctrl-C or SIGTERM finishes what runs."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("modules", nargs="*", help="modules to import (default: BUS_HANDLERS)")
        parser.add_argument("--groups", help="only these groups, comma-separated (default: all)")

    def handle(self, **options: Any) -> None:
        import_modules(options["modules"] or getattr(settings, "BUS_HANDLERS", []))
        groups = [name.strip() for name in (options["groups"] or "").split(",") if name.strip()]
        crew = [bus.Worker(groups=groups or None)] if groups or bus.subscriptions().groups() else []
        declared = [] if groups else projections.registry.wanted()
        runners: list[Runner] = [*crew, *([Projector(bus.config(), declared)] if declared else [])]
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop(runners))
        self.say(f"worker of {_summary(groups, len(declared))}; Ctrl-C lets running handlers finish")
        collect_rarely()
        run_together(runners or [bus.Worker()])  # which says what is missing
        self.say("worker stopped; nothing of it is pending")


class Runner(Protocol):
    """What runs until it is told to stop."""

    def run(self) -> None: ...
    def stop(self) -> None: ...


def run_together(runners: Sequence[Runner]) -> None:
    """Run the first in this thread, the others beside it; when one ends, all do. Raises what the first failure was."""
    failures: list[BaseException] = []

    def run(runner: Runner) -> None:
        try:
            runner.run()
        except BaseException as error:  # noqa: BLE001  raised below, once the others have ended
            failures.append(error)
        stop(runners)

    threads = [threading.Thread(target=run, args=[runner], daemon=True) for runner in runners[1:]]
    for thread in threads:
        thread.start()
    run(runners[0])
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def stop(runners: Sequence[Runner]) -> None:
    """Let all of them end."""
    for runner in runners:
        runner.stop()


def import_modules(names: Sequence[str]) -> None:
    """Import the modules, for the subscriptions that they declare."""
    if not names:
        raise CommandError("expected a module that declares handlers, got none; name one, or set BUS_HANDLERS")
    for name in names:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and (name == error.name or name.startswith(f"{error.name}.")):
                raise CommandError(
                    f"expected a module that declares handlers, got {name!r}, which can't be found;"
                    " write it as in an import, for example shop.handlers"
                ) from None
            raise


def _summary(groups: Sequence[str], projections_count: int) -> str:
    """What the worker will handle, in words. Raises `SubscriptionInvalid` for a group that nobody subscribed."""
    handled = bus.subscriptions().groups(groups or None)
    names = {group for _, group in handled}
    topics = {topic for topic, _ in handled}
    beside = f" and {projections_count} projections" if projections_count else ""
    return f"{len(names)} groups on {len(topics)} topics{beside}"
