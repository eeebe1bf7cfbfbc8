"""System checks: mistakes in Django's settings that would only show when a worker runs.

With `manage.py check --deploy` the server is asked too; without it no check needs one.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, register

import bus
from bus import health, inspect
from bus.errors import ServerError
from bus.streams import connect


@register()
def check_handler_modules(**_: Any) -> Iterable[CheckMessage]:
    """Every module of BUS_HANDLERS can be found."""
    return [_missing(name) for name in getattr(settings, "BUS_HANDLERS", []) if not _exists(name)]


@register("bus", deploy=True)
def check_server(**_: Any) -> Iterable[CheckMessage]:
    """The server behind the bus is as it should be."""
    try:
        client = connect(bus.config())
        found = health.findings(client.run(inspect.server()), client.config)
        client.close()
    except ServerError as error:
        return [checks.Warning(f"The bus' server could not be checked: {error}", id="bus.W001")]
    kinds = {"error": (Error, "bus.E002"), "warning": (checks.Warning, "bus.W002")}
    return [
        kinds[finding.level][0](f"{finding.title}: {finding.seen}.", hint=finding.advice, id=kinds[finding.level][1])
        for finding in found
        if finding.level in kinds
    ]


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _missing(name: str) -> Error:
    return Error(
        f"BUS_HANDLERS names the module {name!r}, which can't be found.",
        hint="Write it as in an import: 'shop.handlers', from a folder that Python searches.",
        id="bus.E001",
    )
