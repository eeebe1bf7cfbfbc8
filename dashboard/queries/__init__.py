"""What pages, sockets and the API ask of the read model and the bus. Reads only; every list is bounded."""

from __future__ import annotations

from dashboard.queries.event import event
from dashboard.queries.events import events
from dashboard.queries.findings import alarms
from dashboard.queries.overview import overview
from dashboard.queries.system import system
from dashboard.queries.topics import topic
from dashboard.queries.trace import trace

__all__ = ["alarms", "event", "events", "overview", "system", "topic", "trace"]
