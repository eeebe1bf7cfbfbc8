"""Masking: a planted secret is in no table and no frame, and what is not a secret stays as it was, byte for byte."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bus.event import Event
from bus.journal import Failure, Step
from dashboard import queries
from dashboard.live.feed import row_of
from dashboard.live.hub import render_row
from dashboard.models import Event as Stored
from dashboard.record.masking import MARK, NAMES, Masker, masker
from dashboard.record.rows import MAX_PAYLOAD
from tests.dashboard.recorded import Recorded

MASKER = Masker(NAMES)
CARD = "4111111111111111"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAKC\n-----END RSA PRIVATE KEY-----"


def masked(raw: str | bytes, limit: int = MAX_PAYLOAD) -> str:
    given_bytes = raw.encode() if isinstance(raw, str) else raw
    return MASKER.payload(given_bytes, limit).decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ('{"password":"hunter2","n":1.50}', '{"password":"•••","n":1.50}'),
        ('{"API-Key" : {"x":["}",1]}, "b":1e400}', '{"API-Key" : "•••", "b":1e400}'),
        ('{"userPassword":12345,"stripe_secret":["a","b"]}', '{"userPassword":"•••","stripe_secret":"•••"}'),
        ('{"a":[{"b":{"Set-Cookie":"x=1"}}],"a":2}', '{"a":[{"b":{"Set-Cookie":"•••"}}],"a":2}'),
        ('{"cvv":123,"pin":"0000","IBAN":"DE02"}', '{"cvv":"•••","pin":"•••","IBAN":"•••"}'),
        ('{"password2":"x","CVC2":"123","old-token-1":"x"}', '{"password2":"•••","CVC2":"•••","old-token-1":"•••"}'),
        ('{"password":"a","password":"b"}', '{"password":"•••","password":"•••"}'),
        ('{"pass\\u0077ord":"hunter2"}', '{"pass\\u0077ord":"•••"}'),
        ('{"body":"{\\"password\\": \\"hun ter\\"}"}', '{"body":"{\\"password\\": \\"•••\\"}"}'),
        ('{"at":' + CARD + "}", '{"at":"•••"}'),
        ('{"note":"card 4111 1111-1111 1111, thanks"}', '{"note":"card •••, thanks"}'),
        (f'["{JWT}"]', '["•••"]'),
        (json.dumps([KEY]), '["•••"]'),
        ('["Authorization: Bearer abcdef123456"]', '["Authorization: •••"]'),
        ('["sent Bearer abcdef123456 ok"]', '["sent Bearer ••• ok"]'),
        ('["AKIAIOSFODNN7EXAMPLE"]', '["•••"]'),
        ('["postgres://ann:pw@db/x"]', '["postgres://ann:•••@db/x"]'),
        ("password=hunter2&x=1", "password=•••&x=1"),
        ("KeyError in {'password': 'hun ter2', 'x': 1}", "KeyError in {'password': '•••', 'x': 1}"),
        ("{broken, password: hunter2", "{broken, password: •••"),
    ],
)
def test_secrets_are_masked_where_they_stand(raw: str, expected: str) -> None:
    assert masked(raw) == expected
    assert masked(expected) == expected


@pytest.mark.parametrize(
    "raw",
    [
        '{"shipping":1,"company":2,"author":"x","token_count":9,"tokens":512,"caliban":1,"pins":3}',
        '{"password":null,"token":"","cookie":false}',
        '{"at":1763000000000123,"id":"0198c0de-4111-7111-8111-111111111111","n":4111111111111112}',
        '{"n":0.10,"big":123456789012345678901234567890,"e":1E+2,"x":-0}',
        '{"a":"\\ud800","b":"\\u00e9","c":"é"}',
        "see https://example.com/a:b?x=1 by ann@example.com",
    ],
)
def test_what_is_no_secret_stays_as_it_was(raw: str) -> None:
    assert masked(raw) == raw


@pytest.mark.parametrize(
    "raw", [b"", b"\x00\xff password=\xfe", b'\xff{"token":"x"', b'{"token":"x\xff', b"\\" * 9, b'"']
)
def test_bytes_that_are_no_text_are_survived(raw: bytes) -> None:
    assert b"x" not in MASKER.payload(raw, 100)


def test_a_secret_across_the_end_of_what_is_kept_goes_whole() -> None:
    long = '{"a":"' + "x" * 60 + '","password":"hunter2hunter2","card":"' + CARD + '"}'
    for limit in range(1, len(long)):
        shown = masked(long, limit)
        assert "hun" not in shown
        assert "4111" not in shown
    assert masked("x" * 95 + " " + CARD, 100) == "x" * 95 + " •••"


HOSTILE = (
    "eyJ" * 33_000,
    "eyJaaaaaa.eyJaaaaaa." * 5_000,
    "://" * 33_000,
    "://a:" * 20_000,
    "password=" * 11_000,
    '"' * 100_000,
    "\\" * 100_000,
    '"\\' * 50_000,
    '{"password":' * 9_000,
    '{"password":[' * 8_000,
    "1 " * 50_000,
    "4-" * 50_000,
    "4" * 100_000,
    "Bearer " * 14_000,
    "-----BEGIN PRIVATE KEY-----" * 4_000,
    "[" * 100_000,
    "a" * 100_000,
    "password:b'" * 9_000,
    '{"a":"' + '\\"password\\":\\"' * 6_000 + '"}',
    'x="' * 33_000,
    " " * 100_000 + "=",
    "password \t" * 10_000,
    "- " * 50_000,
)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:16]))
def test_hostile_texts_cost_no_more_than_their_length(text: str) -> None:
    """Twice the text, about twice the time: eight times says that it is not linear."""

    def seconds(some: str) -> float:
        began = time.process_time()
        MASKER.payload(some.encode(), len(some))
        MASKER.text(some)
        MASKER.payload(json.dumps([some]).encode(), len(some))
        return time.process_time() - began

    assert seconds(text) < 8 * min(seconds(text[: len(text) // 2]) for _ in range(3)) + 0.2


@pytest.fixture
def names(settings: Any) -> Iterator[None]:
    settings.MASKED_NAMES = ["Order Ref"]
    masker.cache_clear()
    yield
    masker.cache_clear()


def test_names_of_ones_own_are_added(names: None) -> None:
    assert masker().payload(b'{"orderRef":"x","password":"y"}', 99).decode() == '{"orderRef":"•••","password":"•••"}'


# Each canary has a letter that json writes as it is, and is found wherever it got to.
CANARY = "cAnArY7x"
_KEYS = st.sampled_from(["password", "Api-Key", "dbPassword", "x_token", "authorization", "iban", "card.number", "CVV"])
_PLANTED = st.one_of(
    st.just(CANARY), st.lists(st.just(CANARY), min_size=1), st.builds(lambda text: text + CANARY, st.text()),
    st.dictionaries(st.text(), st.just(CANARY), min_size=1),
)  # fmt: skip
_LOOKS = st.sampled_from(
    [f"eyJhbGciOi.eyJ{CANARY}.{CANARY}", f"Bearer {CANARY}", f"amqp://u:{CANARY}@h/", KEY.replace("MIIE", CANARY)]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
_SECRET = st.builds(lambda key, value: {key: value}, _KEYS, _PLANTED) | _LOOKS
_WITH_SECRETS = st.builds(
    lambda fine, secrets, nested: {"fine": fine, "in": secrets, "text": json.dumps(nested)},
    _JSON,
    st.lists(_SECRET),
    _SECRET,
)


@given(data=_WITH_SECRETS, ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
@settings(max_examples=200, deadline=None)
def test_json_stays_json_without_the_secrets(data: Any, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(data, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    shown = MASKER.payload(text, 10 * len(text)).decode("utf-8", "surrogatepass")
    assert CANARY not in shown
    assert json.loads(shown).keys() == data.keys()


@given(data=_JSON)
@settings(max_examples=200, deadline=None)
def test_data_without_secrets_is_stored_as_it_was_written(data: Any) -> None:
    raw = json.dumps({"x": data}, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    assert re.search(r"[:=]|\d{13}", json.dumps(data)) or MASKER.payload(raw, len(raw)) == raw


@pytest.mark.parametrize("limit", [30, 60, 120])
def test_json_within_a_text_that_is_cut_off_shows_no_secret(limit: int) -> None:
    nested = json.dumps({"password": {"": CANARY, "z": CANARY, "\U00012a74": "x" * 300}})
    raw = json.dumps({"text": nested}).encode()
    assert len(raw) > 2 * limit
    assert CANARY.encode() not in MASKER.payload(raw, limit)


def everything_stored() -> str:
    """All that is in any table, as text."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  tables of our own
            found += [
                bytes(v).decode("utf-8", "replace") if isinstance(v, bytes | memoryview) else str(v)
                for row in cursor.fetchall()
                for v in row
            ]
    return "\n".join(found)


@given(data=_WITH_SECRETS, secret=st.one_of(_LOOKS, st.builds("{}={}".format, _KEYS, st.just(CANARY))))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_table_and_no_row_of_the_live_page_holds_a_planted_secret(db: None, data: Any, secret: str) -> None:
    Stored.objects.all().delete()
    recorded = Recorded()
    raw = json.dumps(data).encode()
    headers = {"authorization": CANARY, "note": secret}
    [event] = recorded.publish(raw=raw, headers=headers)
    failure = Failure("ValueError", secret, f"Traceback\n  {secret}", f"call({secret!r})", "f1")
    recorded.settle([event], Step.DEAD_LETTERED, failure=failure, log=[f"WARNING {secret}"])
    stored = everything_stored()
    assert event.entry in stored
    assert CANARY not in stored
    assert Stored.objects.get().size == len(raw)
    row = row_of(Event(**{name: getattr(event, name) for name in Event.__struct_fields__}), {}, {}, with_data=True)
    assert CANARY not in repr(row) + render_row(row)


def test_a_masked_event_is_shown_whole(db: None) -> None:
    [event] = Recorded().publish(raw=b'{"password":"a long, long secret","total":7}')
    detail = queries.event(event.id)
    assert detail is not None
    assert detail["data"] == {"password": MARK, "total": 7}
    assert not detail["data_truncated"]
