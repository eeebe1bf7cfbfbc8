"""What travels to a browser: frames that can be put together when it is slow. Pure.

A frame's text is made once and shared by all sockets that get it unchanged; only its number differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from statistics import median
from typing import Any, Final, Self

import msgspec

MAX_ROWS: Final = 20  # drawn in one frame
MAX_STEPS: Final = 400  # told in one frame; beyond it only those of rows that were drawn
_encode = msgspec.json.Encoder().encode

Step = tuple[str, str]  # state and label
StepKey = tuple[str, str]  # row and group


class Frame:
    """A picture of now: a later one replaces it."""

    def __init__(self, kind: str, fields: Mapping[str, Any]) -> None:
        self.kind = kind
        self._fields = fields

    def fields(self) -> Mapping[str, Any]:
        return self._fields

    def merged(self, later: Self) -> Self:
        """Both as one frame."""
        return later

    def text(self, seq: int) -> str:
        """The frame as JSON, numbered."""
        return f'{{"seq":{seq},{self._body}'

    @cached_property
    def _body(self) -> str:
        return _encode({"kind": self.kind, **self.fields()}).decode()[1:]


class TailFrame(Frame):
    """What happened since the last one: counts are exact, drawings the newest few."""

    def __init__(
        self,
        topic: str,
        cursor: str,
        *,
        published: int = 0,
        rows: Mapping[str, str] | None = None,
        steps: Mapping[StepKey, Step] | None = None,
        delays_ms: Iterable[int] = (),
    ) -> None:
        super().__init__("tail", {})
        self.topic = topic
        self.cursor = cursor
        self.published = published
        self.rows = dict(rows or {})
        self.steps = dict(steps or {})
        self.delays_ms = list(delays_ms)

    def fields(self) -> Mapping[str, Any]:
        return {
            "topic": self.topic,
            "cursor": self.cursor,
            "rows": list(self.rows.values()),
            "steps": [
                {"row": row, "group": group, "state": state, "label": label}
                for (row, group), (state, label) in self.steps.items()
            ],
            "published": self.published,
            "skipped": self.published - len(self.rows),
            "delay_ms": round(median(self.delays_ms)) if self.delays_ms else None,
        }

    def merged(self, later: Self) -> Self:
        rows = {**self.rows, **later.rows}
        newest = dict(list(rows.items())[-MAX_ROWS:])
        return type(self)(
            later.topic,
            later.cursor,
            published=self.published + later.published,
            rows=newest,
            steps=limited({**self.steps, **later.steps}, newest),
            delays_ms=[*self.delays_ms, *later.delays_ms][-MAX_ROWS:],
        )


def limited(steps: dict[StepKey, Step], drawn: Mapping[str, Any]) -> dict[StepKey, Step]:
    """At most `MAX_STEPS` steps, unless more belong to rows that were drawn: those must not keep an old state."""
    if len(steps) <= MAX_STEPS:
        return steps
    wanted = {key: step for key, step in steps.items() if key[0] in drawn}
    room = max(MAX_STEPS - len(wanted), 0)
    newest = list(steps.items())[len(steps) - room :]
    return {**wanted, **dict(newest)}
