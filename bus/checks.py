"""System checks: mistakes in Django's settings that would only show when a worker runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register


@register()
def check_handler_modules(**_: Any) -> Iterable[CheckMessage]:
    """Every module of BUS_HANDLERS can be found."""
    return [_missing(name) for name in getattr(settings, "BUS_HANDLERS", []) if not _exists(name)]


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
