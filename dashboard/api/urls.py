"""Addresses of the API, below `/api/`. `openapi.json` describes each of them; the tests compare."""

from __future__ import annotations

from django.urls import path

from dashboard import any_id  # noqa: F401  with it comes `<id:…>`
from dashboard.api import acting, alerts, replays, rules, views

urlpatterns = [
    path("openapi.json", views.openapi, name="api-openapi"),
    path("events", views.events, name="api-events"),
    path("events/<id:event_id>", views.event, name="api-event"),
    path("traces/<id:correlation_id>", views.trace, name="api-trace"),
    path("history", views.history, name="api-history"),
    path("topics", views.topics, name="api-topics"),
    path("groups", views.groups, name="api-groups"),
    path("groups/<str:topic>/<id:group>/series", views.series, name="api-series"),
    path("pending", views.pending, name="api-pending"),
    path("holds", views.holds, name="api-holds"),
    path("holds/<str:topic>/<id:group>", views.holding, name="api-holding"),
    path("dead-letters", views.dead_letters, name="api-dead-letters"),
    path("workers", views.workers, name="api-workers"),
    path("suggest", views.suggest, name="api-suggest"),
    path("actions", acting.actions, name="api-actions"),
    path("actions/<int:pk>", acting.action, name="api-action"),
    path("actions/<slug:deed>", acting.act, name="api-act"),
    path("export", views.export, name="api-export"),
    path("alerts", alerts.alerts, name="api-alerts"),
    path("alerts/rules", rules.rules, name="api-rules"),
    path("alerts/rules/<int:pk>", rules.rule, name="api-rule"),
    path("alerts/rules/<int:pk>/<slug:word>", rules.act, name="api-rule-act"),
    path("alerts/<int:pk>", alerts.alert, name="api-alert"),
    path("alerts/<int:pk>/<slug:word>", alerts.act, name="api-alert-act"),
    path("replays", replays.replays, name="api-replays"),
    path("replays/<int:pk>", replays.replay, name="api-replay"),
    path("replays/<int:pk>/confirm", replays.confirm, name="api-replay-confirm"),
    path("replays/<int:pk>/cancel", replays.cancel, name="api-replay-cancel"),
    path("replays/<int:pk>/go-on", replays.go_on, name="api-replay-go-on"),
]
