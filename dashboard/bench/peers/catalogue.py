"""The peers that `manage.py bench peers` knows: which packages each needs, and how it is set to do its best."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

EXTRA: Final = "pip install 'fanlight[peers]'"


@dataclass(frozen=True)
class Peer:
    """One of them, as a module beside this one that is run as a program.

    `packages`: distributions whose versions the result names. `fast`: handles so many a second that it takes ten times
    the events to measure. `program`: a server's program that it needs on PATH, instead of Redis.
    """

    name: str
    module: str
    packages: Sequence[str]
    settings: str
    fast: bool = False
    program: str = ""

    @property
    def versions(self) -> str:
        return ", ".join(f"{name} {version(name)}" for name in self.packages)

    def missing(self) -> str:
        """What to do so that it can be measured; empty when it can."""
        for name in self.packages:
            try:
                version(name)
            except PackageNotFoundError:
                return f"no package {name} ({EXTRA})"
        return f"no {self.program} on PATH" if self.program and not shutil.which(self.program) else ""


OURS: Final = Peer("ours", "ours", ["redis"], "as it comes", fast=True)
PEERS: Final = (
    Peer("faststream", "on_faststream", ["faststream", "redis"], "stream with a group, max_records 100"),
    Peer("faststream-batch", "on_faststream_batch", ["faststream", "redis"], "a list of 100 to a handler", fast=True),
    Peer("celery", "on_celery", ["celery", "kombu"], "one solo worker, prefetch 128, acks_late, results ignored"),
    Peer("dramatiq", "on_dramatiq", ["dramatiq"], "one worker of 2 threads, prefetch 500"),
    Peer("taskiq", "on_taskiq", ["taskiq", "taskiq-redis"], "stream broker, prefetch 100, arguments not validated"),
    Peer("edx", "on_edx", ["edx-event-bus-redis", "openedx-events"], "as it comes; Avro instead of JSON"),
    Peer(
        "nats",
        "on_nats",
        ["nats-py"],
        "JetStream in a file, synced by its server every 2 minutes; push, 1,000 pending, an ack each, not waited for",
        fast=True,
        program="nats-server",
    ),
)
