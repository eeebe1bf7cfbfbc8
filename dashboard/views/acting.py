"""Acting from the screen: what would happen, to how many, can it be undone; then doing it, and what came of it.

GET and a POST without `frozen` only show. Works without JavaScript; with it the question is asked in a dialog.
"""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from bus.errors import BusError
from dashboard.actions import rates
from dashboard.actions.acting import act as do
from dashboard.actions.acting import deed_of, propose, revealed
from dashboard.actions.audit import Actor, Forbidden
from dashboard.actions.plan import Asked, Unclear
from dashboard.actions.roles import Deed, may, may_somewhere


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def act(request: HttpRequest, deed: str) -> HttpResponse:
    """Ask, and on the confirmation that was asked for, do."""
    try:
        wanted = deed_of(deed)
    except Unclear as error:
        raise Http404(str(error)) from None
    if request.method == "POST" and "frozen" in request.POST:
        return _done(request, wanted)
    asked = Asked(request.POST if request.method == "POST" else request.GET)
    if wanted is Deed.PUBLISH and (request.method != "POST" or "again" in request.POST):
        return _form(request, asked)
    return _asked(request, wanted, asked)


def _asked(request: HttpRequest, deed: Deed, asked: Asked) -> HttpResponse:
    back = own_path(request, asked.get("next"))
    try:
        proposal = propose(request.user, deed, asked)
    except BusError as error:
        if deed is Deed.PUBLISH:
            return _form(request, asked, trouble=str(error))
        told = {"deed": deed, "trouble": str(error), "back": back}
        status = 400 if request.method != "POST" or may_somewhere(request.user, deed).allowed else 403
        return render(request, _template(request, "trouble"), told, status=status)
    said = {name: asked.get(name) for name in ("topic", "type", "key", "data")}
    context: dict[str, Any] = {**proposal._asdict(), "deed": deed, "back": back, "said": said}
    return render(request, _template(request, "confirm"), context)


def _done(request: HttpRequest, deed: Deed) -> HttpResponse:
    back = own_path(request, request.POST.get("next", ""))
    if wait := rates.wait_seconds(f"user {request.user.pk}"):
        messages.error(request, f"Not done: more than {rates.PER_MINUTE} actions within a minute; try in {wait} s.")
        return redirect(back)
    actor = Actor(request.user.get_username(), "page", request.user)
    try:
        action = do(actor, deed, request.POST["frozen"], request.POST.get("reason", ""))
    except Forbidden as error:
        return render(request, "403.html", {"why": str(error)}, status=403)
    except BusError as error:
        messages.error(request, f"Not done: {error}")
    else:
        if deed is Deed.REVEAL:
            return render(request, "acting/revealed.html", {"action": action, "text": revealed(action), "back": back})
        messages.success(request, action.told, extra_tags=reverse("action", args=[action.pk]))
    return redirect(back)


def _form(request: HttpRequest, asked: Asked, *, trouble: str = "") -> HttpResponse:
    topic = asked.get("topic")
    context: dict[str, Any] = {
        "topic": topic,
        "said": {name: asked.get(name) for name in ("type", "key", "data")},
        "verdict": may(request.user, Deed.PUBLISH, topic),
        "trouble": trouble,
        "back": own_path(request, asked.get("next")),
    }
    return render(request, _template(request, "publish"), context, status=400 if trouble else 200)


def own_path(request: HttpRequest, wanted: str) -> str:
    """Where to go on: a path of this site, else the Activity page."""
    is_path = wanted.startswith("/") and wanted.isprintable()
    if is_path and url_has_allowed_host_and_scheme(wanted, allowed_hosts={request.get_host()}):
        return wanted
    return reverse("activity")


def _template(request: HttpRequest, name: str) -> str:
    is_dialog = request.headers.get("HX-Request") == "true"
    return f"acting/_{name}.html" if is_dialog else f"acting/{name}.html"
