"""`manage.py demo`: everything of `up`, and a shop whose events are worth looking at."""

from __future__ import annotations

import ipaddress
import random
import socket
from typing import Any

from django.core.management.base import CommandError, CommandParser

from dashboard.management.commands import up
from dashboard.supervisor import Program

HANDLERS = "dashboard.shop.handlers"


class Command(up.Command):
    help = "Run everything on this machine, with a shop: traffic, handlers, failures, dead letters. Loopback only."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--rate", type=float, default=2.0, help="orders a second (default 2; at most 200)")
        parser.add_argument("--seed", type=int, help="the same seed gives the same orders and failures (default: any)")

    def handle(self, **options: Any) -> None:
        if not _is_loopback(options["host"]):
            raise CommandError(
                f"expected --host to be this machine (127.0.0.1), got {options['host']!r}: the demo is not for a"
                " network; `manage.py up` is"
            )
        if not 0 < options["rate"] <= 200:
            raise CommandError(f"expected --rate to be over 0 and at most 200 orders a second, got {options['rate']:g}")
        super().handle(**options)

    def programs(self, listening: socket.socket, options: dict[str, Any]) -> list[Program]:
        seed = options["seed"] if options["seed"] is not None else random.randrange(10**6)
        return [
            *up.service_programs(listening),
            *up.worker_programs([HANDLERS], options["workers"], {"SHOP_SEED": str(seed)}),
            Program("shop", ["shop", "--rate", f"{options['rate']:g}", "--seed", str(seed)]),
        ]


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
