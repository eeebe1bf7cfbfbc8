"""`manage.py relay`: publish what transactions leave in the outbox, until told to stop."""

from __future__ import annotations

import signal
from typing import Any

import bus
from bus.management.base import BusCommand
from bus.relay import Relay


class Command(BusCommand):
    help = "Publish what transactions leave in the outbox. Ctrl-C or SIGTERM finishes the batch at hand, then stops."

    def handle(self, **_options: Any) -> None:
        relay = Relay(bus.config())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: relay.stop())
        if not bus.config().outbox:
            self.say("BUS['outbox'] is off: publishing what the outbox still holds, nothing new comes into it")
        relay.run()
