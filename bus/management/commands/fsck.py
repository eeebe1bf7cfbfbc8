"""`manage.py fsck`: check that the bus agrees with itself; `--repair` mends what can be rebuilt."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

import bus
from bus import fsck
from bus.management.base import BusCommand
from bus.streams import connect, resolve, shown


class Command(BusCommand):
    help = "Check every group's pending list and indexes. Safe while workers run; exits with 1 when something is wrong."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--repair", action="store_true", help="mend what is wrong, each as it is found")

    def handle(self, **options: Any) -> None:
        client = connect(bus.config())
        self.say(f"checking the bus at {shown(resolve(bus.config()))}")
        count = 0
        for problem in fsck.check(client, repair=options["repair"]):
            count += 1
            place = f"{problem.topic}/{problem.partition} {problem.group}"
            self.say(f"{place}: {ascii(problem.which)[1:-1]}: {problem.what}")
        client.close()
        if count and not options["repair"]:
            raise CommandError(f"{count} problems; run it again with --repair to mend them")
        self.say(f"{count} problems mended" if count else "no problem found")
