"""`manage.py role USER ROLE`: say what a user may do, on all topics or on some."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from bus.management.base import BusCommand
from bus.management.groups import operator
from dashboard.actions import roles
from dashboard.actions.audit import Actor, Outcome, Wanted, perform
from dashboard.actions.models import Grant
from dashboard.actions.roles import Deed


class Command(BusCommand):
    help = "Give a user a role (viewer, payload-viewer, operator, admin) in the place of the ones they were given."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("user", help="made by 'manage.py createsuperuser', or in Django's admin")
        parser.add_argument("role", help="viewer, payload-viewer, operator or admin")
        parser.add_argument("--topics", default="*", metavar="PATTERNS", help="for example 'orders*,payments'")

    def handle(self, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"expected a user who is there, got {options['user']!r}")
        try:
            role = roles.named(options["role"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        patterns = [pattern.strip() for pattern in options["topics"].split(",") if pattern.strip()]

        def do(_action: object) -> Outcome:
            Grant.objects.filter(user=user).delete()
            roles.give(user, role, patterns)
            return Outcome(f"{user.username} is {role.word} on {', '.join(patterns)}")

        wanted = Wanted(Deed.GRANT, filter={"user": user.username, "role": role.word, "topics": options["topics"]})
        self.say(perform(Actor(operator(), "command line"), wanted, do).told)
