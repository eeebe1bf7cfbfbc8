"""What is wrong with the whole of it: the server, the recorder, the workers; and what to do. Errors first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import bus
from bus import health
from bus.health import Finding
from dashboard.queries.bus_state import BusState, bus_state
from dashboard.queries.lag import PartitionRow
from dashboard.record.presence import LEASE, REBUILD, SILENT_MS
from dashboard.sql import rows

GRACE_SECONDS: Final = 20.0  # what is started together with these pages may come up after them
REWIND_SHOWN_MS: Final = 86_400_000
MAX_NAMES: Final = 3
_RECORDINGS: Final = (
    "SELECT r.name, r.started_ms, r.beat_ms, r.stored_ms, r.trouble, l.name IS NOT NULL AS records"
    " FROM dashboard_recording r LEFT JOIN bus_outboxlease l ON l.owner = r.name AND l.name = %s"
    " ORDER BY (l.name IS NULL), r.beat_ms DESC LIMIT 20"
)
UNWATCHED_MS: Final = 60_000
_TOLD: Final = "SELECT name, well_ms, trouble, trouble_ms, dropped FROM dashboard_alerthealth LIMIT 20"
_RULES: Final = "SELECT id FROM dashboard_alertrule WHERE enabled AND removed_ms IS NULL LIMIT 1"
_began = time.monotonic()

Row = Mapping[str, Any]


def alarms() -> list[Finding]:
    """The errors among the findings: for every page, so it asks little."""
    now_ms = int(time.time() * 1000)
    state = bus_state()
    found = [*of_server(state), *of_recorders(recordings(), state, now_ms, time.monotonic() - _began)]
    return [finding for finding in found if finding.level == "error"]


def everything(state: BusState, recorders: Sequence[Row], places: Iterable[PartitionRow], now_ms: int) -> list[Finding]:
    """All that is wrong, errors first; one finding that is fine when nothing is."""
    server = of_server(state)
    found = [
        *(finding for finding in server if finding.level != "fine"),
        *of_recorders(recorders, state, now_ms, time.monotonic() - _began),
        *of_workers(state),
        *of_rewinds(places, now_ms),
        *of_alerts(now_ms, time.monotonic() - _began),
    ]
    if not found:
        seen = f"server and recorder are as they should be; durability is {server[0].seen}"
        return [Finding("fine", "fine", "Nothing is wrong", seen)]
    return sorted(found, key=lambda finding: finding.level != "error")


def recordings() -> list[dict[str, Any]]:
    """Recorders that were heard of within a day: the one that records, then the latest."""
    return rows(_RECORDINGS, [LEASE])


def of_server(state: BusState) -> list[Finding]:
    """What is wrong with the server behind the bus."""
    if state.server is None:
        return [health.away(state.trouble, since=_clock(state.answered_ms) if state.answered_ms else "")]
    return health.findings(state.server, bus.config())


def of_recorders(recorders: Sequence[Row], state: BusState, now_ms: int, running_seconds: float) -> list[Finding]:
    """Whether somebody records. `running_seconds`: how long these pages have been served."""
    recorders = [row for row in recorders if not row["name"].startswith(REBUILD)]
    alive = [row for row in recorders if now_ms - row["beat_ms"] < SILENT_MS]
    troubled = [row for row in alive if row["trouble"]]
    if troubled and state.available:  # else the server's own finding says it
        advice = "see its log; it goes on by itself when that is over"
        return [Finding("error", "recorder", "The recorder can't record", troubled[0]["trouble"], advice)]
    if alive or running_seconds < GRACE_SECONDS:
        return []
    newest = max(recorders, key=lambda row: row["beat_ms"], default=None)
    last = f"{newest['name']} was heard of last at {_clock(newest['beat_ms'])}" if newest else "none runs"
    seen = f"{last}: pages show nothing newer, and nothing is trimmed"
    return [Finding("error", "recorder", "No recorder runs", seen, "start one: python manage.py recorder")]


def of_workers(state: BusState) -> list[Finding]:
    """Workers whose heartbeat ended without a farewell."""
    silent = [worker.id for worker in state.workers if not worker.alive]
    if not silent:
        return []
    title = "A worker is silent" if len(silent) == 1 else f"{len(silent)} workers are silent"
    seen = f"{_named(silent)}: what they held, other workers of their groups take over"
    return [Finding("warning", "workers", title, seen, "see why they ended; forgotten after an hour")]


def of_alerts(now_ms: int, running_seconds: float) -> list[Finding]:
    """Whether somebody looks at the rules of alerts, and whether those who should be told take it."""
    known = {row["name"]: row for row in rows(_TOLD)}
    found = []
    looked_ms = known[""]["well_ms"] if "" in known else 0
    if now_ms - looked_ms > UNWATCHED_MS and running_seconds > GRACE_SECONDS and rows(_RULES):
        seen = f"rules were looked at last at {_clock(looked_ms)}" if looked_ms else "rules were never looked at"
        found.append(Finding("warning", "alerts", "Nobody looks at the alerts", seen, "run: python manage.py alerts"))
    for row in known.values():
        if row["trouble"]:
            lost = f"; {row['dropped']:,} notices were given up" if row["dropped"] else ""
            seen = f"{row['name']} since {_clock(row['trouble_ms'])}: {row['trouble']}{lost}"
            advice = "it is tried again; see ALERT_WEBHOOKS, ALERT_EMAILS and the mail settings"
            found.append(Finding("warning", "alerts", "Alerts are not delivered", seen, advice))
    return found


def of_rewinds(places: Iterable[PartitionRow], now_ms: int) -> list[Finding]:
    """Histories that the server was found without, of late."""
    recent = [(place, span) for place in places for span in place.forgotten if now_ms - span.at_ms < REWIND_SHOWN_MS]
    if not recent:
        return []
    count = sum(span.last - span.first + 1 for _, span in recent)
    where = _named(f"{place.topic}/{place.number}" for place, _ in recent)
    newest_ms = max(span.at_ms for _, span in recent)
    seen = f"{where} at {_clock(newest_ms)}: {count:,} events that were recorded are gone from it"
    advice = (
        "what was open is Lost (a filter on the topic's page): publish it again; and see why the server lost its end"
    )
    return [Finding("warning", "rewound", "The server's history was rewound", seen, advice)]


def _named(names: Iterable[str]) -> str:
    """A few of the names, and how many more there are."""
    listed = list(dict.fromkeys(names))
    more = f" and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return ", ".join(listed[:MAX_NAMES]) + more


def _clock(moment_ms: int) -> str:
    """A moment of today as 14:03:12, of another day with its date; UTC."""
    moment = datetime.fromtimestamp(moment_ms / 1000, UTC)
    is_today = moment.date() == datetime.now(UTC).date()
    return moment.strftime("%H:%M:%S UTC" if is_today else "%Y-%m-%d %H:%M:%S UTC")
