"""Replays: a list that is frozen and judged, handed back once each at a pace, with a canary that stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bus import control, operations
from bus.config import Config
from bus.journal import Failure
from bus.streams import Client
from dashboard import queries
from dashboard.actions.audit import Actor
from dashboard.actions.models import Action
from dashboard.models import Delivery, Partition
from dashboard.replays import desk, shown
from dashboard.replays.desk import ReplayInvalid, Terms
from dashboard.replays.models import Fate, Replay, ReplayLetter, Stage
from dashboard.replays.plan import Asked
from dashboard.replays.runner import Pace, Runner
from tests.dashboard.dead import Graveyard

ANN = Actor("ann", "command line")
FAST = Terms(pace=2_000, canary=False)


@pytest.fixture
def dead(bus_client: Client) -> Graveyard:
    return Graveyard(bus_client)


@pytest.fixture
def runner(config: Config, transactional_db: None) -> Runner:
    return Runner(config)


def start(asked: Asked | None = None, terms: Terms = FAST) -> Replay:
    return desk.confirm(ANN, desk.plan("ann", asked or Asked()), terms)


def turn_until(runner: Runner, condition: Callable[[], Any], wait_until: Any) -> None:
    def turned() -> Any:
        runner._next_look = 0
        runner.turn()
        return condition()

    wait_until(turned, seconds=30)


def counts(replay: Replay) -> dict[str, int]:
    return desk.counts(replay)


def test_a_plan_freezes_what_fits_the_filter_and_touches_nothing(dead: Graveyard, record: Any) -> None:
    dead.publish(7)
    dead.give_up()
    dead.give_up("audit", Failure("KeyError", "x", fingerprint="f2"))
    record()
    assert desk.plan("ann", Asked()).total == 14
    assert desk.plan("ann", Asked(group="email", topic="orders")).total == 7
    assert desk.plan("ann", Asked(error="f2")).total == 7
    assert desk.plan("ann", Asked(type="nothing")).total == 0
    assert desk.plan("ann", Asked(query="payload.number>4 group:email")).total == 2
    assert not dead.replayed()
    replay = desk.plan("ann", Asked(error="f2"))
    assert (replay.topic, replay.group, replay.stage, replay.planned) == ("orders", "audit", Stage.PLANNED, 7)


def test_a_plan_of_chosen_letters_says_which_are_dead_no_more(dead: Graveyard, record: Any) -> None:
    dead.publish(3)
    dead.give_up()
    record()
    pks = list(Delivery.objects.order_by("event_id").values_list("event_id", flat=True))
    Delivery.objects.filter(event_id=pks[0]).update(state="succeeded")
    Delivery.objects.filter(event_id=pks[1]).update(state="retrying")
    replay = desk.plan("ann", Asked(chosen=[(pk, "email") for pk in pks]))
    assert counts(replay) == {Fate.SUCCEEDED_BEFORE: 1, Fate.REPLAYED_BEFORE: 1, Fate.PLANNED: 1}


def test_a_plan_longer_than_a_portion_has_every_letter_once(
    dead: Graveyard, record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.replays.plan.PORTION", 7)
    dead.publish(40)
    dead.give_up()
    dead.give_up("audit")
    record()
    replay = desk.plan("ann", Asked())
    letters = ReplayLetter.objects.filter(replay=replay)
    assert replay.total == 80
    assert sorted(letters.values_list("number", flat=True)) == list(range(1, 81))
    assert len(set(letters.values_list("event_id", "group"))) == 80


def test_what_happened_since_is_left_out(dead: Graveyard, record: Any) -> None:
    dead.publish(1, key="o-1")  # a newer event of its key succeeds
    dead.publish(1, key="o-2")  # the newer one fails too
    dead.publish(2)
    dead.give_up()
    dead.publish(1, key="o-1")
    dead.succeed()
    record()
    replay = desk.plan("ann", Asked())
    assert counts(replay) == {Fate.SUPERSEDED: 1, Fate.PLANNED: 3}
    Partition.objects.update(trimmed_number=2)
    assert counts(desk.plan("ann", Asked())) == {Fate.GONE: 2, Fate.PLANNED: 2}
    dead.subscribe("email", types=["order_paid"])
    record()
    assert counts(desk.plan("ann", Asked())) == {Fate.GONE: 2, Fate.UNHANDLED: 2}


def test_superseded_letters_are_replayed_when_that_is_wished(dead: Graveyard, record: Any) -> None:
    dead.publish(1, key="o-1")
    dead.give_up()
    dead.publish(1, key="o-1")
    dead.succeed()
    record()
    with pytest.raises(ReplayInvalid, match="all of them are left out"):
        start()
    assert start(terms=Terms(superseded=True)).planned == 1


def test_a_letter_on_the_list_of_a_replay_that_runs_is_left_out_of_the_next_with_who_it_was(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(2)
    dead.give_up()
    record()
    first = start()
    assert counts(desk.plan("bob", Asked())) == {Fate.REPLAYED_BEFORE: 2}
    turn_until(runner, lambda: dead.letters() == 0, wait_until)
    second = desk.plan("bob", Asked())
    assert counts(second) == {Fate.REPLAYED_BEFORE: 2}, "the recorder has not seen it yet"
    assert set(ReplayLetter.objects.filter(replay=second).values_list("earlier", flat=True)) == {first.pk}


def test_every_letter_is_handed_to_its_own_group_once_and_the_counts_are_the_journals(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(1_200)
    dead.give_up()
    dead.give_up("audit", Failure("KeyError", "x", fingerprint="f2"))
    record()
    replay = start(Asked(group="email"))
    turn_until(runner, lambda: dead.letters() == 0, wait_until)
    journal = dead.replayed()
    assert {group for group, _ in journal} == {"email"}
    assert len(journal) == journal.total() == 1_200
    replay.refresh_from_db()
    assert (replay.touched, replay.waiting, replay.stage) == (1_200, 1_200, Stage.RUNNING)
    dead.succeed()
    record()
    turn_until(runner, lambda: Replay.objects.get().stage == Stage.DONE, wait_until)
    replay.refresh_from_db()
    assert (replay.succeeded, replay.waiting, replay.left) == (1_200, 0, 0)
    action = Action.objects.get(deed="replay")
    assert (action.result, action.frozen_count, action.who) == ("done", 1_200, "ann")
    assert "1,200 succeeded" in action.told


def test_the_canary_stops_when_the_same_error_returns(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(300)
    dead.give_up()
    record()
    replay = start(terms=Terms(pace=2_000))
    turn_until(runner, lambda: len(dead.replayed()) == 1, wait_until)
    for _ in range(3):
        runner.turn()
    assert len(dead.replayed()) == 1, "nothing more before the first is known"
    dead.give_up()
    record()
    turn_until(runner, lambda: len(dead.replayed()) == 11, wait_until)
    dead.give_up()
    record()
    turn_until(runner, lambda: Replay.objects.get().stage == Stage.STOPPED, wait_until)
    replay.refresh_from_db()
    assert (replay.touched, replay.same_error, replay.left) == (11, 11, 289)
    assert replay.told == "Stopped after the canary: 11 of 300 touched; the same error returned."
    for _ in range(3):
        runner.turn()
    assert len(dead.replayed()) == 11
    assert Action.objects.get(deed="replay").result == "failed"


def test_after_a_canary_that_succeeds_the_rest_follows(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(300)
    dead.give_up()
    record()
    start(terms=Terms(pace=2_000))

    def all_of_it() -> bool:
        dead.succeed()
        record()
        return Replay.objects.get().stage == Stage.DONE

    turn_until(runner, all_of_it, wait_until)
    assert Replay.objects.get().succeeded == 300


def test_a_new_error_is_told_from_the_same_one(dead: Graveyard, record: Any, runner: Runner, wait_until: Any) -> None:
    dead.publish(20)
    dead.give_up()
    record()
    start(terms=Terms(pace=2_000))

    def fails_anew() -> bool:
        dead.give_up(failure=Failure("KeyError", "sku", fingerprint="f9"))
        record()
        return Replay.objects.get().stage == Stage.STOPPED

    turn_until(runner, fails_anew, wait_until)
    replay = Replay.objects.get()
    assert (replay.same_error, replay.new_error) == (0, 11)
    assert "a new error came" in replay.told


def test_one_that_was_stopped_can_go_on_with_the_rest(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(30)
    dead.give_up()
    record()
    replay = start(terms=Terms(pace=2_000))

    def fails() -> bool:
        dead.give_up()
        record()
        return Replay.objects.get().stage == Stage.STOPPED

    turn_until(runner, fails, wait_until)
    replay.refresh_from_db()
    desk.go_on(ANN, replay, "one more look")
    turn_until(runner, lambda: len(dead.replayed()) == 30, wait_until)
    assert Action.objects.get(deed="resume-replay").parent == Action.objects.get(deed="replay")


def test_the_rest_stops_too_when_half_of_the_last_fifty_fail(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(400)
    dead.give_up()
    record()
    replay = start(terms=Terms(pace=100))
    ends: list[Callable[[], int]] = [dead.succeed, dead.give_up]

    def all_fail_after_the_canary() -> bool:
        ends[len(dead.replayed()) > 11]()
        record()
        return Replay.objects.get().stage == Stage.STOPPED

    turn_until(runner, all_fail_after_the_canary, wait_until)
    replay.refresh_from_db()
    assert replay.left > 200, "most were spared"
    assert f"Stopped at {replay.touched} of 400: " in replay.told
    assert "of the last 50 failed, with the same error." in replay.told
    desk.go_on(ANN, replay, "fixed now")

    def all_succeed() -> bool:
        dead.succeed()
        record()
        return Replay.objects.get().stage != Stage.RUNNING

    turn_until(runner, all_succeed, wait_until)
    assert Replay.objects.get().stage == Stage.DONE, "what failed before it was let go on counts no more"


def test_one_that_nobody_wants_to_be_stopped_goes_on_to_the_end(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(150)
    dead.give_up()
    record()
    start()

    def all_fail() -> bool:
        dead.give_up()
        record()
        return Replay.objects.get().stage != Stage.RUNNING

    turn_until(runner, all_fail, wait_until)
    assert Replay.objects.get().same_error == 150


def test_one_that_stopped_stays_in_sight_until_somebody_decides(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(30)
    dead.give_up()
    record()
    start(terms=Terms(pace=2_000))

    def fails() -> bool:
        dead.give_up()
        record()
        return Replay.objects.get().stage == Stage.STOPPED

    turn_until(runner, fails, wait_until)
    Replay.objects.update(ended_ms=1)  # long ago
    assert [one["stage"] for one in shown.in_hand()] == ["stopped"]
    assert [one["stage"] for one in shown.in_hand("orders", "email")] == ["stopped"]
    assert shown.in_hand("orders", "audit") == []
    newer = start()
    assert [one["id"] for one in shown.in_hand()] == [newer.pk], "a newer one of the same letters takes its place"
    Replay.objects.filter(pk=newer.pk).update(began_ms=None, stage=Stage.PLANNED)
    desk.cancel(ANN, Replay.objects.get(stage=Stage.STOPPED), "not today")
    (one,) = shown.in_hand()
    assert (one["stage"], one["can_go_on"]) == ("cancelled", True)
    assert one["told"] == "Stopped after the canary: 11 of 30 touched; the same error returned. Cancelled by ann."


def test_cancelling_leaves_the_rest_dead(dead: Graveyard, record: Any, runner: Runner, wait_until: Any) -> None:
    dead.publish(500)
    dead.give_up()
    record()
    replay = start(terms=Terms(pace=20, canary=False))
    turn_until(runner, dead.replayed, wait_until)
    replay.refresh_from_db()
    desk.cancel(ANN, replay, "wrong list")
    touched = len(dead.replayed())
    for _ in range(5):
        runner.turn()
    assert len(dead.replayed()) == touched == Replay.objects.get().touched
    assert Replay.objects.get().stage == Stage.CANCELLED
    with pytest.raises(ReplayInvalid, match="expected a replay that runs"):
        desk.cancel(ANN, Replay.objects.get())


def test_a_runner_that_died_between_replay_and_mark_doubles_nothing(
    dead: Graveyard, record: Any, config: Config, runner: Runner, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead.publish(40)
    dead.give_up()
    record()
    start(terms=FAST)

    class Dies(Exception):
        pass

    def die(*_: object) -> None:
        raise Dies

    with monkeypatch.context() as patch:
        patch.setattr(
            "dashboard.replays.handing.Hands._mark", lambda _s, _r, fates: die() if Fate.WAITING in fates else 0
        )
        with pytest.raises(Dies):
            turn_until(runner, lambda: False, wait_until)
    handed = len(dead.replayed())
    assert handed > 0
    dead.give_up()  # those come back as new dead letters of the same deliveries
    other = Runner(config)
    turn_until(other, lambda: Replay.objects.get().left == 0, wait_until)
    journal = dead.replayed()
    assert (len(journal), journal.total()) == (40, 40)
    assert (Replay.objects.get().touched, Replay.objects.get().missed) == (40, 0)


def test_a_letter_that_somebody_else_replayed_meanwhile_is_missed_not_doubled(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(10)
    dead.give_up()
    record()
    replay = start()
    letters = dead.client.run(operations.dead_letters(dead.keys, "email"))
    dead.client.run(operations.replay(dead.keys, "email", [one.id for one in letters[:4]], who="bob", ordered=False))
    dead.give_up()
    turn_until(runner, lambda: Replay.objects.get().left == 0, wait_until)
    replay.refresh_from_db()
    assert (replay.touched, replay.missed) == (6, 4)
    assert max(dead.replayed().values()) == 1


def test_one_that_was_replayed_after_it_was_looked_up_is_missed_too(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(10)
    dead.give_up()
    record()
    start(terms=Terms(pace=2_000))
    turn_until(runner, lambda: len(dead.replayed()) == 1, wait_until)  # all ten have been looked up
    letters = dead.client.run(operations.dead_letters(dead.keys, "email"))
    dead.client.run(operations.replay(dead.keys, "email", [one.id for one in letters[:4]], who="bob", ordered=False))
    dead.succeed()
    record()
    turn_until(runner, lambda: Replay.objects.get().left == 0, wait_until)
    assert (Replay.objects.get().touched, Replay.objects.get().missed) == (6, 4)


def test_a_letter_that_was_discarded_meanwhile_is_missed(
    dead: Graveyard, record: Any, runner: Runner, wait_until: Any
) -> None:
    dead.publish(2)
    dead.give_up()
    record()
    start()
    (first, _) = dead.client.run(operations.dead_letters(dead.keys, "email"))
    dead.client.run(control.discard(dead.keys, "email", [first.id], who="bob"))
    turn_until(
        runner, lambda: Replay.objects.get().stage != Stage.RUNNING or Replay.objects.get().left == 0, wait_until
    )
    assert (Replay.objects.get().touched, Replay.objects.get().missed) == (1, 1)


def test_two_runners_at_once_hand_back_and_count_once(
    dead: Graveyard, record: Any, config: Config, runner: Runner, wait_until: Any
) -> None:
    dead.publish(600)
    dead.give_up()
    record()
    start()
    other = Runner(config)

    def both() -> bool:
        runner.turn()
        other.turn()
        return Replay.objects.get().left == 0

    wait_until(both, seconds=30)
    assert dead.replayed().total() == 600 == Replay.objects.get().touched


def test_a_plan_that_nobody_confirmed_is_forgotten(dead: Graveyard, record: Any) -> None:
    dead.publish(3)
    dead.give_up()
    record()
    old = desk.plan("ann", Asked())
    Replay.objects.filter(pk=old.pk).update(made_ms=0)
    fresh = desk.plan("ann", Asked())
    desk.sweep()
    assert list(Replay.objects.values_list("pk", flat=True)) == [fresh.pk]
    assert ReplayLetter.objects.count() == 3


def test_a_plan_is_confirmed_once(dead: Graveyard, record: Any) -> None:
    dead.publish(1)
    dead.give_up()
    record()
    replay = desk.plan("ann", Asked())
    same = Replay.objects.get(pk=replay.pk)
    desk.confirm(ANN, replay, FAST)
    with pytest.raises(ReplayInvalid, match="somebody else has confirmed"):
        desk.confirm(ANN, same, FAST)


@pytest.mark.parametrize("pace", [0, -1, 2_001])
def test_a_pace_that_is_none_is_refused(dead: Graveyard, record: Any, pace: int) -> None:
    replay = desk.plan("ann", Asked())
    with pytest.raises(ReplayInvalid, match="expected a pace from 1 to 2,000"):
        desk.confirm(ANN, replay, Terms(pace=pace))


def test_a_pace_grants_evenly_and_saves_nothing_up() -> None:
    pace = Pace(100)
    pace._at -= 60
    assert pace.grant() == 25
    pace.spent(25)
    assert pace.grant() == 0


def test_a_search_that_is_wrong_leaves_no_plan_behind(db: None, config: Config) -> None:
    with pytest.raises(queries.QueryInvalid):
        desk.plan("ann", Asked(query="sate:dead"))
    assert not Replay.objects.exists()
