"""The bench of the web process: it counts what sockets miss, asks for real pages, prints both; not how fast."""

from __future__ import annotations

import io
import json
from pathlib import Path

from django.core.management import call_command


def test_sockets_are_told_of_everything_and_each_page_is_asked_for(tmp_path: Path) -> None:
    told, out = tmp_path / "web.json", io.StringIO()
    words = ["--sockets", "5", "--rate", "100", "--seconds", "1", "--events", "2000", "--asked", "2"]
    call_command("bench", "web", "--json", str(told), *words, stdout=out)
    sockets, pages = json.loads(told.read_text())["tables"]
    assert [one["missed"] for one in sockets["raw"]] == [0] * 6
    assert all(one["rows"] for one in sockets["raw"])
    assert {"overview", "topics", "dead letters", "system"} <= {one["page"] for one in pages["raw"]}
    assert "**5 sockets, 100 events/s**" in out.getvalue()
    assert "1,000 topics, 300 groups, 2,000 events" in out.getvalue()
