"""Alerts: raised once it holds, cleared once it is over; unknown changes nothing; each missing consequence once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from bus.inspect import WorkerState
from bus.journal import Failure
from bus.streams import Client
from dashboard.actions.audit import Actor
from dashboard.actions.models import Action
from dashboard.alerts import consequences, desk, evaluate, shown
from dashboard.alerts.evaluate import turn
from dashboard.alerts.models import Alert, AlertRule, AlertStep, JudgedUpTo, Missing, Stage
from dashboard.alerts.readings import Scene, look, readings
from dashboard.alerts.rules import KINDS, USUAL, RuleInvalid, parsed, says
from dashboard.models import Event
from dashboard.queries.bus_state import BusState
from dashboard.queries.lag import partitions
from tests.dashboard.conftest import Record
from tests.dashboard.dead import Graveyard
from tests.dashboard.recorded import NOW_MS, Recorded

ANN = Actor("ann", "command line")
ORDERS = {"topic": "orders", "type": "order_placed", "then_topic": "payments", "then_type": "payment_received"}


@pytest.fixture(autouse=True)
def _no_rules(db: None) -> None:
    AlertRule.objects.all().delete()


def rule(kind: str = "lag", **fields: Any) -> AlertRule:
    made = {**USUAL, "name": kind, "kind": kind, "since_ms": 0, "hold_s": 60, "threshold": 10, **fields}
    return AlertRule.objects.create(**made)


def scene(at_s: float = 0, lag: int | None = 0, *, available: bool = True, **more: Any) -> Scene:
    """One group as it is so many seconds after the beginning."""
    row = {"topic": "orders", "group": "email", "lag": lag, "age_ms": 0, "workers": 1}
    now_ms = NOW_MS + int(at_s * 1000)
    usual: dict[str, Any] = {
        "now_ms": now_ms, "server_ms": now_ms, "state": BusState(available=available), "groups": [row], "places": {},
        "recorded_ms": {"orders": now_ms}, "counted": {},
    }  # fmt: skip
    return Scene(**{**usual, **more})


def watch(*seen: tuple[float, int | None]) -> list[str]:
    """Look at these moments at these lags; result: the stages of all alerts."""
    for at_s, lag in seen:
        turn(scene(at_s, lag))
    return list(Alert.objects.order_by("pk").values_list("stage", flat=True))


def steps() -> list[str]:
    return list(AlertStep.objects.order_by("pk").values_list("step", flat=True))


def test_an_alert_is_raised_once_it_has_held_for_as_long_as_the_rule_says() -> None:
    rule()
    assert watch((0, 10), (20, 11), (40, 12), (59, 12)) == ["pending"]
    assert watch((60, 50), (62, 14)) == ["raised"]
    alert = Alert.objects.get()
    assert (alert.told, alert.value, alert.worst) == ("email is 14 events behind on orders", 14, 50)
    assert steps() == ["raised"]


def test_a_value_that_falls_before_that_was_no_alert() -> None:
    rule()
    assert watch((0, 10), (20, 10), (40, 9)) == []
    assert watch((50, 10), (70, 10), (90, 10)) == ["pending"], "it counts from anew"


def test_it_is_over_once_the_value_was_clearly_below_for_as_long() -> None:
    rule(hold_s=20)
    assert watch((0, 10), (20, 10), (25, 7), (40, 7)) == ["raised"]
    assert watch((45, 7)) == ["cleared"]
    assert steps() == ["raised", "cleared"]
    assert watch((60, 10), (80, 10)) == ["cleared", "raised"]


def test_a_value_that_dances_about_the_threshold_makes_one_alert() -> None:
    rule(hold_s=10)
    dance = [(float(at), 12 if at % 4 else 8) for at in range(10, 200, 2)]
    assert watch((0, 10), (5, 10), (10, 10), *dance) == ["raised"]
    assert steps() == ["raised"]


def test_a_value_just_below_the_threshold_is_not_over() -> None:
    rule(hold_s=0)
    assert watch((0, 10), (2, 9), (20, 9), (40, 9)) == ["raised"]
    assert watch((42, 7), (60, 7)) == ["cleared"]


def test_an_unknown_lag_neither_raises_nor_clears() -> None:
    rule(hold_s=10)
    assert watch((0, None), (20, None)) == []
    assert watch((30, 10), (40, 10)) == ["raised"]
    assert watch((45, None), (65, None), (85, None)) == ["raised"]
    turn(scene(90, None, available=False, groups=[]))
    turn(scene(120, None, available=False, groups=[]))
    assert watch() == ["raised"], "a server that is away says nothing of a group"


def test_a_group_that_is_no_more_has_no_alert() -> None:
    rule(hold_s=0)
    assert watch((0, 10)) == ["raised"]
    turn(scene(2, groups=[]))
    turn(scene(13, groups=[]))
    assert watch() == ["cleared"]


def test_what_held_before_nobody_looked_has_to_hold_again() -> None:
    rule()
    assert watch((0, 10), (20, 10), (500, 10)) == ["pending"]
    assert watch((520, 10), (540, 10), (560, 10)) == ["raised"]


def test_two_that_look_at_once_raise_it_once() -> None:
    made = rule(hold_s=0)
    before = scene(0, 10)
    evaluate._begin(made, next(iter(readings(made, before))), before.now_ms)
    evaluate._begin(made, next(iter(readings(made, before))), before.now_ms)
    stale = Alert.objects.get()
    Alert.objects.update(stage=Stage.SNOOZED, until_ms=0)
    first, second = Alert.objects.get(), Alert.objects.get()
    for one in (first, second, stale):
        evaluate._move(made, one, next(iter(readings(made, before))), before.now_ms)
    assert steps() == ["raised", "raised"]


def test_rules_name_topics_and_groups_by_pattern() -> None:
    made = rule(topic="ord*", group="e*")
    rows = [{"topic": t, "group": g, "lag": 1} for t, g in (("orders", "email"), ("users", "email"), ("orders", "a"))]
    assert [(one.topic, one.group) for one in readings(made, scene(groups=rows))] == [("orders", "email")]


def test_silent_workers_are_counted_for_each_group() -> None:
    made = rule("silent", threshold=1)
    worker: Any = {"host": "h", "pid": 1, "started_ms": 0, "beat_ms": 0}
    workers = [
        WorkerState(id=name, alive=alive, groups=["email"], **worker)
        for name, alive in (("w1", True), ("w2", False), ("w3", False))
    ]
    (seen,) = readings(made, scene(state=BusState(available=True, workers=workers)))
    assert (seen.group, seen.value, seen.told) == ("email", 2, "2 silent workers of email: w2, w3")
    (seen,) = readings(made, scene(state=BusState()))
    assert seen.value is None


def test_a_rule_that_is_switched_off_or_removed_clears_what_it_raised() -> None:
    made = rule(hold_s=0)
    assert watch((0, 10)) == ["raised"]
    desk.switch(ANN, made, on=False)
    assert watch((2, 10)) == ["cleared"]
    desk.switch(ANN, made, on=True)
    assert watch((4, 10)) == ["cleared", "raised"]
    desk.remove(ANN, made)
    assert watch((6, 10)) == ["cleared", "cleared"]
    assert shown.rules() == []
    assert len(shown.past()["alerts"]) == 2


def test_acknowledged_it_clears_by_itself_and_is_not_raised_again() -> None:
    rule(hold_s=0)
    watch((0, 10))
    action = desk.act(ANN, Alert.objects.get(), "acknowledge", reason="on it")
    assert (action.deed, action.result, action.reason) == ("alert", "done", "on it")
    assert watch((2, 50)) == ["acknowledged"]
    assert watch((4, 0), (15, 0)) == ["cleared"]
    assert steps() == ["raised", "acknowledged", "cleared"]


def test_snoozed_it_is_raised_again_when_the_time_is_over_and_it_is_still_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rule(hold_s=0)
    watch((0, 10))
    monkeypatch.setattr(desk, "_now_ms", lambda: NOW_MS)
    desk.act(ANN, Alert.objects.get(), "snooze", snooze="15m")
    assert watch((5, 10), (899, 10)) == ["snoozed"]
    assert watch((900, 10)) == ["raised"]
    assert steps() == ["raised", "snoozed", "raised"]


def test_cleared_by_hand_it_is_raised_again_only_after_it_was_over() -> None:
    rule(hold_s=0)
    watch((0, 10))
    desk.act(ANN, Alert.objects.get(), "clear")
    assert watch((2, 10), (100, 10)) == ["dismissed"]
    assert watch((110, 0), (121, 0)) == ["cleared"]
    assert watch((130, 10)) == ["cleared", "raised"]


def test_what_can_not_be_done_says_why() -> None:
    rule(hold_s=0)
    watch((0, 10))
    alert = Alert.objects.get()
    with pytest.raises(RuleInvalid, match="expected one of acknowledge, snooze, clear, got 'explode'"):
        desk.act(ANN, alert, "explode")
    with pytest.raises(RuleInvalid, match="expected a snooze of 15m, 1h, 8h, 24h, got '3y'"):
        desk.act(ANN, alert, "snooze", snooze="3y")
    stale = Alert.objects.get()
    desk.act(ANN, alert, "clear")
    with pytest.raises(RuleInvalid, match="somebody else has moved alert"):
        desk.act(ANN, stale, "acknowledge")
    with pytest.raises(RuleInvalid, match=r"expected an alert that is raised, alert \d+ is dismissed"):
        desk.act(ANN, Alert.objects.get(), "acknowledge")
    assert Action.objects.filter(result="failed").count() == 2


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"kind": "moon"}, "expected what to watch to be one of lag, age"),
        ({"name": " "}, "expected a name, got nothing"),
        ({"name": "x" * 121}, "expected a name of up to 120 characters, got 121"),
        ({"threshold": "-1"}, "expected the threshold to be a whole number from 1 to 1,000,000,000, got '-1'"),
        ({"threshold": "٣"}, "expected the threshold to be a whole number"),
        ({"hold_s": "9999"}, "expected how long it must hold, in seconds, to be a whole number from 0 to 3,600"),
        ({"kind": "failures", "threshold": "101"}, "expected the threshold to be a whole number from 1 to 100"),
        ({"severity": "loud"}, "expected the severity to be one of warning, critical"),
        ({"kind": "consequence", "threshold": "1"}, "expected the type of the event, got nothing"),
        ({"kind": "consequence", "threshold": "1", **ORDERS, "same": "mood"}, "expected what links the two to be one"),
    ],
)
def test_a_rule_that_makes_no_sense_says_what_was_expected(said: dict[str, str], error: str) -> None:
    with pytest.raises(RuleInvalid) as raised:
        parsed({"name": "a", "threshold": "5", **said})
    assert str(raised.value).startswith(error)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rule_is_made_and_said(kind: str) -> None:
    made = desk.save(ANN, None, {**ORDERS, "name": "mine", "kind": kind, "threshold": "7", "group": "email"})
    assert "7" in says(made)
    assert AlertRule.objects.get().made_by == "ann"
    desk.save(ANN, made, {**ORDERS, "name": "mine", "kind": kind, "threshold": "9", "group": "email"})
    assert AlertRule.objects.get().threshold == 9
    assert list(Action.objects.values_list("deed", "result")) == [("alert", "done")] * 2


def test_dead_letters_and_failures_are_counted_within_the_window(bus_client: Client, record: Record) -> None:
    dead = Graveyard(bus_client)
    dead.publish(6)
    dead.give_up("email", Failure("ValueError", "x"))
    dead.succeed("audit")
    record()
    rules = [rule("dead", threshold=6), rule("failures", threshold=50, least=6), rule("failures", least=7)]
    now = look(rules)
    values = [{one.group: one.value for one in readings(one, now)} for one in rules]
    assert values == [{"email": 6, "audit": 0}, {"email": 100.0, "audit": 0.0}, {"email": 0.0, "audit": 0.0}]
    late = Scene(**{**now.__dict__, "recorded_ms": {"orders": now.server_ms - 60_000}})
    assert {one.value for made in rules for one in readings(made, late)} == {None}, "not recorded so far: unknown"


def test_what_the_recorder_has_not_stored_is_not_known(bus_client: Client, record: Record) -> None:
    dead = Graveyard(bus_client)
    dead.publish(1)
    record()
    assert look([]).is_recorded("orders")
    (first,) = Event.objects.values_list("at_ms", flat=True)
    dead.publish(1)
    assert look([]).recorded_ms["orders"] == first - 1


class Shop:
    """Orders and payments as they were recorded."""

    def __init__(self) -> None:
        self.orders, self.payments = Recorded("orders", 2), Recorded("payments", 2)

    def order(self, trace: str, at_s: float, *, partition: int = 0) -> None:
        self.orders.at_ms = NOW_MS + int(at_s * 1000)
        self.orders.publish(id=f"o-{trace}", key=trace, correlation_id=trace, partition=partition)

    def pay(self, trace: str, at_s: float, *, partition: int = 1, kind: str = "payment_received") -> None:
        self.payments.at_ms = NOW_MS + int(at_s * 1000)
        self.payments.publish(id=f"p-{trace}", type=kind, key=trace, correlation_id=trace, partition=partition)

    def look(self, at_s: float, *, recorded_s: float | None = None) -> None:
        until = None if recorded_s is None else NOW_MS + int(recorded_s * 1000)
        recorded = {"payments": NOW_MS + int(at_s * 1000) if until is None else until}
        turn(scene(at_s, groups=[], places=partitions(), recorded_ms=recorded))


def missing() -> set[str]:
    return set(Missing.objects.filter(ended_ms=None).values_list("event_id", flat=True))


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    AlertRule.objects.all().delete()
    return Shop()


@pytest.mark.parametrize("same", ["trace", "key"])
def test_an_event_without_its_consequence_is_found_once_and_a_late_one_ends_it(shop: Shop, same: str) -> None:
    rule("consequence", threshold=1, hold_s=0, same=same, within_s=30, **ORDERS)
    for number, trace in enumerate("abcd"):
        shop.order(trace, number, partition=number % 2)
    shop.pay("a", 10)
    shop.pay("b", 10, kind="payment_refused")
    shop.look(20)
    assert missing() == set(), "there is time yet"
    shop.look(32)
    assert missing() == {"o-b"}, "c and d have time yet"
    shop.look(40)
    assert missing() == {"o-b", "o-c", "o-d"}
    (alert,) = shown.raised()["alerts"]
    assert alert["told"] == "3 orders/order_placed events with no payment_received within 30 s"
    assert {one["event_id"] for one in shown.alert(alert["id"])["missing"]} == {"o-b", "o-c", "o-d"}  # type: ignore[index]
    shop.look(42)
    shop.pay("b", 45)
    shop.pay("c", 46)
    shop.pay("d", 47)
    shop.look(60)
    shop.look(71)
    assert missing() == set()
    assert Missing.objects.filter(came=True).count() == 3
    assert shown.raised()["alerts"] == []
    assert steps() == ["raised", "cleared"]


def test_what_is_not_recorded_yet_is_not_missing(shop: Shop) -> None:
    rule("consequence", threshold=1, hold_s=0, within_s=30, **ORDERS)
    shop.order("a", 0)
    shop.look(300, recorded_s=29)
    assert missing() == set()
    shop.look(301, recorded_s=31)
    assert missing() == {"o-a"}


def test_a_payment_before_the_order_or_on_another_topic_is_no_consequence(shop: Shop) -> None:
    rule("consequence", threshold=1, hold_s=0, within_s=30, **ORDERS)
    shop.pay("a", 0)
    shop.order("a", 1)
    Recorded("refunds").publish(type="payment_received", correlation_id="a")
    shop.look(40)
    assert missing() == {"o-a"}


def test_nobody_judging_for_a_while_finds_all_afterwards_each_once(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, django_assert_max_num_queries: Any
) -> None:
    monkeypatch.setattr(consequences, "PORTION", 7)
    rule("consequence", threshold=1, hold_s=0, within_s=30, **ORDERS)
    for number in range(40):
        shop.order(f"t{number}", number / 100)
    for number in range(0, 40, 2):
        shop.pay(f"t{number}", 5 + number / 100)
    shop.look(5_000)
    shop.look(5_001)
    assert missing() == {f"o-t{number}" for number in range(1, 40, 2)}
    monkeypatch.setattr(consequences, "PORTION", 500)
    Missing.objects.all().delete()
    JudgedUpTo.objects.all().delete()
    with django_assert_max_num_queries(90):  # none for each event
        shop.look(5_002)
    assert len(missing()) == 20


def test_of_two_that_judge_the_same_one_is_undone(shop: Shop) -> None:
    made = rule("consequence", threshold=1, hold_s=0, within_s=30, **ORDERS)
    shop.order("a", 0)
    shop.look(1)
    judged = JudgedUpTo.objects.first()
    assert judged is not None
    stale = JudgedUpTo.objects.get(rule=made, partition_id=judged.partition_id)
    shop.look(40)
    Missing.objects.all().delete()
    now, place = scene(40, places=partitions()), partitions()["orders", 0]
    due = [{"id": stale.event + 1, "event_id": "o-a", "correlation_id": "a", "key": "a", "at_ms": NOW_MS}]
    assert not consequences._store(made, now, place, stale, due)
    assert missing() == set()


def test_only_events_after_the_rule_was_made_are_judged_and_cleared_ones_count_no_more(shop: Shop) -> None:
    shop.order("old", 0)
    shop.order("new", 10)
    rule("consequence", threshold=1, hold_s=0, within_s=30, since_ms=NOW_MS + 5_000, **ORDERS)
    shop.look(60)
    assert missing() == {"o-new"}
    desk.act(ANN, Alert.objects.get(), "clear")
    shop.look(62)
    assert shown.raised()["alerts"] == []
    shop.order("newer", 70)
    shop.look(110)
    assert missing() == {"o-newer"}
    assert [one["stage"] for one in shown.raised()["alerts"]] == ["raised"]


def test_old_history_is_forgotten(shop: Shop) -> None:
    rule(hold_s=0)
    watch((0, 10), (5, 0), (16, 0))
    evaluate.sweep(NOW_MS + 1_000)
    assert Alert.objects.count() == 1
    evaluate.sweep(NOW_MS + evaluate.KEPT_MS + 60_000)
    assert Alert.objects.count() == 0


def turns_until(condition: Callable[[], Any], wait_until: Any) -> None:
    def turned() -> Any:
        turn()
        return condition()

    wait_until(turned, seconds=60)


def test_a_real_bus_in_trouble_raises_and_mended_clears(
    bus_client: Client, record: Record, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "STEADY_MS", 0)
    AlertRule.objects.all().delete()
    rule("lag", threshold=5, hold_s=0, group="email")
    dead = Graveyard(bus_client)
    dead.publish(5)
    record()
    turns_until(lambda: shown.raised()["alerts"], wait_until)
    assert shown.raised()["alerts"][0]["told"] == "email is 5 events behind on orders"
    dead.succeed()
    record()
    turns_until(lambda: not shown.raised()["alerts"], wait_until)
    assert abs(shown.watched()["looked_ms"] - time.time() * 1000) < 60_000
