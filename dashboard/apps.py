"""The dashboard as a Django app."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class DashboardConfig(AppConfig):
    """Records what happens on the bus and shows it."""

    name = "dashboard"
    verbose_name = "Fanlight"

    def ready(self) -> None:
        from dashboard.actions import roles  # needs models, so not sooner
        from dashboard.replays import models  # noqa: F401  so that Django knows them

        post_migrate.connect(roles.make, sender=self, dispatch_uid="roles")
