"""Acting through the API: the same deeds as on the screen, with the same checks, frozen ids and record."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec
from django.http import HttpRequest

from bus.errors import BusError
from dashboard.actions.acting import Proposal, deed_of, propose, revealed
from dashboard.actions.acting import act as do
from dashboard.actions.audit import Actor, Wanted, admit
from dashboard.actions.plan import Asked, Unclear
from dashboard.actions.roles import Deed
from dashboard.api.answers import Refused, endpoint, posted, whole
from dashboard.queries import activity

MAX_BYTES: Final = 2_000_000
NAMES: Final = ("who", "deed", "topic", "group", "result", "since")


@endpoint
def actions(request: HttpRequest) -> dict[str, Any]:
    """What operators did, newest first."""
    asked = {name: value for name in NAMES if (value := request.GET.get(name, "")[:150])}
    limit = whole(request, "limit", default=activity.PER_PAGE, most=200)
    before = whole(request, "before", default=2**53, most=2**53)
    return activity.activity(asked, now_ms=int(time.time() * 1000), before=before, limit=limit)


@endpoint
def action(_request: HttpRequest, pk: int) -> dict[str, Any]:
    """One action, with what it caused."""
    found = activity.action(pk) if pk < 2**63 else None
    if found is None:
        raise Refused(f"no action has the number {pk}", 404)
    return found


@posted
def act(request: HttpRequest, deed: str) -> dict[str, Any]:
    """Do it; with `dry_run` only say what would be done, and `frozen`, which does exactly that when it is posted."""
    try:
        wanted = deed_of(deed)
    except Unclear as error:
        raise Refused(str(error), 404) from None
    actor = Actor(request.user.get_username(), "api", request.user)
    body = _body(request, actor, wanted)
    reason, frozen = str(body.get("reason") or ""), str(body.get("frozen") or "")
    if not frozen:
        proposal = _proposed(actor, wanted, Asked(body))
        frozen = proposal.frozen
        if body.get("dry_run"):
            plan = proposal.plan
            told = {name: getattr(plan, name) for name in ("topic", "group", "title", "undo", "count", "impossible")}
            says = [line for line in plan.says if line]
            table = [dict(zip(plan.columns, row, strict=True)) for row in plan.rows]
            allowed = {"allowed": proposal.verdict.allowed, "why_not": proposal.verdict.reason}
            return {"deed": wanted.value, **told, "says": says, "rows": table, **allowed, "frozen": frozen}
    if not reason:
        admit(actor, Wanted(wanted))
        raise Refused("expected a reason: it is kept with your name")
    made = do(actor, wanted, frozen, reason)
    unmasked = {"revealed": revealed(made)} if wanted is Deed.REVEAL else {}
    return {**(activity.action(made.pk) or {}), **unmasked}


def _proposed(actor: Actor, deed: Deed, asked: Asked) -> Proposal:
    try:
        return propose(actor.user, deed, asked)
    except BusError:
        admit(actor, Wanted(deed))  # who may not is told that, not what is wrong with what they ask
        raise


def _body(request: HttpRequest, actor: Actor, deed: Deed) -> dict[str, Any]:
    try:
        return _read(request)
    except Refused:
        admit(actor, Wanted(deed))
        raise


def _read(request: HttpRequest) -> dict[str, Any]:
    raw = request.body
    if len(raw) > MAX_BYTES:
        raise Refused(f"expected at most {MAX_BYTES:,} bytes, got {len(raw):,}", 413)
    try:
        return msgspec.json.decode(raw or b"{}", type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, ValueError, BusError) as error:
        raise Refused(f"expected a JSON object, got something else ({error})") from None
