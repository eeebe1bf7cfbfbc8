"""Activity: every operator action, who, why, and what it caused; as a page, and as a file.

Parses the request and shapes what `queries` answers; must not query by itself.
"""

from __future__ import annotations

import csv
import io
import time
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from dashboard.api.export import harmless, moment
from dashboard.queries import activity as queries

FILTERS: Final = ("who", "deed", "topic", "group", "result", "since")
LOOKS: Final = {  # result → look and word
    "": ("running", "Under way"),
    "done": ("succeeded", "Done"),
    "refused": ("held", "Refused"),
    "failed": ("dead", "Failed"),
    "cancelled": ("discarded", "Cancelled"),
}
_COLUMNS: Final = (
    "id", "began", "ended", "who", "via", "deed", "topic", "group", "reason", "frozen_count", "result", "told",
    "filter", "event_id",
)  # fmt: skip


@require_safe
def activity(request: HttpRequest) -> HttpResponse:
    """A page of actions, newest first; with `?format=csv` or `json` a file of all that fit."""
    asked = {name: value for name in FILTERS if (value := request.GET.get(name, "").strip()[:150])}
    kind = request.GET.get("format", "")
    if kind in ("csv", "json"):
        return exported(kind, asked)
    before = request.GET.get("before", "")
    number = int(before[:18]) if before.isascii() and before.isdigit() else 0
    found = queries.activity(asked, now_ms=_now_ms(), before=number)
    context = {
        "actions": [shown(one) for one in found["actions"]],
        "older": urlencode({**asked, "before": found["next"]}) if found["next"] else "",
        "asked": asked,
        "choices": queries.choices(),
        "ages": queries.AGES,
        "results": [(name, word) for name, (_, word) in LOOKS.items() if name],
        "query": urlencode(asked),
    }
    return render(request, "activity/index.html", context)


@require_safe
def action(request: HttpRequest, pk: int) -> HttpResponse:
    """One action: what was asked, what came of it, what it caused."""
    found = queries.action(pk) if pk < 2**63 else None
    if found is None:
        raise Http404(f"no action {pk}")
    parts = [shown(part) for part in found["parts"]]
    return render(request, "activity/detail.html", {"action": {**shown(found), "parts": parts}})


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """An action with its result as icon and word, and its deed as words."""
    look, word = LOOKS.get(row["result"], ("waiting", row["result"]))
    return {**row, "state": {"state": look, "label": word}, "word": row["deed"].replace("-", " ").capitalize()}


def exported(kind: str, asked: dict[str, str]) -> HttpResponse:
    """All that fit, up to 50,000, as a file."""
    rows = queries.activity(asked, now_ms=_now_ms(), limit=queries.MAX_EXPORTED)["actions"]
    told = [{**row, "began": moment(row["began_ms"]), "ended": moment(row["ended_ms"] or 0)} for row in rows]
    if kind == "json":
        response = HttpResponse(msgspec.json.encode(told), content_type="application/json")
    else:
        out = io.StringIO()
        writer = csv.writer(out)
        writer.writerow(_COLUMNS)
        for row in told:
            cells = {**row, "filter": msgspec.json.encode(row["filter"]).decode()}
            writer.writerow([harmless("" if cells[name] is None else str(cells[name])) for name in _COLUMNS])
        response = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="activity.{kind}"'
    return response


def _now_ms() -> int:
    return int(time.time() * 1000)
