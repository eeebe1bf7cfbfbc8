"""`manage.py bench NAME`: measures, on servers of its own, and prints a table with the machine beside it."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from bus.management.base import BusCommand
from dashboard.bench import BENCHES


class Command(BusCommand):
    help = "Measure how fast this is, on servers of its own: nothing of yours is touched."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        names = parser.add_subparsers(dest="bench", required=True, metavar="BENCH")
        for name in BENCHES:
            bench = import_module(f"dashboard.bench.{name}")
            one = names.add_parser(name, help=(bench.__doc__ or "").partition("\n")[0])
            one.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as JSON too")
            bench.add_arguments(one)

    def handle(self, **options: Any) -> None:
        report = import_module(f"dashboard.bench.{options['bench']}").run(options)
        for line in report.lines():
            self.say(line)
        if options["json"]:
            options["json"].write_text(json.dumps(report.as_json(), indent=1) + "\n")
