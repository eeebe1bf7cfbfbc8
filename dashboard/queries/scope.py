"""What a query is about before any event is looked at: topics, moments, groups. Names that nobody knows are said."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.queries.facts import Surroundings
from dashboard.queries.fields import GHOST
from dashboard.queries.lag import PartitionRow, partitions
from dashboard.queries.language import Query, QueryInvalid, nearest, quoted
from dashboard.queries.spans import Spans, spans_of


def places_of(query: Query, topic: str | None) -> list[PartitionRow]:
    """The partitions that a query is about. A topic or a group that nobody knows is said, rather than found empty."""
    every = partitions()
    names = {place.topic for place in every.values()}
    chosen = names if topic is None else names & {topic}
    for term in query.of("topic"):
        for value in term.values:
            if value.text not in names and names:
                raise QueryInvalid(
                    query.text, value.start, value.end, f"expected a topic that is recorded ({_some(names)})",
                    _like(value.text, names),
                )  # fmt: skip
        excludes = term.is_negated is not (term.operator == "!=")
        if topic is not None and excludes is (topic in term.texts):
            raise QueryInvalid(
                query.text, term.start, term.end, f"this looks at {topic} only; search all topics instead"
            )
        chosen = chosen - set(term.texts) if excludes else chosen & set(term.texts)
    return [place for place in every.values() if place.topic in chosen]


def asked_spans(query: Query, places: Sequence[PartitionRow]) -> Spans:
    """What was published when the query says."""
    since = [value.number for term in query.of("since") for value in term.values]
    until = [value.number for term in query.of("until") for value in term.values]
    ghosts = any(term.texts == (GHOST,) and term.is_plain for term in query.of("is"))
    return spans_of(
        places,
        since_ms=int(max(number or 0 for number in since)) if since else None,
        until_ms=int(min(number or 0 for number in until)) if until else None,
        ghosts=ghosts,
    )


def check_groups(query: Query, around: Surroundings) -> None:
    """Raise `QueryInvalid` for a group that is not known."""
    known = {group for groups in around.histories.values() for group in groups}
    known |= {state.group for state in around.state.groups.values()}
    for term in query.of("group"):
        for value in term.values:
            if value.text not in known and known:
                raise QueryInvalid(
                    query.text, value.start, value.end, f"expected a group that subscribed ({_some(known)})",
                    _like(value.text, known),
                )  # fmt: skip


def _some(names: set[str]) -> str:
    shown = sorted(names)[:8]
    return ", ".join([*shown, f"and {len(names) - 8} more"] if len(names) > 8 else shown)


def _like(text: str, names: set[str]) -> str | None:
    found = nearest(text, names)
    return None if found is None else quoted(found)
