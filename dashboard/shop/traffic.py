"""The shop's traffic: what happens when, drawn from a seed. Pure: nothing is published here."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

NAMES: Final = ("Ada", "Grace", "Edsger", "Barbara", "Donald", "Radia", "Ken", "Frances", "Tony", "Margaret")
SURNAMES: Final = ("Okafor", "Lindqvist", "Moreau", "Yamada", "Novak", "Costa", "Haddad", "Berg", "Silva", "Kaya")
CATALOGUE: Final = {
    "mug-enamel": "14.90",
    "tea-oolong-100": "11.50",
    "kettle-steel": "64.00",
    "lamp-desk": "89.90",
    "notebook-a5": "7.20",
    "chair-oak": "249.00",
    "print-a2": "35.00",
}
DEVICES: Final = ("thermo-17", "thermo-21", "gate-3")
SERVERS: Final = ("api-1", "api-2", "worker-7", "db-replica-2")
JOBS: Final = ("invoice-export", "thumbnail-backfill", "search-reindex")
PIPELINES: Final = ("sales-hourly", "stock-snapshot", "newsletter-segments")


@dataclass(frozen=True)
class Happening:
    """One event that somebody is about to publish."""

    topic: str
    type: str
    key: str
    source: str
    data: dict[str, Any]


class Traffic:
    """An endless, repeatable stream: Poisson arrivals at `rate` orders a second, and the rest in proportion."""

    def __init__(self, seed: int, rate: float) -> None:
        self._random = random.Random(seed)
        self._rate = rate
        self._seconds = 0.0
        self._kinds: list[tuple[float, Callable[[], list[Happening]]]] = [
            (1.0, self._order),
            (0.25, self._user),
            (0.5, self._readings),
            (0.03, self._server_started),
            (0.04, self._job_failed),
            (0.06, self._pipeline_completed),
        ]

    def __iter__(self) -> Iterator[tuple[float, list[Happening]]]:
        """Pairs of (seconds to wait, what then happens at once)."""
        weights = [weight for weight, _ in self._kinds]
        makers = [make for _, make in self._kinds]
        while True:
            pause = self._random.expovariate(self._rate * sum(weights))
            self._seconds += pause
            (make,) = self._random.choices(makers, weights)
            yield pause, make()

    def _order(self) -> list[Happening]:
        number = f"o-{self._random.randrange(10**6, 10**7)}"
        person = self._person()
        mobile = self._random.random() < 0.4
        data = {
            "order_id": number,
            "customer": person["name"],
            "email": person["email"],
            "card": f"4929 •••• •••• {self._random.randrange(10000):04}",
            "lines": self._lines(old_client=mobile and self._random.random() < 0.06),
            "currency": "EUR",
        }
        return [Happening("orders", "order_placed", number, "mobile-api" if mobile else "web-shop", data)]

    def _lines(self, *, old_client: bool) -> list[dict[str, Any]]:
        chosen = self._random.sample(sorted(CATALOGUE), self._random.choice((1, 1, 2, 3)))
        lines = [
            {"sku": sku, "quantity": self._random.choice((1, 1, 1, 2, 3)), "unit_price": float(CATALOGUE[sku])}
            for sku in chosen
        ]
        if old_client:  # writes prices as people do in its country; the payment service can't read them
            lines[0]["unit_price"] = CATALOGUE[chosen[0]].replace(".", ",")
        return lines

    def _user(self) -> list[Happening]:
        number = f"u-{self._random.randrange(10**5, 10**6)}"
        country = self._random.choice(("DE", "AT", "CH", "FR", "PT"))
        data = {"user_id": number, **self._person(), "country": country}
        return [Happening("users", "user_created", number, self._random.choice(("web-shop", "mobile-api")), data)]

    def _person(self) -> dict[str, str]:
        first, last = self._random.choice(NAMES), self._random.choice(SURNAMES)
        return {"name": f"{first} {last}", "email": f"{first}.{last}@example.com".lower()}

    def _readings(self) -> list[Happening]:
        return [Happening("sensors", "reading", device, device, self._reading(device)) for device in DEVICES]

    def _reading(self, device: str) -> dict[str, Any]:
        wave = 4.5 * math.sin(self._seconds / 40 + len(device))  # a warm afternoon every four minutes
        celsius = 22.0 + wave + self._random.gauss(0, 0.4)
        if self._random.random() < 0.004:
            celsius = -127.0  # what a DS18B20 reports when its wire is broken
        return {"device": device, "celsius": round(celsius, 2), "humidity": round(self._random.gauss(48, 3), 1)}

    def _server_started(self) -> list[Happening]:
        server = self._random.choice(SERVERS)
        data = {"server": server, "version": f"2026.{self._random.randrange(1, 40)}", "boot_ms": 2400}
        return [Happening("system", "server_started", server, server, data)]

    def _job_failed(self) -> list[Happening]:
        job = self._random.choice(JOBS)
        data = {"job": job, "error": "exit code 137 (out of memory)", "minutes": self._random.randrange(2, 50)}
        return [Happening("system", "job_failed", job, "billing-backend", data)]

    def _pipeline_completed(self) -> list[Happening]:
        pipeline = self._random.choice(PIPELINES)
        rows = 0 if self._random.random() < 0.1 else self._random.randrange(2_000, 90_000)
        data = {"pipeline": pipeline, "rows": rows, "seconds": self._random.randrange(20, 400)}
        return [Happening("pipelines", "pipeline_completed", pipeline, "etl", data)]
