"""Search: the events that a query asks for, page by page, in the order of time.

The index that narrows most gives candidates (`streams`), what it can't tell is looked at event by event (`matching`).
That look is bounded: after so many candidates or so much time the search says how far it got and where to go on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Final

from bus.tail import Position
from dashboard import cursors
from dashboard.models import NUMBER_BITS
from dashboard.queries.facts import Surroundings, happened
from dashboard.queries.fields import TEXT
from dashboard.queries.language import Query, QueryInvalid, Term
from dashboard.queries.listing import listed
from dashboard.queries.matching import Facts, Unreadable, has_wanted_lane, is_wanted, lane_has
from dashboard.queries.scope import asked_spans, check_groups, places_of
from dashboard.queries.spans import Bounds, Span, Spans, beyond, from_mark, mark_of, size_of
from dashboard.queries.streams import Reading, Row, by_ids, by_index, by_state, merged
from dashboard.queries.versions import by_workers
from dashboard.record.progress import State

PER_PAGE: Final = 50
MAX_PER_PAGE: Final = 500
_PORTION: Final = 500
_PORTION_WITH_PAYLOAD: Final = 100  # of up to 64 kB each
_BATCH: Final = 250  # candidates whose lanes are asked for together
_UNRECORDED: Final = frozenset({State.WAITING, State.SUCCEEDED})  # states that the index of trouble doesn't hold
_COSTLY: Final = ("payload", TEXT)  # looked at last
_NUMBER: Final = (1 << NUMBER_BITS) - 1


@dataclass(frozen=True)
class Budget:
    """How much one search may look at."""

    candidates: int = 20_000
    seconds: float = 0.075  # from its beginning: with what comes after, no search takes a tenth of a second


@dataclass
class _Progress:
    """How far a search got. `unreadable`: events whose data was not kept whole, so that a value in it is not known."""

    limit: int
    bounds: Bounds = field(default_factory=dict)
    found: list[int] = field(default_factory=list)
    searched: int = 0
    unreadable: int = 0
    back_to_ms: int | None = None
    is_over: bool = True


def search(
    query: Query,
    *,
    topic: str | None = None,
    mark: str | None = None,
    limit: int = PER_PAGE,
    oldest_first: bool = False,
    beyond_numbers: Mapping[int, int] | None = None,
    with_data: bool = False,
    budget: Budget | None = None,
) -> dict[str, Any]:
    """Events that `query` asks for, of one topic or all: `rows`, and `next`, the `mark` of the next page
    (`reached`: the same, given even when nothing is left).

    `searched`: None when the page is full or nothing is left; else how many events were looked at (`count`), of how
    many (`of`, None when an index chose them), down to which moment (`to_ms`). `unreadable`: see `_Progress`.
    Raises `QueryInvalid` for what nobody can answer.
    """
    began, budget = time.monotonic(), budget or Budget()
    query = by_workers(query)
    places = places_of(query, topic)
    spans = asked_spans(query, places)
    everything = size_of(spans, places)
    spans = beyond(beyond_numbers or {}, spans, oldest_first=oldest_first)
    spans = from_mark(mark, spans, oldest_first=oldest_first)
    progress = _Progress(
        max(1, min(limit, MAX_PER_PAGE)), {pid: _end(span, oldest_first) for pid, span in spans.items()}
    )
    around = Surroundings(spans)
    plan = _plan(query, spans, around, progress.limit, oldest_first=oldest_first)
    _run(plan, progress, around, replace(budget, seconds=budget.seconds - (time.monotonic() - began)))
    stopped = not progress.is_over and len(progress.found) < progress.limit
    to = {"count": progress.searched, "of": everything if plan.is_scan else None, "to_ms": progress.back_to_ms}
    return {
        "rows": listed(progress.found, around, with_data=with_data),
        "total_shown": len(progress.found),
        "next": None if progress.is_over else mark_of(progress.bounds),
        "reached": mark_of(progress.bounds),
        "searched": to if stopped else None,
        "unreadable": progress.unreadable,
        "cursor": cursors.encode({p.number: Position(p.events_cursor, p.journal_cursor) for p in places})
        if topic
        else None,
    }


@dataclass(frozen=True)
class _Plan:
    """Where candidates come from, and what is left to look at. `is_scan`: no index narrows them."""

    candidates: Iterator[Row]
    event_terms: tuple[Term, ...]
    lane_terms: tuple[Term, ...]
    knows_lanes: bool  # candidates come with the lanes that matter
    is_scan: bool


def _plan(query: Query, spans: Spans, around: Surroundings, limit: int, *, oldest_first: bool) -> _Plan:
    lane_terms = query.lane_terms
    event_terms = tuple(sorted((t for t in query.terms if t not in lane_terms), key=lambda t: t.field in _COSTLY))
    check_groups(query, around)
    states = _states(lane_terms)
    data = any(term.field in ("payload", TEXT) or "cut" in term.texts for term in event_terms)
    headers = any(term.field in ("header", TEXT) for term in event_terms)
    portion = _PORTION_WITH_PAYLOAD if data else _PORTION
    reading = Reading(oldest_first, min(portion, limit + 1), portion, headers or data, data)
    sources, knows_lanes, is_scan = _sources(query, states, spans, around, reading)
    if _the_group(lane_terms) is None and any(term.is_negated for term in lane_terms):
        knows_lanes = False  # other lanes of the event matter too
    return _Plan(merged(sources, reading), event_terms, lane_terms, knows_lanes, is_scan)


def _sources(
    query: Query, states: frozenset[str] | None, spans: Spans, around: Surroundings, reading: Reading
) -> tuple[list[Iterator[Row]], bool, bool]:
    """The sources of candidates, whether they tell the lanes that matter, and whether they are a scan."""
    for name in ("id", "trace", "cause"):
        if term := query.plain(name):
            return by_ids(spans, reading, name, term.texts), False, False
    if term := query.plain("key"):
        return by_index(spans, reading, "key", [text for text in term.texts if text]), False, False
    if states is not None and State.SUCCEEDED not in states:
        return _troubled(query, states, spans, around, reading)
    if term := query.plain("type"):
        return by_index(spans, reading, "type", term.texts), False, False
    return by_index(_within_groups(query, spans, around), reading), False, True


def _troubled(
    query: Query, states: frozenset[str], spans: Spans, around: Surroundings, reading: Reading
) -> tuple[list[Iterator[Row]], bool, bool]:
    """Events with a lane in these states. Waiting ones have no row unless they were given back: they lie behind the
    position of their group."""
    sources = by_state(spans, reading, sorted(states))
    lost = _forgotten(spans, around)
    if lost and State.LOST in states:
        sources += [source for span in lost for source in by_index(span, reading)]
    if State.WAITING not in states or any(term.is_plain for term in query.of("error", "fingerprint", "worker")):
        return sources, not lost, False  # of what a server forgot, open lanes are lost whatever their rows say
    if not around.state.available:
        term = query.of("state")[0]
        raise QueryInvalid(query.text, term.start, term.end, "the server is away, so nobody can tell what waits")
    waiting = {pid: Span(max(span.low, _handed_out(query, pid, around)), span.high) for pid, span in spans.items()}
    return [*sources, *by_index(waiting, reading)], False, False


def _forgotten(spans: Spans, around: Surroundings) -> list[Spans]:
    """What a rewound server forgot, as far as the spans hold it."""
    return [
        {pid: Span(max(low, gone.first - 1), min(high, gone.last + 1))}
        for pid, (low, high) in spans.items()
        for gone in around.partitions[pid].forgotten
    ]


def _handed_out(query: Query, pid: int, around: Surroundings) -> int:
    """Up to this number every group that the query may mean was handed all events of the partition."""
    named = {text for term in query.of("group") if term.is_plain for text in term.texts}
    groups = [group for group in around.histories.get(pid, {}) if not named or group in named]
    return min((around.last_number(pid, group) or 0 for group in groups), default=_NUMBER)


def _within_groups(query: Query, spans: Spans, around: Surroundings) -> Spans:
    """The partitions that the named group subscribed to."""
    term = query.plain("group")
    if term is None:
        return spans
    groups = {pid: set(around.histories.get(pid, {})) for pid in spans}
    return {pid: span for pid, span in spans.items() if groups[pid] & set(term.texts)}


def _the_group(lane_terms: Sequence[Term]) -> str | None:
    """The one group that all terms on lanes are about: what is negated then is said of the very lane that is wanted."""
    return next((t.texts[0] for t in lane_terms if t.field == "group" and t.is_plain and len(t.values) == 1), None)


def _states(lane_terms: Sequence[Term]) -> frozenset[str] | None:
    """The states that the wanted lane may be in; None: any."""
    is_one_lane = _the_group(lane_terms) is not None
    wanted = [term for term in lane_terms if is_one_lane or not term.is_negated]
    states = {str(state) for state in State}
    for term in wanted:
        if term.field == "state":
            excludes = term.is_negated is not (term.operator == "!=")
            states = states - set(term.texts) if excludes else states & set(term.texts)
        elif term.field == "error" and term.is_plain:
            states -= {str(State.SUCCEEDED)}  # which has none
    return frozenset(states) if len(states) < len(State) else None


def _run(plan: _Plan, progress: _Progress, around: Surroundings, budget: Budget) -> None:
    """Look at candidates until the page is full, nothing is left, or the budget is spent."""
    deadline = time.monotonic() + budget.seconds
    events = (list(lanes) for _, lanes in groupby(plan.candidates, key=itemgetter("id")))
    size = progress.limit + 1
    while batch := list(islice(events, 1 if plan.knows_lanes or not plan.lane_terms else min(size, _BATCH))):
        size = _BATCH
        lanes_of = _lanes_of(plan, batch, around)
        for candidate in batch:
            if len(progress.found) == progress.limit or _is_spent(progress, budget, deadline):
                progress.is_over = False
                return
            _look_at(candidate, plan, lanes_of, progress)
    progress.is_over = True


def _is_spent(progress: _Progress, budget: Budget, deadline: float) -> bool:
    return progress.searched >= budget.candidates or (progress.searched > 0 and time.monotonic() > deadline)


def _look_at(candidate: list[Row], plan: _Plan, lanes_of: Mapping[int, bool], progress: _Progress) -> None:
    row = candidate[0]
    progress.searched += 1
    progress.back_to_ms = row["at_ms"]
    progress.bounds[row["partition_id"]] = row["id"] & _NUMBER
    if not lanes_of.get(row["id"], True):
        return
    try:
        if is_wanted(plan.event_terms, Facts(row)):
            progress.found.append(row["id"])
    except Unreadable:
        progress.unreadable += 1


def _lanes_of(plan: _Plan, batch: Sequence[list[Row]], around: Surroundings) -> Mapping[int, bool]:
    """Whether each candidate has the lane that is asked for; two queries for all of them."""
    if not plan.lane_terms:
        return {}
    if plan.knows_lanes:
        return {lanes[0]["id"]: any(_is_lane(plan.lane_terms, lane) for lane in lanes) for lanes in batch}
    recorded = happened([lanes[0]["id"] for lanes in batch], with_attempts=False)
    found = {}
    for row, *_ in batch:
        known = recorded.get(row["id"], {})
        found[row["id"]] = has_wanted_lane(plan.lane_terms, around.lanes_of(row, known), known)
    return found


def _is_lane(terms: Sequence[Term], row: Row) -> bool:
    lane = {name.removeprefix("lane_"): value for name, value in row.items() if name.startswith("lane_")}
    return all(lane_has(term, lane) is not term.is_negated for term in terms)


def _end(span: Span, oldest_first: bool) -> int:  # noqa: FBT001  the one caller names it
    return span.low if oldest_first else span.high
