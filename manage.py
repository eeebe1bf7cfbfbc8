#!/usr/bin/env python3
"""Django's command line, with habits of ours: `--data DIR` works for every command, errors are one line."""

from __future__ import annotations

import os
import sys

from bus import folder, lifeline
from bus.errors import BusError


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    arguments = choose_data_folder(arguments)
    lifeline.watch_pipe()
    from django.conf import settings
    from django.core.management import execute_from_command_line

    try:
        if settings.DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
            folder.prepare(settings.DATA_FOLDER)  # SQLite makes its file, but not the folder
        execute_from_command_line(arguments)
    except BusError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        sys.exit(130)


def choose_data_folder(arguments: list[str]) -> list[str]:
    """Take `--data DIR` out of the arguments. It has to be known before the settings are: the database is there."""
    rest: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        name, given, value = argument.partition("=")
        if name != "--data":
            rest.append(argument)
            continue
        value = value if given else next(remaining, "")
        if not value:
            sys.exit("error: expected a folder after --data, got nothing; for example --data ./data")
        os.environ["BUS_DATA"] = os.path.abspath(os.path.expanduser(value))
    return rest


if __name__ == "__main__":
    main(sys.argv)
