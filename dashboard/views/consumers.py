"""Consumers: who is behind, since when, when will it be over? And one group with all that is known of it.

Orders and filters what `queries.groups()` answers; must not query by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from shlex import join
from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from dashboard import queries
from dashboard.actions.deeds.entries import named
from dashboard.actions.sight import Sight
from dashboard.queries.groups import CONDITIONS, is_behind
from dashboard.views.charts import over_time
from dashboard.views.replays import in_hand

MAX_ROWS: Final = 50
MOST_ROWS: Final = 500
MAX_PENDING: Final = 50
MAX_KINDS: Final = 10
FILTERS: Final = (
    ("", "All"),
    ("1", "In trouble"),
    ("behind", "Behind"),
    ("retrying", "Retrying"),
    ("dead", "With dead letters"),
    ("paused", "Paused"),
)
LOOKS: Final = {  # condition → state that gives icon and colour, and the word
    "stopped": ("lost", "No worker"),
    "paused": ("held", "Paused"),
    "behind": ("retrying", "Behind"),
    "unknown": ("waiting", "Unknown"),
    "dead": ("dead", "Dead letters"),
    "retrying": ("retrying", "Retrying"),
    "fine": ("succeeded", "Fine"),
}


@require_safe
def consumers(request: HttpRequest) -> HttpResponse:
    """One row for each group of each topic, what is in trouble first."""
    return render(request, "consumers/index.html", _listed(request))


@require_safe
def body(request: HttpRequest) -> HttpResponse:
    """The rows again, for the page itself to take in every few seconds."""
    return render(request, "consumers/_body.html", _listed(request))


@require_safe
def group(request: HttpRequest, topic: str, group: str) -> HttpResponse:
    """One group on one topic."""
    return render(
        request, "consumers/group.html", {**_found(request, topic, group), **over_time(request, topic, group)}
    )


@require_safe
def group_body(request: HttpRequest, topic: str, group: str) -> HttpResponse:
    """The page of a group again, as a fragment."""
    return render(request, "consumers/_group.html", _found(request, topic, group))


def row_id(*parts: str) -> str:
    """A name for a row, the same each time, whatever strangers called the things in it."""
    digest = blake2b("\0".join(parts).encode("utf-8", "replace"), digest_size=6)
    return f"row-{digest.hexdigest()}"


def _listed(request: HttpRequest) -> dict[str, Any]:
    answer = queries.groups()
    topic = request.GET.get("topic", "")[:120]
    trouble = request.GET.get("trouble", "")
    trouble = trouble if trouble in dict(FILTERS) else ""
    of_topic = [row for row in answer["groups"] if topic in ("", row["topic"])]
    found = sorted((row for row in of_topic if _is_wanted(row, trouble)), key=_badness)
    most = MOST_ROWS if request.GET.get("rows") == "all" else MAX_ROWS
    sparks = queries.lag_sparks([(row["topic"], row["group"]) for row in found[:most]], answer["now_ms"])
    return {
        "available": answer["available"],
        "away": answer["trouble"],
        "groups": [{**_shown(row), "spark": sparks[row["topic"], row["group"]]} for row in found[:most]],
        "of": len(found),
        "of_all": len(answer["groups"]),
        "topics": sorted({row["topic"] for row in answer["groups"]}),
        "topic": topic,
        "trouble": trouble,
        "filters": [
            {"value": value, "word": word, "count": sum(_is_wanted(row, value) for row in of_topic)}
            for value, word in FILTERS
        ],
        "query": request.GET.urlencode(),
    }


def _is_wanted(row: Mapping[str, Any], trouble: str) -> bool:
    wanted = {
        "": True,
        "1": bool(row["condition"] != "fine"),
        "behind": is_behind(row),
        "retrying": bool(row["retrying"]),
        "dead": bool(row["dead"]),
        "paused": row["paused_by"] is not None,
    }
    return wanted[trouble]


def _badness(row: Mapping[str, Any]) -> tuple[int, int, str, str]:
    return CONDITIONS.index(row["condition"]), -(row["lag"] or 0), row["group"], row["topic"]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    look, word = LOOKS[row["condition"]]
    return {**row, "id": row_id(row["topic"], row["group"]), "state": {"state": look, "label": word}}


def _found(request: HttpRequest, topic: str, name: str) -> dict[str, Any]:
    found = queries.group(topic, name)
    if found is None:
        raise Http404(f"no group {name} on {topic}")
    pending = queries.pending(topic, name, limit=MAX_PENDING)["entries"]
    workers = queries.workers()["workers"]
    return {
        "group": _shown(found),
        "pending": pending,
        "of_pending": max(found["pending"] or 0, len(pending or ())),  # asked for a moment apart
        "workers": _workers(name, workers, found["partitions"]),
        "dead": queries.dead_letters(topic=topic, group=name, limit=MAX_KINDS),
        "commands": list(_commands(topic, name, found)),
        "holding": _holding(request, topic, name),
        "replays": in_hand(topic, name),
    }


def _holding(request: HttpRequest, topic: str, name: str) -> dict[str, Any] | None:
    """The group's breakpoint as this user sees it, with what the buttons need."""
    if (there := queries.holding(topic, name)) is None:
        return None
    found: dict[str, Any] = Sight(request.user).of(there)
    for entry in found["entries"]:
        event = entry["event"] or {"id": ""}
        entry["edit"] = f"{reverse('edit-replay')}?{urlencode({'event': event['id'], 'group': name})}"
    return {**found, "chosen": [named(entry) for entry in found["entries"]]}


def _workers(
    group: str, workers: Iterable[dict[str, Any]], partitions: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The group's workers, each with how many events of the partitions that are shown are in its hands."""
    holds: Counter[str] = Counter()
    for row in partitions:
        for one in row["held"]:
            holds[one["worker"]] += one["count"]
    own = [{**worker, "holds": holds[worker["worker"]]} for worker in workers if group in worker["groups"]]
    return sorted(own, key=lambda worker: (-worker["holds"], worker["worker"]))[:MAX_ROWS]


def _commands(topic: str, name: str, found: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """What an operator may want to do to the group from a shell, each with what it does."""
    if found["paused_by"]:
        yield _command("resume", topic, name), "let it go on with what waited for it"
    else:
        yield _command("pause", topic, name, "--reason", "why"), "let it take nothing more; what runs may end"
    if found["dead"]:
        yield _command("replay", topic, name, "--dry-run"), "say which dead letters it would get back; without it, do"
    rewind = _command("rewind", topic, name, "--to", "1h", "--dry-run")
    yield rewind, "say what going back an hour would deliver anew; without it, do"
    yield _command("rewind", topic, name, "--to", "latest", "--dry-run"), "say what it would pass over; without it, do"


def _command(*words: str) -> str:
    return f"python manage.py {join(words)}"
