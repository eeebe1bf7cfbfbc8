"""Who reacts to servers, jobs and pipelines: the people on call, the audit log, the reports."""

from __future__ import annotations

import bus
from dashboard.shop.dice import Dice
from dashboard.shop.subscribing import subscribe


@subscribe("system", group="on-call", types=["job_failed", "climate_alert"])
def page_someone(event: bus.Event) -> None:
    Dice(event, "on-call").work(40)


@subscribe("system", group="audit-log")
def keep(event: bus.Event) -> None:
    Dice(event, "audit-log").work(6)


@subscribe("pipelines", group="reports", types=["pipeline_completed"], retry=bus.Retry(attempts=3, base_seconds=1))
async def refresh_reports(event: bus.Event) -> None:
    dice = Dice(event, "reports")
    await dice.awork(180)
    if event.data["rows"] == 0:
        raise LookupError(f"{event.data['pipeline']} completed with no rows: nothing to report on")


@subscribe("pipelines", group="audit-log")
def keep_pipeline(event: bus.Event) -> None:
    Dice(event, "audit-log").work(6)
