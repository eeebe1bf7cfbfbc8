"""What pages, sockets and the API ask of the read model and the bus. Reads only; every list is bounded."""

from __future__ import annotations

from dashboard.queries.dead_letters import dead_letters
from dashboard.queries.event import event
from dashboard.queries.findings import alarms
from dashboard.queries.group import group
from dashboard.queries.groups import groups, workers
from dashboard.queries.history import history
from dashboard.queries.holds import holding, holds
from dashboard.queries.language import Query, QueryInvalid, parse
from dashboard.queries.letters import letters
from dashboard.queries.overview import overview
from dashboard.queries.pending import pending
from dashboard.queries.search import search
from dashboard.queries.series import lag_sparks, series
from dashboard.queries.suggest import suggest
from dashboard.queries.system import system
from dashboard.queries.topics import topic, topics
from dashboard.queries.trace import trace

__all__ = [
    "Query",
    "QueryInvalid",
    "alarms",
    "dead_letters",
    "event",
    "group",
    "groups",
    "history",
    "holding",
    "holds",
    "lag_sparks",
    "letters",
    "overview",
    "parse",
    "pending",
    "search",
    "series",
    "suggest",
    "system",
    "topic",
    "topics",
    "trace",
    "workers",
]
