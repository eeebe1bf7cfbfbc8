"""Who reacts to `user_created`: e-mail, analytics and fraud."""

from __future__ import annotations

import bus
from dashboard.shop.dice import Dice
from dashboard.shop.handlers.orders import SOON
from dashboard.shop.services import send_mail
from dashboard.shop.subscribing import subscribe


@subscribe("users", group="email", types=["user_created"], retry=SOON)
def welcome(event: bus.Event) -> None:
    mail_id = send_mail(event.data["email"], f"Welcome, {event.data['name']}", Dice(event, "email"))
    data = {"mail_id": mail_id, "to": event.data["email"], "template": "welcome"}
    bus.publish("mail", "mail_sent", data, key=event.key, source="mailer")


@subscribe("users", group="analytics")
def count_user(event: bus.Event) -> None:
    Dice(event, "analytics").work(10)


@subscribe("users", group="fraud", types=["user_created"], retry=bus.Retry(attempts=3, base_seconds=0.5))
def check_user(event: bus.Event) -> None:
    dice = Dice(event, "fraud")
    dice.work(60)
    if dice.is_fated(0.03):  # a bug that no retry cures: it ends as a dead letter
        country = {"DE": 1, "AT": 1, "CH": 2}[event.data.get("country", "DE") + "?"]
        raise AssertionError(country)
