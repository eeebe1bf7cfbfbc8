"""`manage.py screenshots`: the README's pictures, made anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from bus.management.base import BusCommand
from dashboard import screenshots


class Command(BusCommand):
    help = "Make the README's pictures anew, from a demo of its own. Needs Playwright and a Chromium."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("names", nargs="*", help=f"which: {' '.join(screenshots.PAGES)} (default: trace)")
        parser.add_argument("--all", action="store_true", help="every page, light and dark")
        parser.add_argument("--folder", type=Path, help="where to (default: static/img)")

    def handle(self, **options: Any) -> None:
        names = tuple(screenshots.PAGES) if options["all"] else tuple(options["names"] or ["trace"])
        if unknown := [name for name in names if name not in screenshots.PAGES]:
            raise CommandError(f"expected some of {', '.join(screenshots.PAGES)}, got {unknown[0]!r}")
        themes = screenshots.THEMES if options["all"] else screenshots.THEMES[:1]
        screenshots.take(options["folder"] or settings.BASE_DIR / "static" / "img", names, themes, self.say)
