"""A process that must not outlive the one that started it.

Our own processes watch a pipe. A foreign program can't: this file, run as `python lifeline.py PARENT_PID COMMAND...`,
replaces itself by COMMAND, which Linux then ends with the parent. Standard library only: that start costs
milliseconds, not an import of the bus.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PIPE_VARIABLE = "FANLIGHT_LIFELINE"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
GRACE_SECONDS = 5.0


def die_with_parent(parent_pid: int) -> None:
    """Ask Linux to end this process when the thread that started it ends. Elsewhere: nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before we could ask
        os.kill(os.getpid(), signal.SIGTERM)


def watch_pipe() -> None:
    """End this process when the pipe named in the environment closes: its other end is the supervisor's.

    Works on every platform and however the supervisor ends. Does nothing when there is no pipe.
    """
    number = os.environ.pop(PIPE_VARIABLE, "")
    if number:
        threading.Thread(target=_wait_for_end, args=(int(number),), name="lifeline", daemon=True).start()


def _wait_for_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)  # as a person would stop it: give back what runs
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  no shell is what we want
