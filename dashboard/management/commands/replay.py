"""`manage.py replay TOPIC GROUP`: as the bus has it; with --pace or --canary a replay like those of the page.

Without the two it asks the bus alone, so it works when the database is away. With them it is planned, recorded and
carried out by `manage.py replays`, while this shows how it stands; Ctrl-C leaves it running.
"""

from __future__ import annotations

import time
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from bus.management.commands import replay
from bus.management.groups import connected, operator, partitions_of
from dashboard.actions.audit import Actor
from dashboard.models import Delivery
from dashboard.replays import desk, shaped
from dashboard.replays.desk import Terms
from dashboard.replays.models import Replay, Stage
from dashboard.replays.plan import Asked
from dashboard.views.replays import WORDS

LOOK_SECONDS: Final = 0.5
SAY_SECONDS: Final = 2.0


class Command(replay.Command):
    help = replay.Command.help

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--pace", type=int, help=f"so many a second, at most {desk.MAX_PACE:,}; on record")
        parser.add_argument("--canary", action="store_true", help="1, then 10, then the rest; stops if one fails")
        parser.add_argument("--superseded", action="store_true", help="with --pace or --canary: replay those too")
        parser.add_argument("--reason", default="", help="with --pace or --canary: why, for the record")

    def handle(self, **options: Any) -> None:
        if options["pace"] is None and not options["canary"]:
            super().handle(**options)
            return
        if options["limit"]:
            raise CommandError("expected --limit without --pace and --canary; leave one of them out")
        with connected() as client:
            partitions_of(client, options["topic"])
        planned = desk.plan(operator(), _asked(options))
        for fate, count in sorted(desk.counts(planned).items()):
            self.say(f"{count:,} {WORDS[fate]}")
        if said := shaped.sentence(shaped.compared(planned)):
            self.say(said)
        if options["dry_run"]:
            return
        terms = Terms(
            options["pace"] or desk.USUAL_PACE, canary=options["canary"], superseded=options["superseded"],
            reason=options["reason"],
        )  # fmt: skip
        self._watch(desk.confirm(Actor(operator(), "command line"), planned, terms))

    def _watch(self, running: Replay) -> None:
        self.say(f"replay {running.pk} runs; Ctrl-C only stops looking, the page of dead letters can cancel it")
        said, next_line = "", 0.0
        while running.stage == Stage.RUNNING or running.waiting:
            time.sleep(LOOK_SECONDS)
            running.refresh_from_db()
            line = desk.summary(running)
            if line != said and time.monotonic() >= next_line:
                said, next_line = line, time.monotonic() + SAY_SECONDS
                self.say(line)
        self.say(desk.summary(running))
        if running.stage != Stage.DONE or running.same_error or running.new_error:
            raise CommandError(f"replay {running.pk} ended {running.stage}; not all succeeded")


def _asked(options: dict[str, Any]) -> Asked:
    kind = options["fingerprint"] or ""
    if options["error"] and not kind:
        dead = Delivery.objects.filter(state="dead", group=options["group"], error__startswith=options["error"])
        kinds = set(dead.values_list("fingerprint", flat=True)[:1_000])
        if len(kinds) != 1:
            raise CommandError(f"expected --error to mean one kind, got {len(kinds)}; name it by --fingerprint")
        kind = kinds.pop()
    return Asked(topic=options["topic"], group=options["group"], error=kind)
