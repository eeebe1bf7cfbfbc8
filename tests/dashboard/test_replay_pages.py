"""Replays on screen, by forms alone: from an error to a running replay, what will happen, how it stands."""

from __future__ import annotations

import html
import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client as Browser

import bus
from bus import control
from bus.config import Config
from bus.journal import Failure
from bus.streams import Client
from dashboard.actions import roles
from dashboard.actions.roles import Role
from dashboard.replays import desk
from dashboard.replays.models import Replay, Stage
from dashboard.replays.plan import Asked
from dashboard.replays.runner import Runner
from tests.dashboard.dead import Graveyard

HOSTILE = "</code><script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


@pytest.fixture
def operator(transactional_db: None) -> Browser:
    browser = Browser()
    user = User.objects.create_user("ann")
    roles.give(user, Role.OPERATOR)
    browser.force_login(user)
    return browser


@pytest.fixture
def dead(bus_client: Client, record: Any) -> Graveyard:
    made = Graveyard(bus_client)
    made.publish(60)
    made.give_up()
    made.give_up("audit", Failure("KeyError", "sku", fingerprint="f2"))
    record()
    return made


def text_of(response: Any) -> str:
    assert response.status_code == 200
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html.unescape(response.content.decode())))


def test_from_the_page_to_a_running_replay_are_two_forms(operator: Browser, dead: Graveyard) -> None:
    assert "Replay 60…" in text_of(operator.get("/dead/"))
    planned = operator.post("/replays/plan/", {"error": "f1"})
    plan = text_of(operator.get(planned["Location"]))
    assert "Replay 60 dead letters?" in plan
    assert "60 handed back to email , and to no other group" in plan
    assert "50 a second 1.20 s" in plan
    confirmed = operator.post(f"{planned['Location']}confirm/", {"pace": "200", "canary": "on", "reason": "fixed"})
    running = text_of(operator.get(confirmed["Location"]))
    assert "Running 0 of 60 handed back · canary, step 1 of 3" in running
    assert "By ann" in running
    assert "“fixed”" in running
    assert "ValueError: no mailbox" in text_of(operator.get("/dead/")), "every operator sees it there"
    assert "0 of 60" in text_of(operator.get("/replays/"))


def test_letters_that_are_ticked_are_the_list(operator: Browser, dead: Graveyard) -> None:
    shown = operator.get("/dead/?error=f1").content.decode()
    values = re.findall(r'name="letter" form="choose" value="([^"]+)"', shown)
    assert len(values) == 50
    chosen = {"which": "chosen", "letter": values[:3], "error": "f1"}
    assert "Replay 3 dead letters?" in text_of(operator.get(operator.post("/replays/plan/", chosen)["Location"]))
    all_of_it = {"which": "all", "letter": values[:3], "error": "f1"}
    assert "Replay 60 dead letters?" in text_of(operator.get(operator.post("/replays/plan/", all_of_it)["Location"]))


@pytest.mark.parametrize("letter", [[], ["x"], ["9" * 30 + ":email"], ["1:"]])
def test_nothing_ticked_or_nonsense_is_refused(operator: Browser, dead: Graveyard, letter: list[str]) -> None:
    response = operator.post("/replays/plan/", {"which": "chosen", "letter": letter})
    assert response.status_code == 400
    assert "expected" in response.content.decode()


def test_what_is_left_out_is_said_with_its_letters(operator: Browser, dead: Graveyard, record: Any) -> None:
    dead.publish(1, key="o-1")
    dead.give_up()
    dead.publish(1, key="o-1")
    dead.succeed()
    record()
    url = operator.post("/replays/plan/", {"error": "f1"})["Location"]
    plan = text_of(operator.get(url))
    assert "1 superseded: the group has handled a newer event of the same key since" in plan
    assert "Replay the 1 superseded too" in plan
    assert "o-1" in text_of(operator.get(f"{url}?show=superseded"))
    operator.post(f"{url}confirm/", {"pace": "50", "superseded": "on"})
    assert Replay.objects.get().planned == 61


def test_one_that_stopped_says_so_and_offers_the_rest(
    operator: Browser, dead: Graveyard, record: Any, config: Config, wait_until: Any
) -> None:
    url = operator.post("/replays/plan/", {"error": "f1"})["Location"]
    operator.post(f"{url}confirm/", {"pace": "1000", "canary": "on"})
    runner = Runner(config)

    def stopped() -> bool:
        runner.turn()
        dead.give_up()
        record()
        return Replay.objects.get().stage == Stage.STOPPED

    wait_until(stopped, seconds=30)
    text = text_of(operator.get(url))
    assert "Stopped after the canary: 11 of 60 touched; the same error returned." in text
    assert "Same error 11" in text
    assert "Replay the other 49" in text
    for page in ("/dead/", "/consumers/orders/email/"):
        assert "Stopped after the canary: 11 of 60 touched; the same error returned. Go on or cancel…" in text_of(
            operator.get(page)
        )
    assert operator.post(f"{url}go-on/").status_code == 302
    assert Replay.objects.get().stage == Stage.RUNNING
    assert operator.post(f"{url}cancel/").status_code == 302
    assert "Cancelled by ann." in text_of(operator.get(url))
    event = Replay.objects.get().replayletter_set.filter(fate="same_error").first()
    assert event is not None


def test_why_it_does_not_move_is_said(operator: Browser, dead: Graveyard, bus_client: Client) -> None:
    url = operator.post("/replays/plan/", {"error": "f1"})["Location"]
    operator.post(f"{url}confirm/", {"pace": "50"})
    assert "No worker of email is alive" in text_of(operator.get(url))
    assert "Nobody carries it out" not in text_of(operator.get(url))
    Replay.objects.update(began_ms=1)
    assert "Nobody carries it out: start python manage.py replays" in text_of(operator.get(url))
    bus_client.run(control.pause(dead.keys, "email", who="bob"))


def test_a_confirmation_that_can_not_be_is_refused_in_words(operator: Browser, dead: Graveyard) -> None:
    url = operator.post("/replays/plan/", {"error": "f1"})["Location"]
    response = operator.post(f"{url}confirm/", {"pace": "many"})
    assert response.status_code == 400
    assert "expected a pace from 1 to 2,000" in response.content.decode()
    assert operator.post("/replays/99/confirm/", {"pace": "1"}).status_code == 404
    assert operator.get("/replays/99/").status_code == 404


def test_readers_see_it_all_and_may_do_nothing(operator: Browser, dead: Graveyard) -> None:
    url = operator.post("/replays/plan/", {"error": "f1"})["Location"]
    reader = Browser()
    reader.force_login(User.objects.create_user("eve"))
    assert "needs the role operator" in text_of(reader.get(url))
    assert reader.post("/replays/plan/", {"error": "f1"}).status_code == 403
    assert reader.post(f"{url}confirm/", {"pace": "50"}).status_code == 403
    operator.post(f"{url}confirm/", {"pace": "50"})
    assert reader.post(f"{url}cancel/").status_code == 403
    assert Replay.objects.get().stage == Stage.RUNNING


def test_a_get_changes_nothing(operator: Browser, dead: Graveyard) -> None:
    url = operator.post("/replays/plan/", {"error": "f1"})["Location"]
    for address in ("/replays/plan/", f"{url}confirm/", f"{url}cancel/", f"{url}go-on/"):
        assert operator.get(address).status_code == 405
    assert Browser().get(url).status_code == 302


def test_what_failed_is_text_whatever_it_says(operator: Browser, bus_client: Client, record: Any) -> None:
    made = Graveyard(bus_client)
    made.publish(1, key=HOSTILE, source=HOSTILE)
    made.give_up(failure=Failure(HOSTILE, HOSTILE, HOSTILE, HOSTILE, "h1"))
    record()
    url = operator.post("/replays/plan/", {"error": "h1"})["Location"]
    for address in (url, "/dead/"):
        assert "<script>alert" not in operator.get(address).content.decode()
    operator.post(f"{url}confirm/", {"pace": "1", "reason": HOSTILE})
    for address in (url, "/dead/", "/replays/"):
        assert "<script>alert" not in operator.get(address).content.decode()


def test_a_page_of_any_replay_takes_the_same_few_queries(
    operator: Browser, dead: Graveyard, django_assert_max_num_queries: Any
) -> None:
    url = operator.post("/replays/plan/", {})["Location"]
    for _ in range(2):
        with django_assert_max_num_queries(25):
            assert operator.get(url).status_code == 200
        operator.post(f"{url}confirm/", {"pace": "50"})


def run(*words: str) -> str:
    out = StringIO()
    call_command("replay", *words, stdout=out)
    return out.getvalue()


def test_the_command_shows_the_plan(dead: Graveyard) -> None:
    assert run("orders", "email", "--canary", "--dry-run") == "60 to be replayed\n"
    assert run("orders", "email", "--pace", "10", "--fingerprint", "f1", "--dry-run") == "60 to be replayed\n"
    assert not Replay.objects.exclude(stage=Stage.PLANNED).exists()
    with pytest.raises(CommandError, match="expected --limit without"):
        run("orders", "email", "--canary", "--limit", "3")


def test_the_command_ends_with_what_became_of_it(
    dead: Graveyard, record: Any, config: Config, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(config)

    def meanwhile(_seconds: float) -> None:
        runner._next_look = 0
        runner.turn()
        dead.succeed()
        record()

    monkeypatch.setattr("dashboard.management.commands.replay.time.sleep", meanwhile)
    said = run("orders", "email", "--pace", "1000", "--reason", "fixed")
    assert said.endswith("60 replayed. 60 succeeded\n")
    assert desk.plan("ann", Asked(group="email")).total == 0
    assert bus.config() is config
