"""`manage.py trace ID`: everything that one event led to, each event below its cause, with every group's outcome."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.management.base import CommandError, CommandParser

from dashboard import queries
from dashboard.management.tables import AskingCommand, cell, json_line, moment


class Command(AskingCommand):
    help = "Show a trace: every event of it, who got it, who has not, and why. ID: of the trace, or of an event in it."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("id", help="of the trace (its correlation id) or of any event in it")

    def handle(self, **options: Any) -> None:
        found = _trace(options["id"])
        if found is None:
            raise CommandError(
                f"expected the id of a trace or an event that is recorded, got {ascii(options['id'])[:80]}: it may not"
                " be recorded yet, or be older than what is kept"
            )
        for line in map(json_line, found["events"]) if options["json"] else _lines(found):
            self.say(line)


def _trace(wanted: str) -> dict[str, Any] | None:
    found = queries.trace(wanted)
    event = None if found else queries.event(wanted)
    return queries.trace(event["correlation_id"]) if event else found


def _lines(found: dict[str, Any]) -> Iterator[str]:
    counts = found["summary"]
    yield f"trace {cell(found['id'])}: {counts['events']} events, {counts['succeeded']} of {counts['lanes']} succeeded"
    if cut := found["truncated"]:
        yield f"showing {cut['shown']:,} of {cut['of']:,} events"
    depths: dict[str, int] = {}
    for event in found["events"]:
        cause = event["cause"]
        depths[event["id"]] = depth = min(depths.get(cause["event"], -1) + 1, 12) if cause else 0
        indent = "    " * depth
        if event["at_ms"] is None:
            yield f"{indent}{cell(event['id'])}  before retention"
            continue
        yield f"{indent}{cell(event['topic'])} {cell(event['type'])}  {moment(event['at_ms'])}  {cell(event['id'])}"
        for lane in event["lanes"]:
            note = f"  ({cell(lane['note'])})" if lane["note"] else ""
            yield f"{indent}  - {cell(lane['group'])}: {lane['label']}{note}"
