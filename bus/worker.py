"""A worker: one process that handles the deliveries of some groups.

Starts a cycle per group and partition, and a pulse, so that others know it lives and what dead workers held
is taken over. What one delivery means is `delivery`'s business, what a group does next is `cycle`'s.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Iterable

from bus import health, inbox, operations
from bus.config import Config
from bus.cycle import Cycle
from bus.deadline import Deadlines
from bus.delivery import LogCapture
from bus.errors import ServerError, SubscriptionInvalid
from bus.keys import Keys
from bus.pulse import Place, Pulse
from bus.streams import Client, connect
from bus.subscription import Registry, Subscription, describe
from bus.subscription import registry as default_registry

WATCH_SECONDS = 0.02
PURGE_SECONDS = 600  # an inbox forgets at most a thousand notes each time

log = logging.getLogger("bus.worker")


class Worker:
    """Handles deliveries until `stop` is called (from a signal handler or any thread)."""

    def __init__(
        self, config: Config, *, groups: Iterable[str] | None = None, registry: Registry = default_registry
    ) -> None:
        self.config = config
        self.id = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(2)}"
        self._subscriptions = registry.groups(groups)
        self._uses_inbox = any(s.inbox for some in self._subscriptions.values() for s in some)
        self._stopping = threading.Event()
        self._gone = threading.Event()
        self.ready = threading.Event()  # set once every group is subscribed and deliveries are being taken
        self._deadlines = Deadlines()

    def stop(self) -> None:
        """Finish what runs, give back the rest, and end `run`."""
        self._stopping.set()

    def run(self) -> None:
        """Handle deliveries until stopped. Raises `ServerError` when the server can't be used at the start."""
        if not self._subscriptions:
            raise SubscriptionInvalid("expected at least one subscription, got none; import a module that subscribes")
        if self._uses_inbox:
            inbox.check_usable()
        client = connect(self.config)
        health.report(client, log)
        cycles = self._register(client)
        pulse = Pulse(client, self.id, [Place(cycle.keys, cycle.group, cycle.halts) for cycle in cycles])
        pulse.beat()
        capture = LogCapture()
        logging.getLogger().addHandler(capture)
        log.info("worker %s handles %s", self.id, ", ".join(sorted({cycle.group for cycle in cycles})))
        threads = [self._start(cycle.run, f"{cycle.group}@{cycle.keys.topic}") for cycle in cycles]
        helpers = [
            self._start(lambda: self._watch(cycles), "watch"),
            self._start(lambda: pulse.run(self._gone), "pulse"),
        ]
        if self._uses_inbox:
            helpers.append(self._start(self._forget, "forget"))
        self.ready.set()
        self._stopping.wait()
        for thread in threads:
            thread.join()
        self._gone.set()
        for thread in helpers:
            thread.join()
        logging.getLogger().removeHandler(capture)
        self._say_farewell(client)

    def _register(self, client: Client) -> list[Cycle]:
        cycles = []
        for (topic, _), subscriptions in self._subscriptions.items():
            partitions = client.run(operations.declare_topic(self.config.prefix, topic, 1))
            for number in range(partitions):
                keys = Keys(self.config.prefix, topic, number)
                self._subscribe(client, keys, subscriptions)
                cycles.append(self._cycle(client, keys, subscriptions))
        return cycles

    def _subscribe(self, client: Client, keys: Keys, subscriptions: tuple[Subscription, ...]) -> None:
        first = subscriptions[0]
        start = "$" if first.start == "latest" else "0-0"
        operation = operations.subscribe(
            keys, first.group, describe(subscriptions), start=start, worker=self.id, version=self.config.version
        )
        if client.run(operation):
            log.info("new group %s on %s, from the %s event", first.group, keys.topic, first.start)

    def _cycle(self, client: Client, keys: Keys, subscriptions: tuple[Subscription, ...]) -> Cycle:
        return Cycle(client, keys, subscriptions, worker=self.id, deadlines=self._deadlines, stopping=self._stopping)

    def _start(self, target: object, name: str) -> threading.Thread:
        thread = threading.Thread(target=target, name=name, daemon=True)  # type: ignore[arg-type]
        thread.start()
        return thread

    def _watch(self, cycles: list[Cycle]) -> None:
        """Enforce time-outs and announce what runs long: the threads that run handlers can't."""
        while not self._gone.wait(WATCH_SECONDS):
            self._deadlines.enforce()
            for cycle in cycles:
                try:
                    cycle.announce_slow()
                except ServerError as error:
                    log.debug("not announced: %s", error)  # the cycle itself meets the same trouble and says so

    def _forget(self) -> None:
        """Purge the inbox now and then. A thread of its own: a database that is locked must not stop the heartbeat."""
        while not self._gone.wait(PURGE_SECONDS):
            try:
                log.info("the inbox forgot %d old notes", inbox.purge())
            except Exception:  # whatever the database raises, there is a next time
                log.exception("the inbox could not be purged")

    def _say_farewell(self, client: Client) -> None:
        try:
            client.run(operations.farewell(self.config.prefix, self.id))
        except ServerError as error:
            log.warning("could not say farewell: %s", error)
        client.close()
