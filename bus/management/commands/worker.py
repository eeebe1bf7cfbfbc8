"""`manage.py worker MODULE...`: run the handlers that modules declare, until told to stop."""

from __future__ import annotations

import importlib
import signal
from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

import bus
from bus.management.base import BusCommand


class Command(BusCommand):
    help = "Run the handlers that the modules declare with @bus.subscribe. Ctrl-C or SIGTERM finishes what runs."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("modules", nargs="*", help="modules to import (default: BUS_HANDLERS)")
        parser.add_argument("--groups", help="only these groups, comma-separated (default: all)")

    def handle(self, **options: Any) -> None:
        import_modules(options["modules"] or getattr(settings, "BUS_HANDLERS", []))
        groups = [name.strip() for name in (options["groups"] or "").split(",") if name.strip()]
        worker = bus.Worker(groups=groups or None)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: worker.stop())
        self.say(f"worker of {_summary(groups)}; Ctrl-C lets running handlers finish")
        worker.run()
        self.say("worker stopped; nothing of it is pending")


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


def _summary(groups: Sequence[str]) -> str:
    """What the worker will handle, in words. Raises `SubscriptionInvalid` for a group that nobody subscribed."""
    handled = bus.subscriptions().groups(groups or None)
    names = {group for _, group in handled}
    topics = {topic for topic, _ in handled}
    return f"{len(names)} groups on {len(topics)} topics"
