"""The dashboard as a Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from bus.management.groups import Keeper


class DashboardConfig(AppConfig):
    """Records what happens on the bus and shows it."""

    name = "dashboard"
    verbose_name = "Fanlight"

    def ready(self) -> None:
        from dashboard.actions import commands, roles  # need models, so not sooner
        from dashboard.alerts import models as _alerts  # noqa: F401  so that Django knows them
        from dashboard.replays import models  # noqa: F401  so that Django knows them

        Keeper.keep = staticmethod(commands.kept)
        post_migrate.connect(roles.make, sender=self, dispatch_uid="roles")
