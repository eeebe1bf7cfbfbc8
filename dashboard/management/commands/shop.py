"""`manage.py shop`: publish the demo shop's traffic until told to stop."""

from __future__ import annotations

import logging
import random
import signal
import threading
from typing import Any

from django.core.management.base import CommandParser

import bus
from bus.errors import ServerError
from bus.event import Draft, new_id
from bus.management.base import BusCommand
from dashboard.shop.traffic import Happening, Traffic

AWAY_SECONDS = 1.0

logger = logging.getLogger(__name__)


class Command(BusCommand):
    help = "Publish the demo shop's traffic: orders, users, sensors, servers, pipelines."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--rate", type=float, default=2.0, help="orders a second (default 2)")
        parser.add_argument("--seed", type=int, help="the same seed makes the same orders (default: a random one)")

    def handle(self, **options: Any) -> None:
        stopping = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopping.set())
        seed = options["seed"] if options["seed"] is not None else random.randrange(10**6)
        self.say(f"about {options['rate']:g} orders a second, seed {seed}")
        for pause, happenings in Traffic(seed, options["rate"]):
            if stopping.wait(pause):
                return
            _publish(happenings, stopping)


def _publish(happenings: list[Happening], stopping: threading.Event) -> None:
    """Publish, waiting for a server that is away: a shop does not close because its bus restarts."""
    drafts = [_draft(happening) for happening in happenings]
    while not stopping.is_set():
        try:
            bus.publish_many(drafts)
            return
        except ServerError as error:
            logger.warning("%s; publishing again in %g s", error, AWAY_SECONDS)
            stopping.wait(AWAY_SECONDS)


def _draft(happening: Happening) -> Draft:
    # With an id of its own: published again after a lost reply, it is stored once.
    return bus.draft(
        happening.topic,
        happening.type,
        happening.data,
        key=happening.key,
        id=new_id(),
        source=happening.source,
    )
