"""`manage.py publish TOPIC TYPE JSON`: put one event on a topic from the command line."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
from django.core.management.base import CommandParser

import bus
from bus.errors import DataInvalid
from bus.management.base import BusCommand
from bus.management.groups import Act, Keeper


class Command(BusCommand):
    help = "Publish one event. JSON is its data, or - to read it from standard input."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("topic", help="for example orders")
        parser.add_argument("type", help="for example order_placed")
        parser.add_argument("json", help="""for example '{"order_id": "o-1"}'""")
        parser.add_argument("--key", help="events of one key stay in order, for example o-1")
        parser.add_argument("--id", help="the event's id: publishing it again changes nothing (default: a new one)")
        parser.add_argument("--source", help="who publishes (default: BUS['source'])")

    def handle(self, **options: Any) -> None:
        act = Act("publish", options["topic"], filter={"type": options["type"], "key": options["key"] or ""})
        with Keeper.keep(act):
            event = self._published(options)
            act.told, act.count, act.events = f"{event.type} published on {event.topic}", 1, [event.id]
        self.say(f"published {event.type} on {event.topic}, partition {event.partition}: {event.id} at {event.entry}")

    def _published(self, options: dict[str, Any]) -> bus.Event:
        return bus.publish(
            options["topic"],
            options["type"],
            _parse(options["json"]),
            key=options["key"],
            id=options["id"],
            source=options["source"],
        )


def _parse(text: str) -> Any:
    raw = sys.stdin.buffer.read() if text == "-" else text.encode("utf-8", "surrogateescape")
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DataInvalid(
            f"expected data that is JSON, got {raw[:40]!r} ({error}); quote it for the shell:"
            """ '{"order_id": "o-1"}'"""
        ) from None
