"""Addresses of the pages. Names are used by templates and scripts; an address, once given out, stays."""

from __future__ import annotations

from django.urls import path, re_path, register_converter
from django.urls.converters import StringConverter

from dashboard import login
from dashboard.views import overview, system, topics, traces


class AnyId(StringConverter):
    """An id as a stranger may have made it up: slashes, spaces, even line breaks."""

    regex = r"[\s\S]+"


register_converter(AnyId, "id")

# An id may hold slashes, so the fixed endings are matched before the bare id.
urlpatterns = [
    path("", overview.overview, name="overview"),
    re_path(r"^overview/(?P<name>topics|groups|recent)/\Z", overview.part, name="overview-part"),
    path("topics/", overview.topics, name="topics"),
    path("topics/<str:topic>/", topics.topic, name="topic"),
    path("topics/<str:topic>/head/", topics.head, name="topic-head"),
    path("traces/<id:correlation_id>/panel/", traces.panel, name="trace-panel"),
    path("traces/<id:correlation_id>/list/", traces.listing, name="trace-list"),
    path("traces/<id:correlation_id>/", traces.trace, name="trace"),
    path("events/<id:event_id>/", traces.event, name="event"),
    path("find/", traces.find, name="find"),
    path("system/", system.system, name="system"),
    path("system/body/", system.body, name="system-body"),
    path("system/alarm/", system.alarm, name="alarm"),
    *login.urlpatterns,
]
