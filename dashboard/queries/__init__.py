"""What pages, sockets and the API ask of the read model and the bus. Reads only; every list is bounded."""

from __future__ import annotations

from dashboard.queries.event import event
from dashboard.queries.events import events
from dashboard.queries.overview import overview
from dashboard.queries.topics import topic
from dashboard.queries.trace import trace

__all__ = ["event", "events", "overview", "topic", "trace"]
