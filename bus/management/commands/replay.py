"""`manage.py replay TOPIC GROUP`: hand dead letters back to the group that gave them up, and to no other."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.core.management.base import CommandError, CommandParser

import bus
from bus import operations, tail
from bus.errors import TopicInvalid
from bus.event import check_topic
from bus.keys import Keys
from bus.management.base import BusCommand
from bus.operations import DeadLetter
from bus.streams import Client, connect


class Command(BusCommand):
    help = (
        "Hand a group's dead letters back to it, oldest first. Stopped half-way it can be run again: none is doubled."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("topic", help="for example orders")
        parser.add_argument("group", help="for example email")
        parser.add_argument("--error", help="only those that failed with this class, for example TimeoutError")
        parser.add_argument("--limit", type=int, default=0, help="at most so many (default: all)")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be replayed")

    def handle(self, **options: Any) -> None:
        client = connect(bus.config())
        try:
            self._replay(client, **options)
        finally:
            client.close()

    def _replay(self, client: Client, **options: Any) -> None:
        if options["limit"] < 0:
            raise CommandError(f"expected --limit to be 0 (all) or more, got {options['limit']}")
        topic, group = check_topic(options["topic"]), options["group"]
        replayed, gone = 0, 0
        for keys in self._partitions(client, topic):
            left = options["limit"] - replayed if options["limit"] else None
            for letters in _batches(client, keys, options, left):
                for letter in letters if options["dry_run"] else ():
                    self.say(f"{letter.event.id} {letter.event.type}: {ascii(letter.failure.error_class)[1:-1]}")
                result = self._hand_back(client, keys, group, letters, dry_run=options["dry_run"])
                replayed, gone = replayed + result.done, gone + len(result.gone)
        self.say(f"{replayed} dead letters {'would be replayed' if options['dry_run'] else 'replayed'} to {group}")
        if gone:
            raise CommandError(f"{gone} could not be replayed, their events have left the stream; publish them anew")

    def _partitions(self, client: Client, topic: str) -> list[Keys]:
        known = client.run(tail.partitions(client.config.prefix))
        if topic not in dict(known):
            names = ", ".join(sorted(dict(known))) or "none"
            raise TopicInvalid(f"expected a topic that exists ({names}), got {topic!r}")
        return [Keys(client.config.prefix, topic, number) for name, number in known if name == topic]

    def _hand_back(
        self, client: Client, keys: Keys, group: str, letters: list[DeadLetter], *, dry_run: bool
    ) -> operations.Replayed:
        if dry_run:
            return operations.Replayed(len(letters), [])
        ordered = client.run(operations.keeps_order(keys, group))
        ids = [letter.id for letter in letters]
        return client.run(operations.replay(keys, group, ids, who="manage.py replay", ordered=ordered))


def _batches(client: Client, keys: Keys, options: dict[str, Any], left: int | None) -> Iterator[list[DeadLetter]]:
    """Dead letters that match, in batches that one operation takes; those that are there when it is their turn."""
    matching = (
        letter
        for letter in _letters(client, keys, options["group"])
        if options["error"] in (None, letter.failure.error_class)
    )
    wanted = islice(matching, left)
    while batch := list(islice(wanted, operations.MAX_BATCH)):
        yield batch


def _letters(client: Client, keys: Keys, group: str) -> Iterator[DeadLetter]:
    after = ""
    while letters := client.run(operations.dead_letters(keys, group, after=after)):
        yield from letters
        after = letters[-1].id
