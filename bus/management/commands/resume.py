"""`manage.py resume TOPIC GROUP`: let a paused group go on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from bus import control
from bus.keys import Keys
from bus.management.groups import Act, GroupCommand, Keeper, operator
from bus.streams import Client


class Command(GroupCommand):
    help = "Let a paused group go on with what waited for it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--reason", default="", help="why")

    def act(self, client: Client, partitions: list[Keys], options: dict[str, Any]) -> None:
        group, reason = options["group"], options["reason"]
        act = Act("resume", options["topic"], group, reason)
        with Keeper.keep(act):
            was = [client.run(control.resume(keys, group, who=operator(), reason=reason)) for keys in partitions]
            act.told = f"{group} on {options['topic']} {'goes on' if any(was) else 'was not paused'}"
        self.say(act.told)
