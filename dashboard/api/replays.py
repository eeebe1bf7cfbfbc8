"""Replays over the API: plan, confirm, look, cancel, go on. The same `desk` as the page; a JSON object each way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from bus.errors import BusError, one_line
from dashboard.actions.audit import Actor, Forbidden, Wanted, admit
from dashboard.actions.roles import Deed, may
from dashboard.api.answers import Refused, endpoint, endpoint_for, posted
from dashboard.models import Event
from dashboard.queries import QueryInvalid
from dashboard.record.rows import clean
from dashboard.replays import desk, shown
from dashboard.replays.desk import Terms
from dashboard.replays.models import Fate, Replay, Stage
from dashboard.replays.plan import MAX_CHOSEN, Asked

TEXTS = ("topic", "group", "error", "type", "query")


@endpoint_for("GET", "HEAD", "POST")
def replays(request: HttpRequest) -> dict[str, Any] | HttpResponseBase:
    """GET: every replay, newest first. POST: freeze a list."""
    if request.method != "POST":
        before = request.GET.get("page", "")
        return shown.replays(before=_number(before, "page") if before else None)
    admit(_actor(request), Wanted(Deed.REPLAY))
    said = _said(request, (*TEXTS, "letters"))
    asked = Asked(**{name: _text(said, name) for name in TEXTS}, chosen=_letters(said.get("letters")))
    verdict = may(request.user, Deed.REPLAY, asked.topic)
    if not verdict.allowed:
        raise Refused(f"not allowed: {verdict.reason}", 403)
    made = _done(lambda: desk.plan(request.user.get_username(), asked))
    return JsonResponse(shown.replay(made.pk), status=201)


@endpoint
def replay(request: HttpRequest, pk: int) -> dict[str, Any]:
    """How one stands; with `show` the first letters of one fate."""
    found = _there(pk)
    fate = request.GET.get("show", "")
    if fate and fate not in {one.value for one in Fate}:
        raise Refused(f"expected show to be one of {', '.join(Fate)}, got {ascii(fate)[:40]}")
    return {**found, "letters": shown.letters(pk, [fate])} if fate else found


@posted
def confirm(request: HttpRequest, pk: int) -> dict[str, Any]:
    """Start it."""
    _admitted(request, pk, Deed.REPLAY)
    said = _said(request, ("pace", "canary", "superseded", "reason"))
    pace, flags = said.get("pace", desk.USUAL_PACE), (said.get("canary", True), said.get("superseded", False))
    if not isinstance(pace, int) or isinstance(pace, bool) or not all(isinstance(flag, bool) for flag in flags):
        raise Refused("expected pace to be a whole number, canary and superseded to be true or false")
    terms = Terms(pace, canary=flags[0], superseded=flags[1], reason=_text(said, "reason"))
    return _act(request, pk, lambda actor, one: desk.confirm(actor, one, terms))


@posted
def cancel(request: HttpRequest, pk: int) -> dict[str, Any]:
    """Hand back nothing more."""
    _admitted(request, pk, Deed.CANCEL_REPLAY)
    reason = _text(_said(request, ("reason",)), "reason")
    return _act(request, pk, lambda actor, one: desk.cancel(actor, one, reason))


@posted
def go_on(request: HttpRequest, pk: int) -> dict[str, Any]:
    """Replay the rest of one that ended early."""
    _admitted(request, pk, Deed.RESUME_REPLAY)
    reason = _text(_said(request, ("reason",)), "reason")
    return _act(request, pk, lambda actor, one: desk.go_on(actor, one, reason))


def _act(request: HttpRequest, pk: int, act: Callable[[Actor, Replay], Replay]) -> dict[str, Any]:
    _done(lambda: act(_actor(request), Replay.objects.get(pk=pk)))
    return _there(pk)


def _admitted(request: HttpRequest, pk: int, deed: Deed) -> None:
    """Who may not is told so, whatever else is wrong with what they say."""
    found = shown.seen().filter(pk=pk).exclude(stage=Stage.PLANNING).first() if pk < 2**63 else None
    admit(_actor(request), Wanted(deed, found.topic if found else _there(pk)["topic"], filter={"replay": pk}))


def _actor(request: HttpRequest) -> Actor:
    return Actor(request.user.get_username(), "api", request.user)


def _done(do: Callable[[], Replay]) -> Replay:
    try:
        return do()
    except QueryInvalid:
        raise  # answered with the word that is wrong
    except BusError as error:
        raise Refused(one_line(error), 403 if isinstance(error, Forbidden) else 400) from None


def _there(pk: int) -> dict[str, Any]:
    found = shown.replay(pk) if pk < 2**63 else None
    if found is None:
        raise Refused(f"no replay has the id {pk}: it was never confirmed, or there was none", 404)
    return found


def _said(request: HttpRequest, names: tuple[str, ...]) -> Mapping[str, Any]:
    """The body: a JSON object with some of these names, or nothing."""
    try:
        said = msgspec.json.decode(request.body) if request.body else {}
    except (msgspec.DecodeError, RecursionError, ValueError):
        said = None
    if not isinstance(said, dict) or not said.keys() <= set(names):
        raise Refused(f"expected a JSON object with some of {', '.join(names)}")
    return said


def _text(said: Mapping[str, Any], name: str) -> str:
    text = said.get(name) or ""
    if not isinstance(text, str) or len(text) > 1_000:
        raise Refused(f"expected {name} to be text of at most 1,000 characters")
    return text


def _letters(said: Any) -> list[tuple[int, str]]:
    """`[{"event": id, "group": name}]` as the plan takes them."""
    if said is None:
        return []
    if not isinstance(said, list) or not 0 < len(said) <= MAX_CHOSEN or not all(map(_is_letter, said)):
        raise Refused(f'expected letters to be up to {MAX_CHOSEN:,} of {{"event": id, "group": name}}')
    ids = {clean(one["event"]) for one in said}
    known: dict[str, list[int]] = {}
    for pk, event_id in Event.objects.filter(event_id__in=ids).values_list("pk", "event_id"):
        known.setdefault(event_id, []).append(pk)
    return [(pk, clean(one["group"], 120)) for one in said for pk in known.get(clean(one["event"]), [0])]


def _is_letter(one: Any) -> bool:
    return isinstance(one, dict) and one.keys() == {"event", "group"} and all(isinstance(v, str) for v in one.values())


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Refused(f"expected {name} to be a whole number, got {ascii(text)[:40]}")
    return int(text)
