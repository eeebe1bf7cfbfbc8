"""A handler that writes down what it ran, a line each, beside the data of its server."""

from __future__ import annotations

import os
from pathlib import Path

import bus

HANDLED = "handled.txt"


@bus.subscribe("sales", group="till", start="earliest")
def write_down(event: bus.Event) -> None:
    with (Path(os.environ["BUS_DATA"]) / HANDLED).open("a") as lines:
        lines.write(f"{event.data['number']}\n")
