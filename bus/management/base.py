"""What every command of ours shares: an error of the bus is one line and a non-zero exit, not a traceback."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from bus.errors import BusError, one_line


class BusCommand(BaseCommand):
    """A management command that may raise `BusError`s."""

    requires_migrations_checks = False

    def execute(self, *arguments: Any, **options: Any) -> str | None:
        try:
            return super().execute(*arguments, **options)
        except BusError as error:
            raise CommandError(one_line(error)) from None

    def add_arguments(self, parser: CommandParser) -> None:
        # Taken out of the arguments by manage.py, before the settings are read; named here for --help.
        parser.add_argument("--data", metavar="DIR", help="the data folder (else BUS_DATA, else one a user)")

    def say(self, line: str) -> None:
        """Show progress, at once: whoever reads may be a pipe."""
        self.stdout.write(line)
        self.stdout.flush()
