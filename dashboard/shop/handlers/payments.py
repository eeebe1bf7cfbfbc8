"""Who reacts to payments and to what follows from them: shipping, ledger, e-mail, mail statistics."""

from __future__ import annotations

import bus
from dashboard.shop.dice import Dice
from dashboard.shop.handlers.orders import SOON
from dashboard.shop.services import send_mail
from dashboard.shop.subscribing import subscribe

CARRIERS = ("DHL", "UPS", "Hermes", "GLS")


@subscribe("payments", group="shipping", types=["payment_successful"], retry=SOON)
def ship(event: bus.Event) -> None:
    dice = Dice(event, "shipping")
    dice.work(70)
    carrier = CARRIERS[dice.number(0, 3)]
    if dice.happens(0.05):
        raise TimeoutError(f"{carrier} label service: no answer within 300 ms")
    data = {"order_id": event.key, "carrier": carrier, "email": event.data["email"]}
    bus.publish("shipping", "parcel_dispatched", data, key=event.key, source="warehouse")


@subscribe("payments", group="ledger")
def book(event: bus.Event) -> None:
    Dice(event, "ledger").work(20)


@subscribe("payments", group="email", types=["payment_failed"], retry=SOON)
def ask_for_another_card(event: bus.Event) -> None:
    mail_id = send_mail(event.data["email"], f"Payment for {event.key} failed", Dice(event, "email"))
    data = {"mail_id": mail_id, "to": event.data["email"], "template": "payment_failed"}
    bus.publish("mail", "mail_sent", data, key=event.key, source="mailer")


@subscribe("shipping", group="email", types=["parcel_dispatched"], retry=SOON)
def announce_parcel(event: bus.Event) -> None:
    mail_id = send_mail(event.data["email"], f"{event.key} is on its way", Dice(event, "email"))
    data = {"mail_id": mail_id, "to": event.data["email"], "template": "parcel_dispatched"}
    bus.publish("mail", "mail_sent", data, key=event.key, source="mailer")


@subscribe("mail", group="mail-statistics", concurrency=4)
async def count_mail(event: bus.Event) -> None:
    await Dice(event, "mail-statistics").awork(8)
