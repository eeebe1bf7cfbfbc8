"""The bus as a Django app: takes its options from `settings.BUS`. Nothing else of the bus needs Django."""

from __future__ import annotations

from django.apps import AppConfig
from django.conf import settings

import bus


class BusAppConfig(AppConfig):
    name = "bus"
    verbose_name = "Event bus"

    def ready(self) -> None:
        from bus import checks  # noqa: F401  registers itself; needs settings, so not sooner

        bus.configure(**getattr(settings, "BUS", {}))
