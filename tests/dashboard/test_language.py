"""The query language: what it understands, and how it points at what it doesn't."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.queries.fields import FIELDS, TEXT
from dashboard.queries.language import MAX_LENGTH, QueryInvalid, Term, parse, quoted, says, toggled

NOW_MS = 1_763_000_000_000


def only(text: str) -> Term:
    (term,) = parse(text, now_ms=NOW_MS).terms
    return term


def wrong(text: str) -> tuple[str, QueryInvalid]:
    """The word that is pointed at, and the error."""
    with pytest.raises(QueryInvalid) as caught:
        parse(text, now_ms=NOW_MS)
    return text[caught.value.start : caught.value.end], caught.value


def test_a_query_is_a_list_of_terms_each_with_its_place() -> None:
    text = 'type:order_placed  payload.total>100 -state:dead,retrying "free text" word'
    query = parse(text)
    assert [(term.field, term.operator, term.texts, term.is_negated) for term in query.terms] == [
        ("type", ":", ("order_placed",), False),
        ("payload", ">", ("100",), False),
        ("state", ":", ("dead", "retrying"), True),
        (TEXT, ":", ("free text",), False),
        (TEXT, ":", ("word",), False),
    ]
    assert [text[term.start : term.end] for term in query.terms] == [
        "type:order_placed", "payload.total>100", "-state:dead,retrying", '"free text"', "word",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["", "   ", "\t\n"])
def test_nothing_is_a_query_for_everything(text: str) -> None:
    assert parse(text).terms == ()


@pytest.mark.parametrize("operator", [":", "=", "!=", ">", ">=", "<", "<="])
def test_every_operator_works_on_payload_paths(operator: str) -> None:
    term = only(f"payload.items[0].sku{operator}7")
    assert (term.path, term.operator, term.values[0].number) == (("items", 0, "sku"), operator, 7)


def test_a_path_may_stand_for_every_place_of_a_list() -> None:
    assert only("payload.items[*].sku:A1").path == ("items", -1, "sku")
    assert only("payload[2]:A1").path == (2,)


def test_quotes_keep_spaces_commas_and_what_looks_like_a_term() -> None:
    assert only('key:"a, b:c"').texts == ("a, b:c",)
    assert only(r'key:"say \"hi\" \\"').texts == (r'say "hi" \ '.strip(),)
    assert only('"type:x"').field == TEXT
    assert only('key:"a b",c').texts == ("a b", "c")


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("5", 5),
        ("-5", -5),
        ("2.5", 2.5),
        ("1e3", 1000.0),
        ('"5"', None),
        ("five", None),
        ("1e999", None),
        ("0x10", None),
    ],
)
def test_numbers_are_numbers_unless_quoted(word: str, number: float | None) -> None:
    assert only(f"payload.a:{word}").values[0].number == number


@pytest.mark.parametrize(
    ("word", "moment_ms"),
    [
        ("15m", NOW_MS - 900_000),
        ("2h", NOW_MS - 7_200_000),
        ("3d", NOW_MS - 259_200_000),
        ("30s", NOW_MS - 30_000),
        ("1w", NOW_MS - 604_800_000),
        ("999999w", 0),
        ("1763000000000", 1_763_000_000_000),
        ("2025-11-13", 1_762_992_000_000),
        ("2025-11-13T02:13:20Z", NOW_MS),
        ("2025-11-13T03:13:20+01:00", NOW_MS),
    ],
)
def test_times_are_ages_dates_or_milliseconds(word: str, moment_ms: int) -> None:
    assert only(f"since:{word}").values[0].number == moment_ms


@pytest.mark.parametrize(
    ("text", "word", "said"),
    [
        ("type:a tpye:b", "tpye", "did you mean type?"),
        ("zzzz:1", "zzzz", "expected a field (type, key"),
        ("state:ded", "ded", "did you mean dead?"),
        ("a state:dead,retryng", "retryng", "did you mean retrying?"),
        ("since:yesterday", "yesterday", "expected a time"),
        ("-since:15m", "-since:", "say since: or until:"),
        ("since>15m", ">", "expected : after since"),
        ("key>5", ">", "expected :, = or != after key"),
        ("type:", "type:", "expected a value after type:"),
        ("type:a,", "type:a,", "expected a value after type:"),
        ('x type:"abc', '"abc', "expected a closing quote"),
        ('type:a"b"', '"', "expected a space before"),
        ('x"y"', '"', "expected a space before the quote"),
        ("payload:5", "payload", "expected what to look at"),
        ("key.a:5", ".a", "key has no parts"),
        ("size:big", "big", "expected a number after size:"),
        ("payload.a>1,2", "2", "expected one value after >"),
        ("a OR b", "OR", "list the values instead"),
        ("NOT b", "NOT", "put - in front"),
        ('""', '""', "expected text between the quotes"),
        ("is:odd", "odd", "expected is to be ghost, root or cut"),
        ("payload" + ".a" * 13 + ":1", ".a" * 13, "at most 12 steps"),
        ("key:" + ",".join("a" * 21), "a", "at most 20 values"),
        ("x " * 21, "x", "at most 20 terms"),
    ],
)
def test_an_error_points_at_the_word_that_is_wrong(text: str, word: str, said: str) -> None:
    pointed, error = wrong(text)
    assert pointed == word
    assert said in error.message


def test_a_long_query_is_refused_where_it_becomes_too_long() -> None:
    pointed, error = wrong("x" * (MAX_LENGTH + 5))
    assert (error.start, pointed) == (MAX_LENGTH, "x" * 5)


def test_the_nearest_word_corrects_the_query() -> None:
    assert wrong("tpye:a state:dead")[1].corrected == "type:a state:dead"
    assert wrong("type:")[1].corrected is None


def is_query_or_pointed_error(text: str) -> None:
    try:
        places = [(term.start, term.end) for term in parse(text).terms]
    except QueryInvalid as error:
        places = [(error.start, max(error.end, error.start + 1) - 1)]
        text += "."  # an error may point at the end
    assert all(0 <= start <= end <= len(text) for start, end in places)


@given(st.text(max_size=200))
def test_any_text_is_a_query_or_a_pointed_error(text: str) -> None:
    is_query_or_pointed_error(text)


PIECES = [*FIELDS, *'-:=!<>,"\\.[]* ', "payload.a[0]", "dead", "15m", "OR", "é", "\0", "[*]", "1e9", "("]


@given(st.lists(st.sampled_from(PIECES), max_size=30).map("".join))
def test_what_almost_is_a_query_is_one_or_a_pointed_error(text: str) -> None:
    is_query_or_pointed_error(text)


@given(st.text(min_size=1, max_size=80))
def test_a_quoted_value_is_read_back(value: str) -> None:
    assert only(f"key:{quoted(value)}").texts == (value,)


def test_a_filter_is_switched_on_and_off() -> None:
    assert toggled("", "state", "dead") == "state:dead"
    assert toggled("type:a state:dead x", "state", "dead") == "type:a x"
    assert toggled("state:dead type:a", "state", "retrying") == "type:a state:retrying"
    assert toggled("-state:dead", "state", "dead") == "-state:dead state:dead"
    assert toggled("", "group", "my group") == 'group:"my group"'
    assert toggled("tpye:", "state", "dead") == "state:dead", "a query that can't be understood begins anew"
    assert says("a state:dead", "state", "dead")
    assert not says("-state:dead", "state", "dead")
    assert not says("state:", "state", "dead")
