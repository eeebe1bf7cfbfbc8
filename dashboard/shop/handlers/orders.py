"""Who reacts to `order_placed`: inventory, payment, e-mail, fraud and analytics."""

from __future__ import annotations

import time

import bus
from dashboard.shop.dice import Dice
from dashboard.shop.services import charge, reserve, send_mail, total_of
from dashboard.shop.subscribing import subscribe

SOON = bus.Retry(attempts=5, base_seconds=0.8, cap_seconds=6)  # short: a viewer sees the retry and its end


@subscribe("orders", group="inventory", types=["order_placed"], retry=bus.Retry(attempts=3, base_seconds=0.5))
def reserve_stock(event: bus.Event) -> None:
    missing = reserve(event.data["lines"], Dice(event, "inventory"))
    if missing:
        bus.publish("orders", "stock_missing", {"order_id": event.key, "skus": missing}, key=event.key, source="stock")


@subscribe(
    "orders",
    group="payment",
    types=["order_placed"],
    retry=bus.Retry(attempts=3, base_seconds=0.8, cap_seconds=4),
    concurrency=4,
)
async def take_payment(event: bus.Event) -> None:
    amount = total_of(event.data)
    paid = await charge(event.data["card"], amount, Dice(event, "payment"))
    await bus.apublish(
        "payments",
        "payment_successful" if paid else "payment_failed",
        {
            "order_id": event.key,
            "amount": float(amount),
            "email": event.data["email"],
            "reason": None if paid else "card declined",
        },
        key=event.key,
        source="billing-backend",
    )


@subscribe("orders", group="email", types=["order_placed"], retry=SOON)
def confirm_order(event: bus.Event) -> None:
    mail_id = send_mail(event.data["email"], f"Your order {event.key}", Dice(event, "email"))
    data = {"mail_id": mail_id, "to": event.data["email"], "template": "order_confirmation"}
    bus.publish("mail", "mail_sent", data, key=event.key, source="mailer")


@subscribe("orders", group="fraud", types=["order_placed"], concurrency=4)
async def score_order(event: bus.Event) -> None:
    dice = Dice(event, "fraud")
    await dice.awork(45)
    score = dice.number(0, 100)
    if score > 95:
        await bus.apublish(
            "orders", "order_flagged", {"order_id": event.key, "score": score}, key=event.key, source="fraud-model"
        )


@subscribe("orders", group="analytics", retry=SOON)
def count_order(event: bus.Event) -> None:
    """Quick, until the warehouse compacts a table: then the group falls behind, and catches up afterwards."""
    dice = Dice(event, "analytics")
    if dice.is_fated(0.008):
        time.sleep(dice.number(6, 10))
    dice.work(12)
