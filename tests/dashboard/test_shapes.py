"""Shapes of payloads, and how one differs from newer ones: pure values, bounded, safe for hostile keys."""

from __future__ import annotations

from dashboard.queries.shapes import MAX_PATHS, differences, edit_sentence, sentence, shape, shape_of
from dashboard.record.masking import MARK


def test_a_shape_is_the_kind_at_each_dotted_path() -> None:
    value = {"a": None, "b": True, "c": 1.5, "d": "x", "e": [1], "f": {"g": 1}}

    assert shape(value) == {
        "a": "null", "b": "boolean", "c": "number", "d": "text", "e": "list", "f": "object", "f.g": "number",
    }  # fmt: skip


def test_a_sentence_says_what_changed_kind_what_is_missing_and_what_is_gone() -> None:
    now = [shape({"total": "12", "currency": "EUR"})] * 20

    found = differences(shape({"total": 12, "vat": 1}), now)

    assert sentence(found, 20) == (
        "`total` was number, is text in the newer 20; `currency` is missing; `vat` is in none of the newer 20"
    )


def test_a_field_that_only_some_newer_events_have_is_no_difference() -> None:
    now = [shape({"a": 1, "b": 1}), shape({"a": 1})]

    assert differences(shape({"a": 1}), now).total == 0
    assert differences(shape({"a": 1, "b": 2}), now).total == 0


def test_a_masked_value_differs_from_no_kind() -> None:
    assert differences(shape({"card": MARK}), [shape({"card": 1})]).total == 0
    assert differences(shape({"card": {"n": 1}}), [shape({"card": MARK})]).total == 0
    assert differences(shape({"card": MARK}), [shape({"card": {"n": 1}})]).total == 0


def test_an_object_that_is_missing_is_named_once_and_not_all_that_is_in_it() -> None:
    assert differences(shape({}), [shape({"to": {"street": "x", "city": "y"}})]).missing == ["to"]


def test_a_shape_is_bounded_and_what_lies_beyond_the_bound_is_not_called_missing() -> None:
    wide = shape({f"k{number}": 1 for number in range(1_000)})
    deep = shape_of("{" + '"a":{' * 900 + "}" * 901) or {}

    assert len(wide) == MAX_PATHS
    assert len(deep) <= 6
    assert differences(wide, [shape({"other": 1})]).total == 0


def test_hostile_keys_are_no_paths_and_are_shown_readable_and_short() -> None:
    assert shape({"a.b": 1}) == {"a\\.b": "number"}
    said = sentence(differences(shape({"x`\u202e\x00" + "y" * 500: 1}), [shape({"z": 1})]), 1)

    assert "\u202e" not in said
    assert "\x00" not in said
    assert len(said) < 200


def test_what_is_no_whole_json_has_no_shape() -> None:
    assert [shape_of("{"), shape_of("")] == [None, None]


def test_data_that_is_no_object_is_said_as_one_difference() -> None:
    now = [shape({"total": 1}), shape({"total": 2})]

    assert sentence(differences(shape([1]), now), 2) == "the data is no object but list, it is object in the newer 2"
    assert edit_sentence(differences(shape("x"), now)) == "makes the whole data text, it was object"
    assert differences(shape([1]), [shape([2]), shape({"total": 1})]).total == 0
    assert differences(shape({"total": "x"}), [shape([2]), *now]).changed == [("total", "text", "number")]
