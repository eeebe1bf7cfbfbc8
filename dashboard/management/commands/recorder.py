"""`manage.py recorder`: keep the database up to date with the bus, until told to stop."""

from __future__ import annotations

import signal
from typing import Any

import bus
from bus.management.base import BusCommand
from bus.streams import connect
from dashboard.recorder import Recorder


class Command(BusCommand):
    help = "Turn the bus' journal into the rows that pages show. Ctrl-C or SIGTERM stores what was read, then stops."

    def handle(self, **_options: Any) -> None:
        recorder = Recorder(connect(bus.config()))
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: recorder.stop())
        recorder.run()
