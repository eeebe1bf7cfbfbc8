"""Who reacts to the sensors in the warehouse: climate control and the alarm."""

from __future__ import annotations

import bus
from dashboard.shop.dice import Dice
from dashboard.shop.services import SensorFault
from dashboard.shop.subscribing import subscribe

WARM_CELSIUS = 27.0


@subscribe("sensors", group="climate", concurrency=8)
async def regulate(event: bus.Event) -> None:
    await Dice(event, "climate").awork(6)


@subscribe("sensors", group="alarm", retry=bus.Retry(attempts=2, base_seconds=0.5))
def watch(event: bus.Event) -> None:
    Dice(event, "alarm").work(5)
    celsius = event.data["celsius"]
    if celsius < -40:
        raise SensorFault(f"{event.data['device']} reports {celsius} °C: the probe is broken")
    if celsius > WARM_CELSIUS:
        data = {"device": event.data["device"], "celsius": celsius}
        bus.publish("system", "climate_alert", data, key=event.key, source="alarm")
