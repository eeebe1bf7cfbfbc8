"""What a page says of a delivery's replays: which handed it back, what became of that, what replaced the event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard.replays import editing, shown
from dashboard.views.replays import WORDS

register = template.Library()
MAX_SHOWN: Final = 5


@register.simple_tag
def replays_of(event_id: str, lane: Mapping[str, Any] | None) -> dict[str, list[dict[str, Any]]]:
    """Of the lane that is looked at, else of all of the event's."""
    found = shown.of_event(event_id)
    some = found.get(lane["group"], []) if lane else [one for of_group in found.values() for one in of_group]
    return {
        "replays": [{**one, "words": WORDS.get(one["fate"], one["fate"])} for one in some[:MAX_SHOWN]],
        **editing.links_of(event_id),
    }


@register.filter
def paths(said: str) -> SafeString:
    """A sentence of shapes with what stands between backticks as code. All of it is escaped."""
    parts = said.split("`")
    return format_html_join(
        "", "{}", ((format_html("<code>{}</code>", one) if at % 2 else one,) for at, one in enumerate(parts))
    )
