"""`manage.py alerts`: look at the rules and tell others what they find, until told to stop."""

from __future__ import annotations

import signal
from typing import Any

from bus.management.base import BusCommand
from dashboard.alerts.watch import Watch


class Command(BusCommand):
    help = "Raise and clear alerts, and tell webhooks and mailboxes. Ctrl-C or SIGTERM stops; several do no harm."

    def handle(self, **_options: Any) -> None:
        watch = Watch()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: watch.stop())
        watch.run()
