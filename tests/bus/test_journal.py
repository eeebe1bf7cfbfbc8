"""The journal: records survive packing, stale ones are left out, foreign ones do not break a reader."""

from __future__ import annotations

import pytest

from bus.journal import Failure, Record, Step, SubscriptionRecord, pack, pack_subscription, unpack


def test_records_survive_packing() -> None:
    failure = Failure("ValueError", "no", "trace", "shop.py:1 in pay: x", "abc")
    records = [
        Record(Step.SUCCEEDED, "1700000000000-0", 1, 250, 12),
        Record(Step.RETRY_SCHEDULED, "1700000000000-1", 2, 9, 1, 1500, failure, ["INFO shop: trying"]),
    ]
    entry = unpack("1700000000005-0", [b"g", b"email", b"w", b"w1#0", b"b", pack(records)])
    assert (entry.group, entry.worker, entry.at_ms) == ("email", "w1#0", 1_700_000_000_005)
    assert entry.records == records


def test_records_of_stale_entries_are_left_out() -> None:
    records = [Record(Step.SUCCEEDED, "1-0", 1), Record(Step.SUCCEEDED, "2-0", 1)]
    entry = unpack("3-0", [b"g", b"g", b"w", b"w", b"b", pack(records), b"x", b"1-0"])
    assert [record.entry for record in entry.records] == ["2-0"]


def test_a_subscription_knows_where_it_starts() -> None:
    packed = pack_subscription(SubscriptionRecord(types=["a"], attempts=3))
    entry = unpack("3-0", [b"g", b"email", b"w", b"w", b"s", packed, b"o", b"2-0"])
    assert entry.subscription == SubscriptionRecord(types=["a"], attempts=3, start="2-0")
    assert entry.records == []


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x93\x01", b"\x91\x91\xa1x"])
def test_a_foreign_batch_raises_what_a_reader_expects(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        unpack("1-0", [b"b", blob])


def test_a_settled_record_costs_little() -> None:
    records = [Record(Step.SUCCEEDED, f"17000000000{n:02}-0", 1, 250, 1200) for n in range(100)]
    assert len(pack(records)) / 100 <= 40
