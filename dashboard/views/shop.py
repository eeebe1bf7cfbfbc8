"""The shop's order list: the rows that its projection keeps of the topic `orders`, as the shop itself would read them.

There only where the shop has run; reads the projection's rows and nothing of the bus.
"""

from __future__ import annotations

from typing import Final

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

import bus
from dashboard.actions.sight import Sight
from dashboard.queries.language import quoted
from dashboard.shop.models import OrderRow

PROJECTION: Final = "order_list"
MAX_ROWS: Final = 50
LOOKS: Final = {"placed": "succeeded", "stock missing": "retrying", "flagged": "held"}


@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """The newest orders of the version that serves; 404 where no shop has kept a list."""
    return render(request, "shop/orders.html", _context(request))


@require_safe
def body(request: HttpRequest) -> HttpResponse:
    """The rows again, for the page itself."""
    return render(request, "shop/_orders.html", _context(request))


def _context(request: HttpRequest) -> dict[str, object]:
    version = bus.live_version(PROJECTION)
    if not version:
        raise Http404("no shop has kept a list of orders here")
    found = OrderRow.objects.filter(version=version)
    rows = found.order_by("-pk").values("order_id", "customer", "total", "state")[:MAX_ROWS]
    orders = [
        {
            **row,
            "look": LOOKS.get(row["state"], "waiting"),
            "query": f"topic:orders key:{quoted(row['order_id'])}",
        }
        for row in rows
    ]
    return {"orders": orders, "of": found.count(), "version": version, "may_see": Sight(request.user).sees("orders")}
