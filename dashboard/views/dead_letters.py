"""Dead letters by what went wrong: what was given up, since when, by whom, and how to hand it back.

Parses the request and shapes what `queries` answers; must not query by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shlex import join
from typing import Any, Final
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from bus.delivery import without_details
from dashboard import queries
from dashboard.actions.roles import Deed, may
from dashboard.queries.language import quoted
from dashboard.views.consumers import row_id
from dashboard.views.replays import in_hand

MAX_COMMANDS: Final = 5


@require_safe
def dead_letters(request: HttpRequest) -> HttpResponse:
    """One row for each kind of error; with `?error=` the letters of that kind."""
    return render(request, "dead/index.html", _context(request))


@require_safe
def body(request: HttpRequest) -> HttpResponse:
    """What the page shows again, for the page itself to take in every few seconds."""
    return render(request, "dead/_body.html", _context(request))


def _context(request: HttpRequest) -> dict[str, Any]:
    names = ("topic", "group", "error")
    asked = {name: value for name in names if (value := request.GET.get(name, "").strip()[:300])}
    topic, group, error = (asked.get(name) for name in names)
    found = queries.dead_letters(topic=topic, group=group, fingerprint=error)
    kinds = [_shown(kind, asked) for kind in found["kinds"]]
    return {
        **found,
        "kinds": kinds,
        "count": sum(kind["count"] for kind in kinds),
        "asked": asked,
        "without": [{"name": name, "value": asked[name], "link": _link(asked, name)} for name in asked],
        "one": _one(request, kinds, asked) if error else None,
        "query": request.GET.urlencode(),
        "replays": in_hand(),
        "may_replay": may(request.user, Deed.REPLAY, topic or ""),
    }


def _one(request: HttpRequest, kinds: list[dict[str, Any]], asked: Mapping[str, str]) -> dict[str, Any]:
    """The kind that is asked for, with a page of its letters."""
    topic, group, mark = asked.get("topic"), asked.get("group"), request.GET.get("before")
    page = queries.letters(asked["error"], topic=topic, group=group, mark=mark)
    search = f"state:dead fingerprint:{quoted(asked['error'])}"
    return {
        "kind": kinds[0] if kinds else None,
        **page,
        "letters": [{**one, "row": row_id(one["topic"], one["id"], one["group"])} for one in page["letters"]],
        "is_later_page": bool(mark),
        "older": urlencode({**asked, "before": page["next"] or ""}),
        "search": search + (f" group:{quoted(group)}" if group else "") + (f" topic:{quoted(topic)}" if topic else ""),
    }


def _shown(kind: Mapping[str, Any], asked: Mapping[str, str]) -> dict[str, Any]:
    error_class, _, message = kind["error"].partition(": ")
    is_named = kind["fingerprint"] != kind["error"]  # a letter without a fingerprint is told by its error
    only = ["--fingerprint", kind["fingerprint"]] if is_named else ["--error", error_class]
    commands = [{**place, "text": _replay(place, only)} for place in kind["places"]]
    places = [{**place, "discard": f"Discard {place['count']:,} of {place['group']}…"} for place in kind["places"]]
    return {
        **kind,
        "places": places,
        "id": row_id(kind["fingerprint"]),
        "error_class": error_class,
        "message": without_details(message),
        "others": _others(kind["messages"], without_details(message)),
        "topics": sorted({place["topic"] for place in kind["places"]}),
        "link": f"?{urlencode({**asked, 'error': kind['fingerprint']})}",
        "commands": commands[:MAX_COMMANDS],
        "more_commands": len(commands[MAX_COMMANDS:]),
    }


def _others(messages: Iterable[str], shown: str) -> list[str]:
    """What letters of the kind say beside the message that is shown, as far as it is something else."""
    said = (without_details(error.partition(": ")[2]) for error in messages)
    return [one for one in dict.fromkeys(said) if one and one != shown]


def _replay(place: Mapping[str, Any], only: list[str]) -> str:
    return f"python manage.py {join(['replay', place['topic'], place['group'], *only])}"


def _link(asked: Mapping[str, str], without: str) -> str:
    return f"?{urlencode({name: value for name, value in asked.items() if name != without})}"
