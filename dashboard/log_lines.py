"""Log lines that nobody can forge: what strangers wrote begins no line, moves no cursor and hides nothing."""

from __future__ import annotations

import logging
import re
from typing import Final

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Lines(logging.Formatter):
    """One line for a record; the lines of its traceback are indented, so that none looks like a record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return escaped(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        first, *below = super().format(record).split("\n")  # of the first, `formatMessage` has left no more than one
        return "\n".join([first, *(f"  {escaped(line)}" for line in below)])


def escaped(text: str) -> str:
    """The text with control and direction characters written out."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
