"""The faults themselves: one method a kind, named as in `schedule.FAULTS`."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from bus import control, inspect
from bus.errors import ServerError
from bus.keys import Keys
from bus.streams import Client
from bus.wire import Operation
from tests.bus.swallower import Swallower
from tests.faults.disk import SlowDisk
from tests.faults.handlers import GROUPS, PARTITIONS, TOPIC
from tests.faults.processes import Process
from tests.faults.schedule import Step
from tests.servers import Server

LOOK_SECONDS: Final = 0.05


class Patience:
    """Waits for a condition or an answer, up to a limit."""

    def __init__(self, client: Client, *, seconds: float) -> None:
        self.prefix = client.config.prefix
        self._client = client
        self._seconds = seconds

    def ask(self, operation: Operation[Any]) -> Any:
        """The answer, as soon as the server gives one."""
        deadline = time.monotonic() + self._seconds
        while True:
            try:
                return self._client.run(operation)
            except ServerError:
                if time.monotonic() > deadline:
                    raise
                threading.Event().wait(LOOK_SECONDS)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + self._seconds
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {self._seconds:g} s for {what}")
            threading.Event().wait(LOOK_SECONDS)


class Attacks:
    """Does the steps of a schedule to the processes, the server and the wire between them."""

    def __init__(
        self,
        server: Server,
        processes: Mapping[str, list[Process]],
        proxies: Sequence[Swallower],
        *,
        patience: Patience,
        disk: SlowDisk | None,
    ) -> None:
        self.done: Counter[str] = Counter()
        self._server = server
        self._processes = processes
        self._proxies = proxies
        self._patience = patience
        self._disk = disk
        self._prefix = patience.prefix
        self._interrupted = threading.Event()

    def carry_out(self, lanes: Mapping[str, list[Step]]) -> None:
        """Do all steps, each lane beside the others; ends when all are done, however late."""
        began = time.monotonic()
        others = [steps for lane, steps in lanes.items() if lane != "server"]
        with ThreadPoolExecutor(len(others) + 1) as threads:
            futures = [threads.submit(self._carry_out, steps, began) for steps in others]
            # In this thread: Linux ends the server with the thread that started it.
            try:
                self._carry_out(lanes.get("server", []), began)
            except BaseException:
                self._interrupted.set()
                raise
        for future in futures:
            future.result()

    def _carry_out(self, steps: Sequence[Step], began: float) -> None:
        for step in steps:
            if self._interrupted.wait(max(began + step.at - time.monotonic(), 0)):
                return
            getattr(self, step.kind)(step)
            self.done[step.kind] += 1

    def worker_kills(self, step: Step) -> None:
        self._strike("worker", step, Process.kill)

    def recorder_kills(self, step: Step) -> None:
        self._strike("recorder", step, Process.kill)

    def web_kills(self, step: Step) -> None:
        self._strike("web", step, Process.kill)

    def zombies(self, step: Step) -> None:
        frozen = self._strike("worker", step, Process.freeze)
        threading.Event().wait(step.lasts)
        frozen.wake()

    def server_kills(self, step: Step) -> None:
        self._server.kill()
        if self._disk:
            self.done["bytes_of_log_lost"] += self._disk.cut_power()
        threading.Event().wait(step.lasts)
        self._server.start()

    def server_pauses(self, step: Step) -> None:
        self._server.signal(signal.SIGSTOP)
        threading.Event().wait(step.lasts)
        self._server.signal(signal.SIGCONT)

    def memory_fills(self, step: Step) -> None:
        used = self._patience.ask(inspect.server()).used_memory
        self._patience.ask(_set_maxmemory(used - 1024))
        threading.Event().wait(step.lasts)
        self._patience.ask(_set_maxmemory(0))

    def script_flushes(self, _step: Step) -> None:
        self._patience.ask(Operation([(b"SCRIPT", b"FLUSH")], lambda replies: replies[0]))

    def group_pauses(self, step: Step) -> None:
        """An operator stops a group for a while, whatever else goes on."""
        group = sorted(GROUPS)[step.chance % len(GROUPS)]
        places = [Keys(self._prefix, TOPIC, number) for number in range(PARTITIONS)]
        for keys in places:
            self._patience.ask(control.pause(keys, group, who="ann"))
        threading.Event().wait(step.lasts)
        for keys in places:
            self._patience.ask(control.resume(keys, group, who="ann"))

    def lost_replies(self, step: Step) -> None:
        proxy = self._proxies[step.chance % len(self._proxies)]
        proxy.lose += 1 + step.chance // 8 % 3

    def _strike(self, role: str, step: Step, strike: Callable[[Process], bool]) -> Process:
        """Strike the process that the step chose, or the next one that is at work."""
        victims = self._processes[role]
        first = step.chance % len(victims)
        turned = [*victims[first:], *victims[:first]]
        struck: list[Process] = []

        def found() -> bool:
            struck.extend(victim for victim in turned if not struck and strike(victim))
            return bool(struck)

        self._patience.wait_until(found, f"a {role} at work")
        return struck[0]


def _set_maxmemory(size: int) -> Operation[Any]:
    return Operation([(b"CONFIG", b"SET", b"maxmemory", b"%d" % size)], lambda replies: replies[0])
