"""`manage.py replay TOPIC GROUP`: hand dead letters back to the group that gave them up, and to no other."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from django.core.management.base import CommandError

from bus import operations
from bus.keys import Keys
from bus.management.groups import Act, Keeper, LettersCommand, operator
from bus.streams import Client


class Command(LettersCommand):
    help = (
        "Hand a group's dead letters back to it, oldest first. Stopped half-way it can be run again: none is doubled."
    )

    def act(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> None:
        act = Act("replay", options["topic"], options["group"])
        with nullcontext() if options["dry_run"] else Keeper.keep(act):
            act.told, act.count, gone = self._done(client, partitions, options)
        self.say(act.told)
        if gone:
            raise CommandError(f"{gone} could not be replayed, their events have left the stream; publish them anew")

    def _done(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> tuple[str, int, int]:
        group, replayed, gone = options["group"], 0, 0
        for keys in partitions:
            ordered = bool(client.run(operations.keeps_order(keys, group)))
            for letters in self.batches(client, keys, options, replayed):
                if options["dry_run"]:
                    replayed += len(letters)
                    continue
                ids = [letter.id for letter in letters]
                result = client.run(operations.replay(keys, group, ids, who=operator(), ordered=ordered))
                replayed, gone = replayed + result.done, gone + len(result.gone)
        told = f"{replayed} dead letters {'would be replayed' if options['dry_run'] else 'replayed'} to {group}"
        return told, replayed, gone
