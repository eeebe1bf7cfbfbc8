"""Whatever somebody writes into the box: a result or an error that points at a word, and never much work."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.journal import Failure, Step
from dashboard import queries
from dashboard.bench.hostile_queries import MARKUP
from dashboard.bench.hostile_queries import queries as hostile
from dashboard.queries import QueryInvalid
from dashboard.queries.fields import FIELDS, OPERATORS
from dashboard.queries.language import quoted
from tests.dashboard.recorded import Recorded

MOST_STATEMENTS = 60  # of one search of one topic, whatever is asked: twenty values, each a source, and what lanes need
MOST_SUGGESTING = 15
PARTS = 5
TOGETHER = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

names = st.sampled_from(
    [*FIELDS, "payload.a", "payload.a[0].b", "payload.list[*].n", "header.tenant", "tpye", "payload"]
)
values = st.one_of(
    st.sampled_from(
        ["dead", "email", "orders", "order_placed", "o-1", "15m", "120", "root", "null", "2026-01-31", "a,b,,"]
    ),
    st.text(max_size=20).map(quoted),
    st.text(max_size=10),
    st.integers().map(str),
    st.floats().map(str),
)
terms = st.builds("{}{}{}{}".format, st.sampled_from(["", "", "-", "--"]), names, st.sampled_from(OPERATORS), values)
shaped = st.lists(st.one_of(terms, terms, values), max_size=6).map(" ".join)
texts = st.one_of(shaped, st.text(max_size=120))


@pytest.fixture
def recorded(db: None, config: object) -> Recorded:
    """A few events of which something became."""
    recorded = Recorded()
    recorded.subscribe("email")
    events = recorded.publish(12, key="o-1", raw=b'{"a": [{"b": 1}], "list": [{"n": 2}]}', headers={"tenant": "acme"})
    recorded.settle(events[:6], Step.SUCCEEDED)
    recorded.settle(events[6:9], Step.DEAD_LETTERED, failure=Failure("ValueError", "no", fingerprint="f"))
    return recorded


@pytest.fixture
def reader(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_user("ann"))
    return client


def is_answered(text: str) -> None:
    with CaptureQueriesContext(connection) as asked:
        try:
            queries.search(queries.parse(text))
        except QueryInvalid as error:
            assert 0 <= error.start <= error.end <= len(text)  # noqa: PT017  either outcome is right
    assert len(asked) <= MOST_STATEMENTS


@TOGETHER
@given(text=texts)
def test_any_query_is_answered_or_refused_with_a_place_and_few_statements(recorded: Recorded, text: str) -> None:
    is_answered(text)


@TOGETHER
@given(text=texts, cursor=st.integers(0, 130))
def test_suggestions_for_any_text_are_few_and_stand_within_it(recorded: Recorded, text: str, cursor: int) -> None:
    with CaptureQueriesContext(connection) as asked:
        found = queries.suggest(text, cursor)
    assert len(found) <= 12
    assert all(0 <= one["start"] <= one["end"] <= len(text) for one in found)
    assert len(asked) <= MOST_SUGGESTING


def test_hostile_queries_are_answered_or_refused_with_few_statements(recorded: Recorded) -> None:
    every = list(hostile())
    assert len(every) > 400
    for text in every:
        is_answered(text)


@pytest.mark.parametrize("part", range(PARTS))
def test_hostile_queries_break_neither_page_nor_api(recorded: Recorded, reader: Client, part: int) -> None:
    for text in list(hostile())[part::PARTS]:
        asked = quote(text, errors="surrogatepass")
        for address in (f"/search/?q={asked}", f"/api/events?q={asked}"):
            response = reader.get(address)
            assert response.status_code in (200, 400), (address, response.status_code)


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_a_query_stays_text(recorded: Recorded, reader: Client, text: str) -> None:
    for asked in (text, f"type:{quoted(text)}", f"nonsense:{text}"):
        page = reader.get("/search/", {"q": asked}).content.decode()
        assert "<" not in text or text not in page
        assert "&lt;" in page or "<" not in text
