"""`manage.py web`: serve the dashboard's pages and live sockets. `up` and `demo` run it; production may."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from bus.management.base import BusCommand


class Command(BusCommand):
    help = "Serve the pages and live sockets (daphne)."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default 8000)")
        parser.add_argument("--fd", type=int, help="a socket that already listens, instead of host and port")

    def handle(self, **options: Any) -> None:
        # Imported here: daphne takes the process' event loop with its import.
        from daphne.endpoints import build_endpoint_description_strings
        from daphne.server import Server

        from dashboard.asgi import application

        listen = {"file_descriptor": options["fd"]} if options["fd"] is not None else _listen(options)
        endpoints = build_endpoint_description_strings(**listen)
        Server(application, endpoints=endpoints, verbosity=0, server_name="fanlight").run()


def _listen(options: dict[str, Any]) -> dict[str, Any]:
    return {"host": options["host"], "port": options["port"]}
