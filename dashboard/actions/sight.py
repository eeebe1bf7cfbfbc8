"""What of an event somebody sees: without the role of a payload viewer neither data nor headers, wherever they appear.

Type, key, ids, states and errors are seen by every viewer of the topic. Whoever has roles on some topics only sees
nothing of the others: `SeenTopics` says so to `queries`, for as long as a request takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase

from dashboard.actions.roles import Deed, Someone, everywhere, grants, matches, topics_of
from dashboard.queries.fields import TEXT
from dashboard.queries.language import Query, QueryInvalid
from dashboard.visible import Visible, only

HIDDEN: Final = "hidden: needs the role payload viewer"
_REFUSED: Final = "to search by payload, header or any text needs the role payload viewer; key:, type: and id: do not"
_ROWS: Final = ("preview", "data_text")
_SEARCHED: Final = ("payload", "header", TEXT)


class Sight:
    """Which topics' payloads a user sees, looked up once."""

    def __init__(self, user: Someone) -> None:
        least = Deed.SEE_PAYLOADS.needs
        self.all = everywhere(user) >= least
        self._patterns = [pattern for role, pattern in grants(user) if role >= least]
        self.visible = Visible(topics_of(user), topics_of(user, least))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sight) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]  # compared alone

    def sees(self, topic: str) -> bool:
        """Whether payloads of this topic; without one, of all."""
        return self.all or any(matches(topic, pattern) for pattern in self._patterns)

    def of(self, value: Any, topic: str = "") -> Any:
        """The value as this user sees it: a new one where something is hidden, whatever it is nested in."""
        if self.all or isinstance(value, str | int | float | None):
            return value
        if isinstance(value, list | tuple):
            return [self.of(one, topic) for one in value]
        if not isinstance(value, dict):
            return value
        topic = str(value.get("topic") or topic) if not isinstance(value.get("topic"), dict) else topic
        seen = {name: self.of(one, topic) for name, one in value.items()}
        if value.keys() & set(_ROWS) and not self.sees(topic):
            seen |= {name: HIDDEN for name in _ROWS if name in value}
            seen |= {name: empty for name, empty in (("data", None), ("headers", {})) if name in value}
            seen["payload_hidden"] = True
        return seen

    def check(self, query: Query, topic: str = "") -> Query:
        """The query, if all that it asks by may be seen: it could be found out. Raises `QueryInvalid`."""
        topics, payloads = self.visible
        is_all_they_see = topics is not None and payloads is not None and set(topics) <= set(payloads)
        if self.sees(topic) or (not topic and is_all_they_see):
            return query
        for term in query.terms:
            if term.field.partition(".")[0] in _SEARCHED:
                raise QueryInvalid(query.text, term.start, term.end, _REFUSED)
        return query


class SeenTopics:
    """Middleware: shows to what is asked within a request no more than its user may see."""

    def __init__(self, following: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._following = following

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return self._following(request)
        with only(Sight(request.user).visible):
            return self._following(request)
