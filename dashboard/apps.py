"""The dashboard as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class DashboardConfig(AppConfig):
    """Records what happens on the bus and shows it."""

    name = "dashboard"
    verbose_name = "Fanlight"
