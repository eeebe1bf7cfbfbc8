"""`manage.py dead`: dead letters by what went wrong, the most frequent first."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import CommandParser

from dashboard import queries
from dashboard.management.tables import AskingCommand, Columns, figure, moment

COLUMNS: Final[Columns] = (
    ("count", lambda row: figure(row["count"])),
    ("first (UTC)", lambda row: moment(row["first_ms"])),
    ("last (UTC)", lambda row: moment(row["last_ms"])),
    ("groups", lambda row: ", ".join(f"{one['group']} {one['count']:,}" for one in row["groups"])),
    ("newest event", lambda row: row["example"]["id"] if row["example"] else "–"),
    ("error", lambda row: row["error"]),
)


class Command(AskingCommand):
    help = "Show dead letters by error: how many, since when, of which groups, and one event to look at."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--topic", help="only those of this topic")
        parser.add_argument("--group", help="only those of this group")

    def handle(self, **options: Any) -> None:
        found = queries.dead_letters(topic=options["topic"], group=options["group"])
        self.say_rows(found["kinds"], COLUMNS, as_json=options["json"])
        if not found["is_complete"]:
            of = "" if found["total"] is None else f" of {found['total']:,}"
            self.note(f"counted the newest {found['searched']:,}{of} dead letters")
        if found["of_kinds"] > len(found["kinds"]):
            self.note(f"{len(found['kinds'])} of {found['of_kinds']:,} kinds of error are shown")
