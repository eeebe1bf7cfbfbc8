"""What the machine is that a figure was measured on, in the words that a reader needs to compare it with theirs."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict[str, str]:
    """Processor, cores, memory, system and Python; `unknown` where the system does not tell."""
    return {
        "processor": _after("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": str(os.cpu_count() or "unknown"),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
    }


def sentence() -> str:
    """The machine in one line."""
    about = machine()
    return (
        f"{about['processor']}, {about['cores']} cores, {about['memory']}, {about['system']}, Python {about['python']}"
    )


def _memory() -> str:
    kilobytes = _after("/proc/meminfo", "MemTotal").removesuffix("kB").strip()
    return f"{int(kilobytes) / 2**20:.0f} GB" if kilobytes.isdigit() else "unknown memory"


def _after(path: str, name: str) -> str:
    """What a `name : value` file says of `name`; empty where there is no such file or line."""
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
