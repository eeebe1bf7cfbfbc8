"""Every page there is, as `dashboard/urls.py` lists them: a new one is looked at without anybody naming it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from django.urls import URLPattern, URLResolver, get_resolver, reverse

# What the parts of an address may be. A page with a part that isn't here fails: say it here.
PARTS: Final[Mapping[str, str]] = {
    "topic": "orders",
    "group": "email",
    "event_id": "order-0",
    "correlation_id": "0af7651916cd43dd8448eb211c80319c",
    "name": "topics",
    "token": "spent",
    "pk": "1",
    "word": "acknowledge",
    "deed": "pause",
}
# Further looks of some pages: what is in their address.
LOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "overview": ("?focus=group+orders+email",),
    "topic": ("?q=state:dead", "?q=tpye:x"),
    "search": ("?q=topic:orders", "?q=tpye:x"),
    "consumers": ("?trouble=1",),
    "find": ("?id=nobody",),
    "trace": ("?tab=timeline", "?tab=list"),
}
# Pages that say nothing without their words: the address is never opened bare.
NEEDED: Final[Mapping[str, str]] = {
    "act": "?topic=orders&group=shipping",
    "edit-replay": "?event=order-0&group=email",
}
# What isn't there on the bus that the pages are opened on: no breakpoint is set.
ABSENT: Final = {"api-holding"}
NO_PAGE: Final = {"logout"}  # answers POST only


def routes(patterns: list[URLPattern | URLResolver] | None = None) -> Iterator[tuple[str, frozenset[str]]]:
    """The name of each address and the parts it needs."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            yield from routes(pattern.url_patterns)
        elif pattern.name and pattern.name not in NO_PAGE:
            yield pattern.name, frozenset(pattern.pattern.regex.groupindex)


def addresses(name: str, parts: frozenset[str], pks: Mapping[str, str]) -> list[str]:
    """Where to look: the page, and its other looks. `pks`: which replay, action, alert and rule there is to look at."""
    unknown = parts - PARTS.keys()
    assert not unknown, f"tests/acceptance/pages.py: say in PARTS what {sorted(unknown)} of the page {name!r} may be"
    known = {**PARTS, "pk": pks.get(name.removeprefix("api-").partition("-")[0], PARTS["pk"])}
    bare = reverse(name, kwargs={part: known[part] for part in parts})
    bare += NEEDED.get(name, "")
    return [bare, *(bare + look for look in LOOKS.get(name, ()))]
