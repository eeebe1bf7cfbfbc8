"""`manage.py events [QUERY]`: the events that a query asks for, and with `--follow` those that come."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from django.core.management.base import CommandError, CommandParser

from dashboard import queries
from dashboard.management.tables import AskingCommand, Columns, json_line, moment, table, underlined, widths_of
from dashboard.queries.follow import Follower
from dashboard.queries.search import MAX_PER_PAGE

EVERY_SECONDS: Final = 0.5
MAX_EVENTS: Final = 100_000
COLUMNS: Final[Columns] = (
    ("published (UTC)", lambda row: moment(row["at_ms"])),
    ("topic", lambda row: row["topic"]),
    ("type", lambda row: row["type"] or "–"),
    ("key", lambda row: row["key"] or "–"),
    ("event", lambda row: row["id"]),
    ("outcome", lambda row: outcome(row["lanes"])),
)
WIDTHS: Final = (23, 12, 20, 12, 36, 0)  # of a table that never ends


def outcome(lanes: Sequence[dict[str, str]]) -> str:
    """Who has not got it first, then how many have."""
    open_lanes = [f"{lane['group']}: {lane['label']}" for lane in lanes if lane["state"] != "succeeded"]
    done = len(lanes) - len(open_lanes)
    return ", ".join([*open_lanes, f"{done} succeeded"] if done else open_lanes) or "no group"


class Command(AskingCommand):
    help = "Show the events that a query asks for, newest first: events 'type:order_placed payload.total>100 since:1h'"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("query", nargs="*", help="in quotes; README, 'Ask the record', has the language")
        parser.add_argument("--limit", type=int, default=50, help="at most so many (default 50; at most 100,000)")
        parser.add_argument(
            "--follow", action="store_true", help="then show new ones as they are recorded, oldest first"
        )

    def handle(self, **options: Any) -> None:
        text = " ".join(options["query"])
        if not 1 <= options["limit"] <= MAX_EVENTS:
            raise CommandError(f"expected --limit to be from 1 to {MAX_EVENTS:,}, got {options['limit']}")
        try:
            query = queries.parse(text)
            if options["follow"]:
                self._follow(query, text, limit=options["limit"], as_json=options["json"])
            else:
                self._show(query, limit=options["limit"], as_json=options["json"])
        except queries.QueryInvalid as error:
            raise underlined(error) from None

    def _show(self, query: queries.Query, *, limit: int, as_json: bool) -> None:
        mark: str | None = None
        widths: Sequence[int] | None = None  # of the first page: the next ones have no head of their own
        while True:
            page = queries.search(query, mark=mark, limit=min(limit, MAX_PER_PAGE))
            if page["rows"]:
                self.say_rows(page["rows"], COLUMNS, as_json=as_json, widths=widths)
                widths = widths or widths_of(page["rows"], COLUMNS)
            elif widths is None and not page["next"]:
                self.note("no event matches")
            limit, mark = limit - page["total_shown"], page["next"]
            self._note(page, is_last=not mark or not limit)
            if not mark or not limit:
                return

    def _note(self, page: dict[str, Any], *, is_last: bool) -> None:
        if searched := page["searched"]:
            of = f" of {searched['of']:,}" if searched["of"] else ""
            self.note(f"searched {searched['count']:,}{of} events, back to {moment(searched['to_ms'])}")
        elif is_last and page["next"]:
            self.note("there are more: --limit shows them")
        if page["unreadable"]:
            self.note(f"{page['unreadable']:,} left out: their data was not kept whole")

    def _follow(self, query: queries.Query, text: str, *, limit: int, as_json: bool) -> None:
        follower = Follower(query)
        self._say_each(follower.begin(min(limit, MAX_PER_PAGE)), as_json=as_json)
        self.note(f"following {text or 'every event'}; Ctrl-C ends")
        try:
            while True:
                time.sleep(EVERY_SECONDS)
                for rows in follower.fresh():
                    self._say_each(rows, as_json=as_json)
        except KeyboardInterrupt:
            return

    def _say_each(self, rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
        for line in map(json_line, rows) if as_json else table(rows, COLUMNS, widths=WIDTHS):
            self.say(line)
