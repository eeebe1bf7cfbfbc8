"""Addresses of the pages. Names are used by templates and scripts; an address, once given out, stays."""

from __future__ import annotations

from django.urls import include, path, re_path

from dashboard import any_id, login  # noqa: F401  with any_id comes `<id:…>`
from dashboard.views import (
    acting,
    activity,
    charts,
    comparing,
    consumers,
    dead_letters,
    editing,
    finding,
    overview,
    replays,
    searching,
    system,
    topics,
    traces,
)

# An id may hold slashes, so the fixed endings are matched before the bare id.
urlpatterns = [
    path("", overview.overview, name="overview"),
    re_path(r"^overview/(?P<name>topics|groups|recent|behind|edge)/\Z", overview.part, name="overview-part"),
    path("topics/", overview.topics, name="topics"),
    path("topics/<str:topic>/", topics.topic, name="topic"),
    path("topics/<str:topic>/head/", topics.head, name="topic-head"),
    path("topics/<str:topic>/row/<id:event_id>/", topics.row, name="topic-row"),
    path("consumers/", consumers.consumers, name="consumers"),
    path("consumers/body/", consumers.body, name="consumers-body"),
    path("consumers/<str:topic>/<id:group>/body/", consumers.group_body, name="group-body"),
    path("consumers/<str:topic>/<id:group>/charts/", charts.charts, name="group-charts"),
    path("consumers/<str:topic>/<id:group>/", consumers.group, name="group"),
    path("dead/", dead_letters.dead_letters, name="dead-letters"),
    path("dead/body/", dead_letters.body, name="dead-letters-body"),
    path("replays/", replays.replays, name="replays"),
    path("replays/plan/", replays.plan, name="replay-plan"),
    path("replays/edit/", editing.edit, name="edit-replay"),
    path("replays/<int:pk>/", replays.replay, name="replay"),
    path("replays/<int:pk>/body/", replays.body, name="replay-body"),
    path("replays/<int:pk>/confirm/", replays.confirm, name="replay-confirm"),
    path("replays/<int:pk>/cancel/", replays.cancel, name="replay-cancel"),
    path("replays/<int:pk>/go-on/", replays.go_on, name="replay-go-on"),
    path("traces/<id:correlation_id>/panel/", traces.panel, name="trace-panel"),
    path("traces/<id:correlation_id>/compare/", comparing.comparison, name="trace-compare"),
    path("traces/<id:correlation_id>/list/", traces.listing, name="trace-list"),
    path("traces/<id:correlation_id>/", traces.trace, name="trace"),
    path("events/<id:event_id>/", traces.event, name="event"),
    path("find/", finding.find, name="find"),
    path("find/palette/", finding.palette, name="palette"),
    path("system/", system.system, name="system"),
    path("system/body/", system.body, name="system-body"),
    path("system/alarm/", system.alarm, name="alarm"),
    path("activity/", activity.activity, name="activity"),
    path("activity/<int:pk>/", activity.action, name="action"),
    path("act/<slug:deed>/", acting.act, name="act"),
    path("search/", searching.search, name="search"),
    path("api/", include("dashboard.api.urls")),
    *login.urlpatterns,
]
