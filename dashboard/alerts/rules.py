"""What a rule may ask, in words; and a rule made of what a form or a script says. Knows no rows but the rule's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from bus.errors import BusError
from dashboard.alerts.models import AlertRule
from dashboard.record.rows import clean

MAX_RULES: Final = 200
MAX_NAME: Final = 120
MAX_TYPE: Final = 512
SEVERITIES: Final = ("warning", "critical")
LINKS: Final = ("trace", "key")
MAX_HOLD_S: Final = 3_600
WINDOW_S: Final = (10, 3_600)
WITHIN_S: Final = (1, 86_400)


class RuleInvalid(BusError):
    """A rule can't be made of what was said; the text says which part, and what was expected."""


class Kind(NamedTuple):
    """A sort of rule: its word, what its threshold counts, the fields it has beside name, topic, threshold, hold."""

    word: str
    unit: str
    most: int
    fields: tuple[str, ...]
    threshold: int


KINDS: Final[Mapping[str, Kind]] = {
    "lag": Kind("Group behind, by count", "events behind", 1_000_000_000, ("group",), 1_000),
    "age": Kind("Group behind, by age", "seconds that its oldest event waits", 30 * 86_400, ("group",), 60),
    "dead": Kind("New dead letters", "new dead letters", 1_000_000_000, ("group", "window_s"), 1),
    "failures": Kind("Failure rate", "% of attempts that fail", 100, ("group", "window_s", "least"), 20),
    "silent": Kind("Silent workers", "silent workers", 10_000, ("group",), 1),
    "consequence": Kind(
        "Consequence that never came", "events without it", 1_000_000,
        ("type", "then_topic", "then_type", "same", "within_s"), 1,
    ),
}  # fmt: skip
USUAL: Final[Mapping[str, Any]] = {
    "name": "", "kind": "lag", "topic": "*", "group": "*", "threshold": 1_000, "window_s": 300, "least": 20,
    "hold_s": 60, "severity": "warning", "type": "", "then_topic": "", "then_type": "", "same": "trace",
    "within_s": 30,
}  # fmt: skip


def parsed(said: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a rule; what its kind has no use for keeps its default. Raises `RuleInvalid`."""
    kind = _one_of(said, "kind", tuple(KINDS))
    asked = KINDS[kind]
    found = {
        **USUAL,
        "kind": kind,
        "name": _text(said, "name", MAX_NAME),
        "topic": _text(said, "topic", MAX_NAME, usual="*"),
        "severity": _one_of(said, "severity", SEVERITIES),
        "threshold": _whole(said, "threshold", (1, asked.most)),
        "hold_s": _whole(said, "hold_s", (0, MAX_HOLD_S)),
    }
    readers: dict[str, Callable[[], Any]] = {
        "group": lambda: _text(said, "group", MAX_NAME, usual="*"),
        "window_s": lambda: _whole(said, "window_s", WINDOW_S),
        "least": lambda: _whole(said, "least", (1, 1_000_000)),
        "type": lambda: _text(said, "type", MAX_TYPE),
        "then_topic": lambda: _text(said, "then_topic", MAX_NAME),
        "then_type": lambda: _text(said, "then_type", MAX_TYPE),
        "same": lambda: _one_of(said, "same", LINKS),
        "within_s": lambda: _whole(said, "within_s", WITHIN_S),
    }
    return {**found, **{name: readers[name]() for name in asked.fields}}


def says(rule: AlertRule) -> str:
    """The rule in a sentence."""
    held = f" for {span(rule.hold_s)}" if rule.hold_s else ""
    where = f"{rule.group} on {rule.topic}" if rule.topic != "*" else rule.group
    where = "any group" if where == "*" else where.replace("* on ", "any group on ")
    at_least = f"{rule.threshold:,}"
    if rule.kind == "consequence":
        many = f", {at_least} or more" if rule.threshold > 1 else ""
        return (
            f"{rule.topic}/{rule.type} with no {rule.then_topic}/{rule.then_type}"
            f" of the same {rule.same} within {span(rule.within_s)}{many}{held}"
        )
    one = rule.threshold == 1
    letters = "a new dead letter" if one else f"{at_least} new dead letters or more"
    workers = "a silent worker" if one else f"{at_least} silent workers or more"
    texts = {
        "lag": f"{where} is {at_least} events behind or more{held}",
        "age": f"{where} has an event that waits {span(rule.threshold)} or longer{held}",
        "dead": f"{where} has {letters} within {span(rule.window_s)}{held}",
        "failures": f"{where} fails {at_least} % of {rule.least:,} attempts or more within {span(rule.window_s)}{held}",
        "silent": f"{where} has {workers}{held}",
    }
    return texts[rule.kind]


def span(seconds: int) -> str:
    """Seconds as people say them."""
    for size, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size and not seconds % size:
            return f"{seconds // size} {word}"
    return f"{seconds // 60} min {seconds % 60} s" if seconds > 60 else f"{seconds} s"


LABELS: Final[Mapping[str, str]] = {
    "name": "a name", "kind": "what to watch", "topic": "a topic", "threshold": "the threshold",
    "hold_s": "how long it must hold, in seconds,", "window_s": "the window, in seconds,",
    "least": "the least number of attempts", "within_s": "the time for the consequence, in seconds,",
    "type": "the type of the event", "then_topic": "the topic of the consequence",
    "then_type": "the type of the consequence", "same": "what links the two", "severity": "the severity",
    "group": "a group",
}  # fmt: skip


def _text(said: Mapping[str, Any], name: str, most: int, usual: str = "") -> str:
    value = said.get(name)
    text = clean(str(value if value is not None else "").strip()) or usual
    if not text:
        raise RuleInvalid(f"expected {LABELS[name]}, got nothing")
    if len(text) > most:
        raise RuleInvalid(f"expected {LABELS[name]} of up to {most} characters, got {len(text):,}")
    return text


def _whole(said: Mapping[str, Any], name: str, bounds: tuple[int, int]) -> int:
    text = str(said.get(name, USUAL[name])).strip()
    least, most = bounds
    if text.isascii() and text.isdigit() and len(text) < 13 and least <= int(text) <= most:
        return int(text)
    raise RuleInvalid(
        f"expected {LABELS[name]} to be a whole number from {least:,} to {most:,}, got {ascii(text)[:40]}"
    )


def _one_of(said: Mapping[str, Any], name: str, words: tuple[str, ...]) -> str:
    text = str(said.get(name) or USUAL[name])
    if text not in words:
        raise RuleInvalid(f"expected {LABELS[name]} to be one of {', '.join(words)}, got {ascii(text)[:40]}")
    return text
