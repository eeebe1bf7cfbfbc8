"""`manage.py loginlink`: print another one-time login link for the dashboard that runs on this machine."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from bus.management.base import BusCommand
from dashboard import login


class Command(BusCommand):
    help = "Print a link that logs in once, from this machine, within 15 minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--port", type=int, default=8000, help="where the dashboard listens (default 8000)")

    def handle(self, **options: Any) -> None:
        self.say(link(f"http://127.0.0.1:{options['port']}"))


def link(origin: str) -> str:
    """A fresh login link for the dashboard at `origin`."""
    return f"{origin}/login/link/{login.new_token()}/"
