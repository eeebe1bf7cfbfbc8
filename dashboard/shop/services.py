"""What the shop's services talk to: a mail server, a card gateway, a warehouse. They fail as the real ones do."""

from __future__ import annotations

import smtplib
from decimal import Decimal
from typing import Any

from dashboard.shop.dice import Dice


class GatewayUnavailable(ConnectionError):
    """The card gateway answered 503."""


class SensorFault(ValueError):
    """A device reported what can't be."""


def send_mail(to: str, subject: str, dice: Dice) -> str:
    """Hand a mail to the mail server; its id. About one in seven times the server does not answer."""
    dice.work(90)
    if dice.happens(0.15):
        raise smtplib.SMTPServerDisconnected("smtp.shop.example:587 did not answer EHLO within 250 ms")
    return f"<{dice.number(10**8, 10**9)}.{len(to) + len(subject)}@shop.example>"


async def charge(card: str, amount: Decimal, dice: Dice) -> bool:
    """Charge a card; False when the bank declines. Sometimes the gateway is unavailable."""
    await dice.awork(120)
    if dice.happens(0.06):
        raise GatewayUnavailable("POST https://cards.example/v2/charges: 503 Service Unavailable")
    return amount < 900 and not card.endswith("0002") and not dice.is_fated(0.07)


def reserve(lines: list[dict[str, Any]], dice: Dice) -> list[str]:
    """Reserve stock; the articles that are out of stock."""
    dice.work(35)
    wanted = {line["sku"]: int(line["quantity"]) for line in lines}
    return [sku for sku, quantity in wanted.items() if quantity > 2 and dice.is_fated(0.3)]


def total_of(order: dict[str, Any]) -> Decimal:
    """What an order costs. An old mobile client writes prices as '19,90': those can't be added up."""
    return sum((price_of(line) * line["quantity"] for line in order["lines"]), Decimal(0))


def price_of(line: dict[str, Any]) -> Decimal:
    text = str(line["unit_price"])
    if not text.replace(".", "", 1).isdigit():
        raise ValueError(f"unit_price of {line['sku']}: expected a number like 19.90, got {text!r}")
    return Decimal(text)
