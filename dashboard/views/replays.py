"""Replays: the plan that is looked at before it starts, a replay while it runs, and all there ever were.

Parses the request and shapes what `replays.shown` and `replays.desk` answer. Forms all the way: no script is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from bus.errors import BusError, one_line
from dashboard.actions.audit import Actor, Forbidden, Wanted, admit
from dashboard.actions.roles import Deed, may
from dashboard.replays import desk, shown
from dashboard.replays.desk import Terms
from dashboard.replays.models import Replay
from dashboard.replays.plan import Asked, PlanInvalid
from dashboard.views.pacing import paced

PACES: Final = (10, 50, 200, 1_000)
WORDS: Final = {  # of a letter's fate: on the plan's and the replay's tabs
    "planned": "to be replayed",
    "succeeded_before": "succeeded since",
    "replayed_before": "being replayed already",
    "discarded_before": "discarded since",
    "superseded": "superseded",
    "gone": "gone from the stream",
    "unhandled": "type no longer taken",
    "waiting": "waiting",
    "succeeded": "succeeded",
    "same_error": "same error",
    "new_error": "new error",
    "other": "settled otherwise",
    "missed": "no longer dead",
}


@require_safe
def replays(request: HttpRequest) -> HttpResponse:
    """Every replay there was."""
    before = request.GET.get("before", "")
    found = shown.replays(before=int(before) if before.isascii() and before.isdigit() and len(before) < 18 else None)
    return render(request, "replays/index.html", {**found, "is_later_page": bool(before)})


@require_POST
@paced
def plan(request: HttpRequest) -> HttpResponse:
    """Freeze the list that is asked for, and show it."""
    try:
        admit(_actor(request), Wanted(Deed.REPLAY))
        asked = asked_of(request)
        verdict = may(request.user, Deed.REPLAY, asked.topic)
        if not verdict.allowed:
            raise Forbidden(f"not allowed: {verdict.reason}")
        replay = desk.plan(request.user.get_username(), asked)
    except BusError as error:
        return _refused(request, error)
    return redirect("replay", replay.pk)


def asked_of(request: HttpRequest) -> Asked:
    """What a form of the Dead letters page asks for: the rows that were chosen, or all that match."""
    names: dict[str, Any] = {
        name: request.POST.get(name, "").strip()[:1_000] for name in ("topic", "group", "error", "type", "query")
    }
    if request.POST.get("which") != "chosen":
        return Asked(**names)
    chosen = [_chosen(text) for text in request.POST.getlist("letter")]
    if not chosen:
        raise PlanInvalid("expected at least one dead letter to be selected, got none; tick its box")
    return Asked(**names, chosen=chosen)


def _chosen(text: str) -> tuple[int, str]:
    number, _, group = text.partition(":")
    if not (number.isascii() and number.isdigit() and len(number) < 19 and group):
        raise PlanInvalid(f"expected a letter as the page names it, got {ascii(text)[:40]}; reload the page")
    return int(number), group


@require_safe
def replay(request: HttpRequest, pk: int) -> HttpResponse:
    """The plan, or how the replay stands."""
    return render(request, "replays/detail.html", _context(request, pk))


@require_safe
def body(request: HttpRequest, pk: int) -> HttpResponse:
    """What the page shows again while it runs."""
    return render(request, "replays/_body.html", _context(request, pk))


@require_POST
@paced
def confirm(request: HttpRequest, pk: int) -> HttpResponse:
    """Start it."""
    pace = request.POST.get("pace", "")
    terms = Terms(
        pace=int(pace) if pace.isascii() and pace.isdigit() and len(pace) < 9 else 0,
        canary="canary" in request.POST,
        superseded="superseded" in request.POST,
        reason=request.POST.get("reason", "").strip(),
    )
    return _acted(request, pk, lambda actor, one: desk.confirm(actor, one, terms))


@require_POST
@paced
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Hand back nothing more."""
    return _acted(request, pk, lambda actor, one: desk.cancel(actor, one, request.POST.get("reason", "").strip()))


@require_POST
@paced
def go_on(request: HttpRequest, pk: int) -> HttpResponse:
    """Replay the rest of one that ended early."""
    return _acted(request, pk, lambda actor, one: desk.go_on(actor, one, request.POST.get("reason", "").strip()))


def _acted(request: HttpRequest, pk: int, act: Callable[[Actor, Replay], Replay]) -> HttpResponse:
    found: Replay | None = shown.seen().filter(pk=pk).first()
    if found is None:
        raise Http404(f"no replay {pk}")
    try:
        act(_actor(request), found)
    except BusError as error:
        return _refused(request, error, pk)
    return redirect("replay", pk)


def _actor(request: HttpRequest) -> Actor:
    return Actor(request.user.get_username(), "page", request.user)


def _refused(request: HttpRequest, error: BusError, pk: int | None = None) -> HttpResponse:
    status = 403 if isinstance(error, Forbidden) else 400
    text = one_line(error)
    if pk is None:
        return render(request, "replays/refused.html", {"refused": text}, status=status)
    return render(request, "replays/detail.html", {**_context(request, pk), "refused": text}, status=status)


def _context(request: HttpRequest, pk: int) -> dict[str, Any]:
    found = shown.replay(pk)
    if found is None:
        raise Http404(f"no replay {pk}")
    fates = shown.fates_shown(found)
    asked = request.GET.get("show", "")
    tab = asked if asked in fates else next(iter(fates), "")
    return {
        "replay": found,
        "tab": tab,
        "tabs": [{"fate": fate, "words": WORDS[fate], "count": found["counts"][fate]} for fate in fates],
        "letters": shown.letters(pk, [tab]) if tab else [],
        "paces": [
            {"a_second": pace, "ms": found["planned"] * 1_000 / pace, "usual": pace == desk.USUAL_PACE}
            for pace in PACES
        ],
        "left_out": found["total"] - found["planned"] - found["counts"]["superseded"],
        "bar": bar(found),
        "may": may(request.user, Deed.REPLAY, found["topic"] or ""),
        "query": request.GET.urlencode(),
    }


def in_hand(topic: str | None = None, group: str | None = None) -> list[dict[str, Any]]:
    """What `dead/_replays.html` shows: the replays that want somebody's eye, of all or of one group."""
    return [{**one, "bar": bar(one)} for one in shown.in_hand(topic, group)]


def bar(replay: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of its progress in a box of 1,000, each with where it begins."""
    parts, at = [], 0.0
    for name, look in (
        ("succeeded", "succeeded"), ("same_error", "dead"), ("new_error", "retrying"), ("other", "discarded"),
        ("waiting", "waiting"),
    ):  # fmt: skip
        width = 1_000 * replay[name] / max(replay["planned"], 1)
        if width:
            parts.append({"look": look, "at": f"{at:.2f}", "width": f"{max(width, 2):.2f}"})
            at += width
    return parts
