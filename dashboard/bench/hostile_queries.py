"""Some hundreds of queries that somebody might write to do harm, or by accident: markup, SQL, patterns, odd Unicode.

Fragments of each kind, as plain text and in every place of the language where a value may stand.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import product
from typing import Final

from dashboard.queries.fields import FIELDS
from dashboard.queries.language import MAX_LENGTH, quoted

MARKUP: Final = tuple(
    form.format(run=run)
    for form, run in product(
        (
            "<script>{run}</script>", "<img src=x onerror={run}>", "<svg/onload={run}>", "\"><b onclick='{run}'>",
            "</textarea><iframe src=javascript:{run}>", "javascript:{run}//", "<a href='data:text/html,{run}'>",
        ),
        ("alert(1)", "fetch(`//x`)", "&#97;lert(1)"),
    )
)  # fmt: skip
SQL: Final = tuple(
    f"{opening}{word}{closing}"
    for opening, word, closing in product(
        ("'", '"', "1"),
        (
            " OR 1=1",
            "; DROP TABLE dashboard_event",
            " UNION SELECT name FROM sqlite_master",
            "; SELECT pg_sleep(9)",
            "%s%(a)s",
        ),
        (" --", ""),
    )
)
PATTERNS: Final = (
    *(f"{inner * 40}$" for inner in ("(a+)+", "(a|aa)+", "(.*)*", "([a-z]+)*")),
    *(opening * 400 for opening in "([{*+?|\\^$-:,\"'%_."),
    *("a" * count + "!" for count in (50, 500, MAX_LENGTH - 1)),
    *(f"a{letter}" * 300 for letter in ":,=. -\t"),
)
_POINTS: Final = (
    0, 1, 7, 8, 27, 127, 0x85, 0xA0, 0xAD, 0x200B, 0x200D, 0x2028, 0x202E, 0x2066, 0xFEFF, 0xFFFD, 0xFFFF, 0xD800,
    0xDFFF, 0x10FFFF,
)  # fmt: skip
UNICODE: Final = (
    *(chr(point) for point in _POINTS),
    *("e" + "\u0301" * 300, "\u0130" * 200, "ß" * 200, "\ufdfa" * 200, "\U0001f469\u200d\U0001f467" * 100),
    *(
        "\u0645\u0631\u062d\u0628\u0627",
        "\u05e9\u05dc\u05d5\u05dd",
        "\u65e5\u672c\u8a9e",
        "\uff54\uff59\uff50\uff45\uff1a\uff41",
    ),
    *(unicodedata.normalize(form, "Åﬁ①𝕏") for form in ("NFC", "NFD", "NFKC", "NFKD")),
)
NUMBERS: Final = tuple(
    f"{sign}{digits}"
    for sign, digits in product(
        ("", "-"), ("0", "9" * 30, "9" * 400, "1e308", "1e999", "0.1", "1_000", "0x10", "NaN", "٣", "²")
    )
)
STRUCTURE: Final = (
    *(f"{name}{operator}" for name, operator in product(FIELDS, (":", "!=", ">", "."))),
    *(f"payload{step * count}:1" for step, count in product((".a", "[0]", "[*]"), (1, 12, 13, 300))),
    *(f"type:{','.join(['x'] * count)}" for count in (20, 21, 400)),
    *(" ".join([term] * count) for term, count in product(("key:a", "-key:a", "a", "payload.a>1"), (20, 21))),
    *("payload.__proto__.x:1", "payload.a[99999]:1", "payload.a[-1]:1", "since:15m until:15m", "since:9999999w"),
    *("since:0001-01-01 until:9999-12-31", "since:2025-13-45", "until:99999999999999"),
)  # fmt: skip
PLACES: Final = ("{}", "type:{}", "payload.a:{}")


def queries() -> Iterator[str]:
    """Each of them once."""
    seen = set[str]()
    for text in _every():
        if text not in seen:
            seen.add(text)
            yield text


def _every() -> Iterator[str]:
    yield from (*STRUCTURE, *MARKUP, *SQL, *PATTERNS, *UNICODE, *NUMBERS)
    for text, place in product((*MARKUP[::2], *SQL[::2], *PATTERNS[::2], *UNICODE), PLACES):
        yield place.format(quoted(text))
    for number, name in product(NUMBERS[::2], ("size>", "attempt<=", "payload.a>=", "since:")):
        yield f"{name}{number}"
