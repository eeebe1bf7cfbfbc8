"""`manage.py rewind TOPIC GROUP --to WHERE`: move a group's position, back or forth, while its workers run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandParser

from bus import control, positions
from bus.event import entry_ms
from bus.keys import Keys
from bus.management.groups import Act, GroupCommand, Keeper, operator
from bus.streams import Client


class Command(GroupCommand):
    help = (
        "Move a group: back, and its events come anew; forth, and what lies between never comes. Waits for what runs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--to",
            required=True,
            metavar="WHERE",
            help="earliest, latest, -100 or +100 (events), 15m, 2h or 3d (ago), a time (2026-01-31T08:00),"
            " or an entry (1763000000000-0: what follows it comes next)",
        )
        parser.add_argument("--reason", default="", help="why")
        parser.add_argument("--dry-run", action="store_true", help="only say what would happen")

    def act(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> None:
        act = Act("rewind", options["topic"], options["group"], options["reason"], {"to": options["to"]})
        with nullcontext() if options["dry_run"] else Keeper.keep(act):
            act.told = "; ".join(self._moved(client, partitions, options))

    def _moved(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> Iterator[str]:
        group = options["group"]
        wanted = positions.parse(options["to"], now=datetime.now(UTC))
        for keys in partitions:
            before = client.run(positions.position_of(keys, group))
            after = positions.resolve(client, keys, before, wanted)
            if not options["dry_run"]:
                moved = control.move(client, keys, group, after, who=operator(), reason=options["reason"])
                before, after = moved.before, moved.after
            line = _told(client, keys, before, after, dry_run=options["dry_run"])
            self.say(line)
            yield line


def _told(client: Client, keys: Keys, before: str, after: str, *, dry_run: bool) -> str:
    forth = positions.is_older(before, after)
    low, high = (before, after) if forth else (after, before)
    count, exact = positions.count_between(client, keys, low, high)
    number = f"{count:,} events" if exact else f"over {count:,} events"
    what = "passed over" if forth else "delivered anew"
    words = f"{number} {'would be' if dry_run else 'will be' if not forth else 'are'} {what}"
    return f"{keys.topic}/{keys.partition}: {_shown(before)} → {_shown(after)}: {words}"


def _shown(entry: str) -> str:
    ms = entry_ms(entry)
    return f"{entry} ({datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC)" if 0 < ms < 2**42 else entry
