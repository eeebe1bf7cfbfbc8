"""Letters of a plan beside newer events of their type: how many are shaped otherwise. It tells and leaves nothing out.

Asked whenever the plan is shown, so it is as fresh as the page. Names of fields are payload: for who may see them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from dashboard import visible
from dashboard.models import NUMBER_BITS
from dashboard.queries import shapes
from dashboard.queries.lag import partitions
from dashboard.queries.shapes import Shape, Sort, When
from dashboard.replays.models import Replay
from dashboard.sql import rows, rows_in

MAX_LETTERS: Final = 200  # of a plan that are compared
MAX_SORTS: Final = 20  # types of topics, those with the most letters
# Every so many-th that is to be handed back, from the newest: no partition has all the places.
_LETTERS: Final = (
    "SELECT e.id, e.type, e.at_ms, e.at_seq, e.payload FROM"
    " (SELECT event_id, ROW_NUMBER() OVER (ORDER BY number DESC) AS nth"
    " FROM dashboard_replayletter WHERE replay_id = %s AND fate = 'planned') AS l"
    " JOIN dashboard_event e ON e.id = l.event_id WHERE (l.nth - 1) %% %s = 0 ORDER BY l.nth"
)
_LISTED: Final = "SELECT DISTINCT event_id FROM dashboard_replayletter WHERE replay_id = %s AND event_id IN (…)"


def compared(replay: Replay) -> dict[str, Any]:
    """`compared` letters, of these `differing`, and in what as a sentence: `told` is None when that may not be seen."""
    letters = _letters(replay)
    sorts = [sort for sort, _ in Counter(sort for sort, _, _ in letters).most_common(MAX_SORTS)]
    newest = shapes.newest(sorts)
    listed = _listed(replay, [one.id for some in newest.values() for one in some])
    count = differing = 0
    found: Counter[Sort] = Counter()
    for (topic, event_type), when, old in letters:
        now = [one.shape for one in newest.get((topic, event_type), ()) if one.when > when and one.id not in listed]
        differences = shapes.differences(old, now)
        count += bool(now)
        differing += bool(differences.total)
        if visible.sees_payloads(topic):
            found.update((event_type, phrase) for phrase in shapes.phrases(differences))
    is_hidden = bool(differing) and not found
    return {"compared": count, "differing": differing, "told": None if is_hidden else shapes.sentence_of_many(found)}


def sentence(found: Mapping[str, Any]) -> str:
    """As the command line says it; "" when none differs."""
    if not found["differing"]:
        return ""
    many = f"{found['differing']:,} of {found['compared']:,} compared"
    return f"{many} shaped otherwise than newer events of their type: {found['told'] or 'in what is hidden'}"


def _listed(replay: Replay, ids: Sequence[int]) -> set[int]:
    """Those that are on the list themselves: letters are no witnesses of what is right now."""
    return {row["event_id"] for row in rows_in(_LISTED, ids, before=[replay.pk])}


def _letters(replay: Replay) -> Sequence[tuple[Sort, When, Shape]]:
    topics = {place.id: place.topic for place in partitions().values()}
    found = []
    for row in rows(_LETTERS, [replay.pk, max(1, -(-replay.planned // MAX_LETTERS))]):
        one = shapes.shape_of(bytes(row["payload"]))
        if one is not None:
            sort = topics.get(row["id"] >> NUMBER_BITS, ""), row["type"]
            found.append((sort, (row["at_ms"], row["at_seq"]), one))
    return found
