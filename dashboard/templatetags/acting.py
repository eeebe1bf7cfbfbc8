"""Buttons that act: a link to the question, or, where it is not allowed, a disabled button that says why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from django import template
from django.template.context import RequestContext
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from dashboard.actions.deeds.entries import named
from dashboard.actions.deeds.events import is_masked
from dashboard.actions.roles import Deed, Verdict, may
from dashboard.queries.activity import of_event
from dashboard.views.activity import shown

register = template.Library()


@register.simple_tag(takes_context=True)
def deed(context: RequestContext, name: str, word: str, **asked: Any) -> SafeString:
    """`{% deed "pause" "Pause" topic=… group=… %}`; `look` is the class, `back` where to go on afterwards."""
    look, back = asked.pop("look", "button"), asked.pop("back", "")
    wanted = Deed(name)
    verdict = may(context["request"].user, wanted, str(asked.get("topic", "")))
    if not verdict.allowed:
        refused = '<button type="button" class="{}" disabled title="{}">{}</button>'
        return format_html(refused, look, f"{word}: {verdict.reason}", word)
    query = {key: value for key, value in asked.items() if value not in (None, "")}
    address = (
        f"{reverse('act', args=[wanted.value])}?{urlencode({**query, 'next': back or _page(context)}, doseq=True)}"
    )
    return format_html('<a class="{}" href="{}" data-dialog>{}</a>', look, address, word)


def _page(context: RequestContext) -> str:
    """The page that asks; of a part that is fetched again, the page it belongs to."""
    path: str = context["request"].get_full_path()
    before, _, query = path.partition("?")
    return before.removesuffix("body/") + (f"?{query}" if query else "")


@register.simple_tag(takes_context=True)
def may_do(context: RequestContext, name: str, topic: str) -> Verdict:
    """Whether whoever looks may do it on the topic."""
    return may(context["request"].user, Deed(name), topic)


@register.filter
def chosen(entry: Mapping[str, Any]) -> str:
    """A pending entry as `release`, `skip` and `dead-letter` take it."""
    return named(entry)


@register.simple_tag
def actions_of(event_id: str) -> list[dict[str, Any]]:
    """What operators did with an event."""
    return [shown(row) for row in of_event(event_id)]


@register.filter
def masked(text: str) -> bool:
    """Whether something in a payload's text is masked."""
    return is_masked(text)
