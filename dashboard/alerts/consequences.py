"""Events whose consequence never came: each is judged once, by indexed queries, after all that could tell is recorded.

How far a partition is judged moves in the transaction that stores what is missing, by compare-and-set: of two that
judge at once one is undone. What came late ends what was missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, NamedTuple

from django.db import transaction

from dashboard.alerts.models import AlertRule, JudgedUpTo, Missing
from dashboard.alerts.readings import Reading, Scene
from dashboard.alerts.rules import span
from dashboard.models import GHOSTS_FROM, event_pk, number_of
from dashboard.queries.lag import PartitionRow
from dashboard.sql import rows, spread

PORTION: Final = 500  # events at once
PORTIONS: Final = 20  # of a partition in one look: the rest waits for the next
LATE_AGAIN_MS: Final = 10_000  # between two looks for a late one
KEPT_MS: Final = 24 * 3_600_000  # older ones keep no alert raised
_CANDIDATES: Final = (
    "SELECT id, event_id, correlation_id, key, at_ms FROM dashboard_event"
    " WHERE type = %s AND id > %s AND id <= %s ORDER BY id LIMIT %s"
)
_FOLLOWED: Final = {  # which of these have a consequence: an index answers it for each of them
    "trace": (
        "SELECT e.id FROM <table> e WHERE e.id IN (…) AND EXISTS (SELECT 1 FROM dashboard_event c"
        " WHERE c.correlation_id = e.correlation_id AND c.at_ms >= e.at_ms AND c.at_ms <= e.at_ms + %s"
        " AND c.type = %s AND c.partition_id IN (<places>))"
    ),
    "key": (
        "SELECT e.id FROM <table> e WHERE e.id IN (…) AND EXISTS (SELECT 1 FROM dashboard_event c"
        " WHERE c.key = e.key AND NOT (c.key = '') AND c.at_ms >= e.at_ms AND c.at_ms <= e.at_ms + %s"
        " AND c.type = %s AND (<ranges>))"
    ),
}
EVER_MS: Final = 10**12
_AT: Final = "SELECT id, at_ms FROM dashboard_event WHERE id >= %s AND id <= %s ORDER BY id LIMIT 1"


def judge(rule: AlertRule, scene: Scene) -> None:
    """Judge what has become due, as far as is recorded; then see what came late."""
    until_ms = _due_until(rule, scene)
    if until_ms is None:
        return
    for place in scene.places.values():
        if fnmatchcase(place.topic, rule.topic):
            _judge_place(rule, scene, place, until_ms - rule.within_s * 1000)
    _see_late(rule, scene)


def reading(rule: AlertRule) -> Reading:
    """How many events miss their consequence."""
    count = Missing.objects.filter(rule=rule, ended_ms=None)[: rule.threshold + 10_000].count()
    plural = "" if count == 1 else "s"
    told = f"{count:,} {rule.topic}/{rule.type} event{plural} with no {rule.then_type} within {span(rule.within_s)}"
    return Reading(rule.topic, "", count, told)


def _due_until(rule: AlertRule, scene: Scene) -> int | None:
    """Consequences until then are known; None: nobody can tell."""
    if not scene.state.available:
        return None
    return scene.recorded_ms.get(rule.then_topic, scene.server_ms)  # a topic that nobody knows has had no event


def _judge_place(rule: AlertRule, scene: Scene, place: PartitionRow, due_ms: int) -> None:
    at = JudgedUpTo.objects.filter(rule=rule, partition_id=place.id).first()
    if at is None:
        first = event_pk(place.id, _first_after(place, rule.since_ms + scene.server_ms - scene.now_ms))
        at, _ = JudgedUpTo.objects.get_or_create(rule=rule, partition_id=place.id, defaults={"event": first - 1})
    last = event_pk(place.id, place.newest_number)
    for _ in range(PORTIONS):
        found = rows(_CANDIDATES, [rule.type, at.event, last, PORTION])
        due = [row for row in found if row["at_ms"] <= due_ms]
        if not due or not _store(rule, scene, place, at, due) or len(due) < PORTION:
            return


def _store(
    rule: AlertRule, scene: Scene, place: PartitionRow, at: JudgedUpTo, due: Sequence[Mapping[str, Any]]
) -> bool:
    """Store which of them have no consequence, and that they are judged; False: somebody else has judged them."""
    within_ms, upto = rule.within_s * 1000, due[-1]["id"]
    asked = _Asked("dashboard_event", [row["id"] for row in due], due[0]["at_ms"], within_ms)
    followed = _followed(rule, scene, asked)
    names = ("event_id", "correlation_id", "key", "at_ms")
    missing = [
        Missing(rule=rule, topic=place.topic, **{name: row[name] for name in names})
        for row in due
        if row["id"] not in followed
    ]
    with transaction.atomic():
        seen = JudgedUpTo.objects.filter(rule=rule, partition_id=place.id, event=at.event)
        if not seen.update(event=upto):
            return False
        Missing.objects.bulk_create(missing, ignore_conflicts=True, batch_size=100)
    at.event = upto
    return True


class _Asked(NamedTuple):
    """Rows of a table, the oldest of which is from then, and how long their consequence has time."""

    table: str
    ids: Sequence[int]
    from_ms: int
    within_ms: int


def _followed(rule: AlertRule, scene: Scene, asked: _Asked) -> set[int]:
    """Which of the rows have their consequence, in one query."""
    own = [place for place in scene.places.values() if place.topic == rule.then_topic]
    if not own or not asked.ids:
        return set()
    statement, values = _placed(_FOLLOWED[rule.same].replace("<table>", asked.table), own, asked.from_ms)
    found = rows(spread(statement, len(asked.ids)), [*asked.ids, asked.within_ms, rule.then_type, *values])
    return {row["id"] for row in found}


def _placed(statement: str, own: Sequence[PartitionRow], from_ms: int) -> tuple[str, list[int]]:
    """The statement with the partitions where consequences come to, from then on, and their values."""
    if "<places>" in statement:
        return statement.replace("<places>", ", ".join(["%s"] * len(own))), [place.id for place in own]
    starts = [event_pk(place.id, _first_after(place, from_ms)) for place in own]
    ends = [event_pk(place.id, GHOSTS_FROM - 1) for place in own]
    ranges = " OR ".join(["c.id BETWEEN %s AND %s"] * len(own))
    return statement.replace("<ranges>", ranges), [value for pair in zip(starts, ends, strict=True) for value in pair]


def _first_after(place: PartitionRow, at_ms: int) -> int:
    """The number of the first event that was published then or later; the next one that comes, when none was."""
    low, high = place.swept_number + 1, place.newest_number + 1
    while low < high:
        middle = (low + high) // 2
        found = rows(_AT, [event_pk(place.id, middle), event_pk(place.id, high - 1)])
        if not found or found[0]["at_ms"] >= at_ms:
            high = middle
        else:
            low = number_of(found[0]["id"]) + 1
    return low


def _see_late(rule: AlertRule, scene: Scene) -> None:
    """End what is missing no more: it came late, or it is long ago."""
    Missing.objects.filter(rule=rule, ended_ms=None, at_ms__lt=scene.server_ms - KEPT_MS).update(ended_ms=scene.now_ms)
    due = Missing.objects.filter(rule=rule, ended_ms=None, looked_ms__lt=scene.now_ms - LATE_AGAIN_MS)
    some = list(due.order_by("looked_ms")[:PORTION])
    oldest_ms = min((one.at_ms for one in some), default=0)
    came = _followed(rule, scene, _Asked("dashboard_missing", [one.pk for one in some], oldest_ms, EVER_MS))
    with transaction.atomic():
        Missing.objects.filter(pk__in=[one.pk for one in some]).update(looked_ms=scene.now_ms)
        Missing.objects.filter(pk__in=came, ended_ms=None).update(ended_ms=scene.now_ms, came=True)
