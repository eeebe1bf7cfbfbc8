"""Edit and replay: a new event for the failed group alone, linked both ways, with nothing masked on its way."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client as Browser

import bus
from bus.event import Event
from bus.publisher import Publisher
from bus.streams import Client
from bus.subscription import Retry, Subscription
from dashboard.actions import roles
from dashboard.actions.models import Action
from dashboard.actions.roles import Role
from dashboard.models import Delivery
from dashboard.replays import editing
from dashboard.replays.desk import ReplayInvalid
from dashboard.replays.models import EditedLetter
from tests.conftest import RunWorker, WaitUntil
from tests.dashboard.dead import Graveyard

DATA = {"total": -5, "card": {"password": "hunter2"}, "lines": [1, 2]}


@pytest.fixture
def operator(transactional_db: None) -> Browser:
    browser = Browser()
    user = User.objects.create_user("ann")
    roles.give(user, Role.OPERATOR)
    browser.force_login(user)
    return browser


@pytest.fixture
def dead(bus_client: Client, publisher: Publisher, record: Any) -> Any:
    """One letter of email, with a secret in its data; audit took the event well."""
    made = Graveyard(bus_client)
    publisher.publish(publisher.draft("orders", "order_placed", DATA, key="o-1", id="order", correlation_id="t-1"))
    made.give_up()
    made.succeed("audit")
    record()
    with bus.replaced(publisher):
        yield made


def page(browser: Browser, **said: str) -> str:
    response = browser.post("/replays/edit/", {"event": "order", "group": "email", **said})
    return html.unescape(response.content.decode())


def test_the_form_shows_the_data_without_its_secrets(operator: Browser, dead: Graveyard) -> None:
    text = html.unescape(operator.get("/replays/edit/?event=order&group=email").content.decode())
    assert '"total": -5' in text
    assert "hunter2" not in text
    assert '"password": "•••"' in text


def test_the_difference_is_shown_before_anything_is_published(operator: Browser, dead: Graveyard) -> None:
    shown = {**DATA, "total": 5, "card": {"password": "•••"}}
    text = page(operator, data=json.dumps(shown))
    assert 'diff-gone"><td aria-label="gone">-</td><td><code>  "total": -5,' in text
    assert 'diff-new"><td aria-label="new">+</td><td><code>  "total": 5,' in text
    assert "Only <b>email</b> runs it" in text
    assert "hunter2" not in text
    assert not Action.objects.exists()
    assert dead.letters() == 1


def test_the_edited_event_runs_in_the_failed_group_alone_and_both_name_each_other(
    operator: Browser, dead: Graveyard, run_worker: RunWorker, wait_until: WaitUntil, record: Any
) -> None:
    ran: list[tuple[str, Event]] = []
    shown = {**DATA, "total": 5, "card": {"password": "•••"}}
    response = operator.post(
        "/replays/edit/",
        {
            "event": "order", "group": "email", "data": json.dumps(shown), "confirmed": "1", "new_id": "n-1",
            "reason": "sign",
        },
    )  # fmt: skip
    assert response.status_code == 302, html.unescape(response.content.decode())
    handlers = [
        Subscription("orders", group, lambda event, group=group: ran.append((group, event)), retry=Retry(attempts=1))
        for group in ("email", "audit")
    ]
    with run_worker(*handlers):
        wait_until(lambda: record() and Delivery.objects.filter(group="audit", state="skipped").count() == 1)
        wait_until(lambda: record() and Delivery.objects.filter(group="email", state="succeeded").count() == 1)
    ((group, event),) = ran
    assert (group, event.id, event.key, event.correlation_id) == ("email", "n-1", "o-1", "t-1")
    assert event.data == {**DATA, "total": 5}, "with the secret that no browser saw"
    assert event.headers == {"onlygroup": "email", "replaces": "order"}
    assert dead.letters() == 0
    assert Delivery.objects.get(event__event_id="order", group="email").state == "discarded"
    action = Action.objects.get()
    assert (action.deed, action.result, action.reason) == ("edit-replay", "done", "sign")
    assert editing.links_of("order")["by"][0]["new_id"] == "n-1"
    panel = operator.get("/traces/t-1/panel/?event=n-1").content.decode()
    assert 'Replaces <a class="link" href="/events/order/?group=email">' in panel
    assert "Replaced by" in operator.get("/traces/t-1/panel/?event=order&group=email").content.decode()


def test_confirmed_twice_it_is_published_once(operator: Browser, dead: Graveyard) -> None:
    said = {"event": "order", "group": "email", "data": '{"total": 5}', "confirmed": "1", "new_id": "n-1"}
    assert operator.post("/replays/edit/", said).status_code == 302
    assert operator.post("/replays/edit/", said).status_code == 400
    assert EditedLetter.objects.count() == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "expected JSON"),
        (json.dumps({**DATA, "card": {"password": "•••"}}), "expected a change"),
        ('{"password": "•••", "total": 1}', "write the whole value"),
        ('{"total": "a•••"}', "write the whole value"),
    ],
)
def test_what_can_not_be_published_is_said_and_the_text_stays(
    operator: Browser, dead: Graveyard, text: str, words: str
) -> None:
    answer = page(operator, data=text)
    assert words in answer
    assert text in answer
    assert not Action.objects.exists()


def test_a_letter_that_is_dead_no_more_can_not_be_edited(
    operator: Browser, dead: Graveyard, bus_client: Client
) -> None:
    Delivery.objects.update(state="succeeded")
    assert "this event has none" in page(operator, data="{}")
    with pytest.raises(ReplayInvalid):
        editing.opened(bus_client, "nothing", "email")


def test_editing_is_for_operators(dead: Graveyard, operator: Browser) -> None:
    reader = Browser()
    reader.force_login(User.objects.create_user("eve"))
    response = reader.get("/replays/edit/?event=order&group=email")
    assert response.status_code == 403
    assert "needs the role operator" in response.content.decode()
    assert '"total"' not in response.content.decode()


def test_the_check_says_where_the_edited_data_is_not_shaped_like_newer_events(
    operator: Browser, dead: Graveyard, publisher: Publisher, record: Any
) -> None:
    for number in range(3):
        newer = {"total": "12.00", "currency": "EUR"}
        publisher.publish(publisher.draft("orders", "order_placed", newer, key="o-2", id=f"newer-{number}"))
    record()

    text = page(operator, data=json.dumps({"total": 5, "lines": [1]}))

    assert "<code>total</code> was number, is text in the newer 3; <code>currency</code> is missing" in text
    assert "it removes <code>card</code>" in text
    assert "Publish for email" in text


def test_the_check_says_when_there_is_no_newer_event_to_compare_with(operator: Browser, dead: Graveyard) -> None:
    assert "its shape is compared with none" in page(operator, data=json.dumps({"total": 5}))
