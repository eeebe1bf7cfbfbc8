"""Breakpoints on the screen and in the API: set, seen by everybody, stepped through, removed; each on record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client as Browser
from django.urls import reverse

from bus import hold, operations
from bus.hold import Holding
from bus.journal import Record as Line
from bus.journal import Step
from bus.keys import Keys
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from dashboard.actions.deeds.holds import conditions_of
from dashboard.actions.models import Action
from dashboard.actions.roles import Role
from dashboard.models import Delivery, Event
from dashboard.queries.language import QueryInvalid
from dashboard.record.progress import Moment, Progress, State, advance
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.conftest import Record
from tests.dashboard.schema import faults
from tests.dashboard.test_acting import asked, confirmed, did, logged_in, small_role, text_of
from tests.dashboard.test_api import OPENAPI

__all__ = ["small_role"]  # a fixture
OF_EMAIL = {"topic": "orders", "group": "email"}


@pytest.fixture
def ann(transactional_db: None) -> Browser:
    return logged_in("ann", Role.OPERATOR)


@pytest.fixture
def keys(bus_client: Client) -> Keys:
    bus_client.run(operations.declare_topic(bus_client.config.prefix, "orders", 1))
    return Keys(bus_client.config.prefix, "orders", 0)


class Seen:
    """A handler that remembers."""

    def __init__(self) -> None:
        self.totals: list[int] = []

    def __call__(self, event: Any) -> None:
        self.totals.append(event.data["total"])


def email(seen: Seen) -> Subscription:
    return Subscription("orders", "email", seen, retry=Retry(attempts=1), start="earliest", ordered=True)


def state(client: Client, keys: Keys) -> Holding | None:
    return client.run(hold.state(keys, "email"))


def publish(publisher: Publisher, *totals: int, key: str = "o-1") -> None:
    publisher.publish_many([publisher.draft("orders", "order_placed", {"total": n}, key=key) for n in totals])


def first(client: Client, keys: Keys) -> str:
    found = state(client, keys)
    assert found
    return f"0:{found.held[0].entry}:{found.held[0].attempt}"


def test_deliveries_are_stepped_through_from_the_screen(
    ann: Browser, keys: Keys, bus_client: Client, publisher: Publisher, run_worker: RunWorker, record: Record,
    wait_until: WaitUntil,
) -> None:  # fmt: skip
    seen = Seen()
    with run_worker(email(seen)):
        question = asked(ann, "hold", **OF_EMAIL, when="payload.total < 0", limit=3, minutes=5)
        assert "The next 3 deliveries that fit payload.total < 0 stop before their handler" in text_of(question)
        assert confirmed(ann, question).status_code == 302
        assert "email has a breakpoint already, set by ann" in text_of(asked(ann, "hold", **OF_EMAIL))
        publish(publisher, -1, -2, 3)
        publish(publisher, 10, key="o-2")
        wait_until(lambda: seen.totals == [10] and (found := state(bus_client, keys)) and found.held)
        record()
        address = reverse("group", args=["orders", "email"])
        wait_until(lambda: "1 is held at a breakpoint." in text_of(ann.get(address)))
        page = text_of(ann.get(address))
        assert "1 held · 1 of at most 3 stopped" in page
        assert '"total": -1' in page
        held = Delivery.objects.get(state="held")
        event = Event.objects.get(pk=held.event_id)
        panel = reverse("trace-panel", args=[event.correlation_id])
        told = text_of(ann.get(f"{panel}?event={event.event_id}&group=email"))
        assert "No attempt yet: it was stopped at a breakpoint" in told
        assert list(Delivery.objects.filter(state="held").values_list("group", flat=True)) == ["email"]
        did(ann, "release", **OF_EMAIL, entry=first(bus_client, keys))
        wait_until(lambda: seen.totals == [10, -1] and (found := state(bus_client, keys)) and found.held)
        did(ann, "skip", **OF_EMAIL, entry=first(bus_client, keys))
        wait_until(lambda: seen.totals == [10, -1, 3])
        did(ann, "unhold", **OF_EMAIL)
    assert state(bus_client, keys) is None
    assert [a.deed for a in Action.objects.order_by("pk")] == ["hold", "release", "skip", "unhold"]
    record()
    assert sorted(Delivery.objects.values_list("state", flat=True)) == ["skipped", *["succeeded"] * 3]


def test_everybody_sees_on_every_page_that_something_is_held(
    ann: Browser, keys: Keys, bus_client: Client, publisher: Publisher, run_worker: RunWorker, record: Record,
    wait_until: WaitUntil,
) -> None:  # fmt: skip
    viewer = logged_in("vic", Role.VIEWER)
    with run_worker(email(Seen())):
        did(ann, "hold", **OF_EMAIL, when='payload.total<0 key:"<b>"')
        did(ann, "unhold", **OF_EMAIL)
        did(ann, "hold", **OF_EMAIL, when="payload.total<0")
        publish(publisher, -1)
        wait_until(lambda: "email on orders holds 1 delivery" in text_of(viewer.get("/system/alarm/?on=topics")))
    record()
    for address in ("/", "/topics/", "/activity/", "/system/"):
        assert "email on orders holds 1 delivery that fit payload.total<0" in text_of(viewer.get(address)), address
    page = text_of(viewer.get(reverse("group", args=["orders", "email"])))
    assert "hidden: needs the role payload viewer" in page
    assert '"total"' not in page
    assert "holds 1" not in text_of(Browser().get("/login/")), "not to a stranger"


def test_a_viewer_may_not_set_one(
    keys: Keys, run_worker: RunWorker, bus_client: Client, transactional_db: None
) -> None:
    with run_worker(email(Seen())):
        question = asked(logged_in("vic", Role.VIEWER), "hold", **OF_EMAIL)
        assert "You may not" in text_of(question)
        assert confirmed(logged_in("vera", Role.VIEWER), question).status_code == 403
    assert state(bus_client, keys) is None


@pytest.mark.parametrize(
    "said",
    [{"when": "state:dead"}, {"when": "payload.a<"}, {"when": '"text"'}, {"limit": 501}, {"limit": "x"}, {"limit": 0},
     {"minutes": 1441}, {"minutes": -1}],
)  # fmt: skip
def test_what_can_not_be_a_breakpoint_is_said_in_words(
    ann: Browser, keys: Keys, run_worker: RunWorker, said: dict[str, Any]
) -> None:
    with run_worker(email(Seen())):
        answer = asked(ann, "hold", **OF_EMAIL, **said)
    assert answer.status_code == 400
    assert "expected" in text_of(answer)


def test_the_api_sets_one_lists_it_and_tells_what_it_holds_as_described(
    ann: Browser, keys: Keys, bus_client: Client, publisher: Publisher, run_worker: RunWorker, record: Record,
    wait_until: WaitUntil,
) -> None:  # fmt: skip
    where = reverse("api-holding", args=["orders", "email"])
    with run_worker(email(Seen())):
        assert ann.get(where).status_code == 404
        said = json.dumps({**OF_EMAIL, "when": "payload.total<0", "limit": 2, "reason": "r"})
        answer = ann.post(reverse("api-act", args=["hold"]), said, content_type="application/json")
        assert answer.status_code == 200, answer.content
        publish(publisher, -1)
        wait_until(lambda: [one["held"] for one in ann.get("/api/holds").json()["holds"]] == [1])
        record()
        answers = {"/holds": ann.get("/api/holds").json(), "/holds/{topic}/{group}": ann.get(where).json()}
    for path, told in answers.items():
        content = OPENAPI["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
        assert list(faults(told, content["schema"], OPENAPI)) == [], path
    (entry,) = answers["/holds/{topic}/{group}"]["entries"]
    assert entry["event"]["data"] == {"total": -1}
    (pending,) = ann.get("/api/pending?topic=orders&group=email").json()["entries"]
    assert (pending["held"], pending["worker"]) == (True, None)
    hidden = logged_in("vic", Role.VIEWER).get(where).json()
    assert (hidden["entries"][0]["event"]["data"], hidden["entries"][0]["event"]["payload_hidden"]) == (None, True)


def test_what_is_held_can_be_edited_and_run_for_the_group_alone(
    ann: Browser, keys: Keys, bus_client: Client, publisher: Publisher, run_worker: RunWorker, record: Record,
    wait_until: WaitUntil,
) -> None:  # fmt: skip
    seen = Seen()
    with run_worker(email(seen)):
        did(ann, "hold", **OF_EMAIL, when="payload.total<0")
        publish(publisher, -1)
        wait_until(lambda: (found := state(bus_client, keys)) and found.held)
        question = asked(ann, "dead-letter", **OF_EMAIL, entry=first(bus_client, keys), edit=1)
        assert "On the next page you edit the data" in text_of(question)
        confirmed(ann, question)
        record()
        event = Delivery.objects.get(group="email")
        name = str(_event_id(event))
        form = {"event": name, "group": "email", "data": '{"total": 1}', "confirmed": "1"}
        assert ann.post(reverse("edit-replay"), form).status_code == 302
        wait_until(lambda: seen.totals == [1])


def _event_id(delivery: Delivery) -> str:
    return Event.objects.get(pk=delivery.event_id).event_id


def test_spaces_around_an_operator_mean_nothing_and_within_quotes_they_stay() -> None:
    (less, text) = conditions_of('payload.total < 0 header.note:"a < b"')
    assert (less.field, less.operator, less.path, less.values[0].number) == ("payload", "<", ["total"], 0)
    assert text.values[0].text == "a < b"
    with pytest.raises(QueryInvalid, match="condition on"):
        conditions_of("since:15m")


def test_a_held_delivery_is_held_in_the_record_until_it_is_let_go() -> None:
    delivery = Progress()
    steps = [(Step.HELD, 1), (Step.RELEASED, 1), (Step.DELIVERED, 2), (Step.SUCCEEDED, 2)]
    states = []
    for at, (step, attempt) in enumerate(steps):
        assert advance(delivery, Line(int(step), "1-0", attempt), Moment(1_000 + at, "w")).counted
        states.append(delivery.state)
    assert states == [State.HELD, State.WAITING, State.RUNNING, State.SUCCEEDED]
    assert not advance(delivery, Line(int(Step.HELD), "1-0", 2), Moment(2_000, "w")).counted
