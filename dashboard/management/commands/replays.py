"""`manage.py replays`: hand back what replays have on their lists, until told to stop."""

from __future__ import annotations

import signal
from typing import Any

import bus
from bus.management.base import BusCommand
from dashboard.replays.runner import Runner


class Command(BusCommand):
    help = "Carry out replays that were confirmed. Ctrl-C or SIGTERM stops; whoever starts next goes on from there."

    def handle(self, **_options: Any) -> None:
        runner = Runner(bus.config())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: runner.stop())
        runner.run()
