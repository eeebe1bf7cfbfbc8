"""`manage.py token create|revoke|list`: tokens with which scripts use the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from bus.management.base import BusCommand
from bus.management.groups import operator
from dashboard.actions import roles, tokens
from dashboard.actions.audit import Actor, Outcome, Wanted, perform
from dashboard.actions.models import Token
from dashboard.actions.roles import Deed


class Command(BusCommand):
    help = "Make, revoke or list tokens with which scripts use the API. A token is shown once."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("what", choices=("create", "revoke", "list"))
        parser.add_argument("name", nargs="?", default="", help="for example deploy-script")
        parser.add_argument("--role", default="viewer", help="viewer (default), payload-viewer, operator or admin")
        parser.add_argument("--topics", default="*", metavar="PATTERNS", help="for example 'orders*,payments'")

    def handle(self, **options: Any) -> None:
        if options["what"] == "list":
            for token in Token.objects.order_by("name"):
                self.say(_line(token))
            return
        if not options["name"]:
            raise CommandError(f"expected a name: token {options['what']} NAME")
        self._create(options) if options["what"] == "create" else self._revoke(options)

    def _create(self, options: dict[str, Any]) -> None:
        name = options["name"][:80]
        try:
            role = roles.named(options["role"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        made = []

        def do(_action: object) -> Outcome:
            made.append(tokens.create(name, role, options["topics"], operator()))
            return Outcome(f"token {name} made: {role.word} on {options['topics']}")

        wanted = Wanted(Deed.TOKEN_CREATE, filter={"name": name, "role": role.word, "topics": options["topics"]})
        perform(Actor(operator(), "command line"), wanted, do)
        self.say(made[0])
        self.stderr.write(f"Shown this once. {name} is {role.word} on {options['topics']}: Authorization: Bearer …")

    def _revoke(self, options: dict[str, Any]) -> None:
        def do(_action: object) -> Outcome:
            tokens.revoke(options["name"])
            return Outcome(f"token {options['name']} revoked")

        wanted = Wanted(Deed.TOKEN_REVOKE, filter={"name": options["name"]})
        self.say(perform(Actor(operator(), "command line"), wanted, do).told)


def _line(token: Token) -> str:
    used = datetime.fromtimestamp(token.used_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M") if token.used_ms else "never"
    state = "revoked" if token.revoked_ms else "valid"
    role = roles.Role(token.role).word
    return f"{token.name}: {role} on {token.patterns}, {state}, made by {token.made_by}, used {used}"
