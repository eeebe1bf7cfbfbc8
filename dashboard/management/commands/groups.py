"""`manage.py groups`: who is behind, by how much, why, and when it will be over."""

from __future__ import annotations

from typing import Any, Final

from django.core.management.base import CommandParser

from dashboard import queries
from dashboard.management.tables import AskingCommand, Columns, figure, span


def _trend(row: dict[str, Any]) -> str:
    if row["lag"] == 0:
        return "–"
    return "?" if row["trend"] is None else f"{row['trend']:+.1f}/s" if abs(row["trend"]) >= 0.05 else "steady"


def _drain(row: dict[str, Any]) -> str:
    return "–" if row["drain_seconds"] is None else span(row["drain_seconds"] * 1000)


COLUMNS: Final[Columns] = (
    ("group", lambda row: row["group"]),
    ("topic", lambda row: row["topic"]),
    ("behind", lambda row: figure(row["lag"])),
    ("oldest", lambda row: span(row["age_ms"]) if row["lag"] != 0 else "–"),
    ("trend", _trend),
    ("over in", _drain),
    ("retrying", lambda row: figure(row["retrying"])),
    ("dead", lambda row: figure(row["dead"])),
    ("workers", lambda row: figure(row["workers"])),
)


class Command(AskingCommand):
    help = "Show every group: how far it is behind, since when, why, and when it will have caught up."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--topic", help="only those of this topic")

    def handle(self, **options: Any) -> None:
        found = queries.groups(options["topic"])
        self.say_rows(found["groups"], COLUMNS, as_json=options["json"])
        for group in [] if options["json"] else found["groups"]:
            if group["lag"] != 0:
                self.say(f"{group['group']} on {group['topic']}: {group['cause']}")
        if not found["available"]:
            self.note(f"the server is away, so what only it knows reads '?': {found['trouble']}")
