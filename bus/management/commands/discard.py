"""`manage.py discard TOPIC GROUP`: put a group's dead letters aside, or bring them back."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandParser

from bus import control
from bus.keys import Keys
from bus.management.groups import Act, Keeper, LettersCommand, operator
from bus.streams import Client


class Command(LettersCommand):
    help = "Put a group's dead letters aside. They are kept for 30 days; --restore brings all of them back."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--restore", action="store_true", help="bring back what was discarded")

    def act(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> None:
        act = Act("restore" if options["restore"] else "discard", options["topic"], options["group"])
        with nullcontext() if options["dry_run"] else Keeper.keep(act):
            act.told = self._done(client, partitions, options)
        self.say(act.told)

    def _done(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> str:
        if options["restore"]:
            count = sum(_restore(client, keys, options["group"]) for keys in partitions)
            return f"{count} dead letters of {options['group']} restored"
        count = 0
        for keys in partitions:
            for letters in self.batches(client, keys, options, count):
                ids = [letter.id for letter in letters]
                discard = control.discard(keys, options["group"], ids, who=operator())
                count += len(ids) if options["dry_run"] else client.run(discard)
        return f"{count} dead letters of {options['group']} {'would be ' if options['dry_run'] else ''}discarded"


def _restore(client: Client, keys: Keys, group: str) -> int:
    count = 0
    while letters := client.run(control.discarded(keys, group)):
        count += client.run(control.restore(keys, group, [letter.id for letter in letters], who=operator()))
    return count
