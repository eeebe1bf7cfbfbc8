"""`manage.py pause TOPIC GROUP`: let a group take nothing more; its events wait for it."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from bus import control
from bus.keys import Keys
from bus.management.groups import Act, GroupCommand, Keeper, operator
from bus.streams import Client


class Command(GroupCommand):
    help = "Let a group take nothing more until 'manage.py resume'. What runs may end; events and retries wait."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why, for those who find it paused")

    def act(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> None:
        group, reason = options["group"], options["reason"]
        act = Act("pause", options["topic"], group, reason)
        with Keeper.keep(act):
            new = [client.run(control.pause(keys, group, who=operator(), reason=reason)) for keys in partitions]
            act.told = f"{group} on {options['topic']} {'is paused' if any(new) else 'was paused before'}"
        self.say(act.told)
