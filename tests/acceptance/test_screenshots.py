"""The README's pictures are made by a command, of the pages as they are."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

from tests.acceptance.processes import ROOT, environment, processes_of

README = (ROOT / "README.md").read_text()
WITHOUT_PLAYWRIGHT = """
import sys
sys.modules["playwright"] = sys.modules["playwright.sync_api"] = None
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "screenshots", "--folder", sys.argv[1]])
"""


def test_a_picture_of_a_whole_story_is_made_and_nothing_is_left_running(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "manage.py", "screenshots", "trace", "--folder", str(tmp_path)],
        cwd=ROOT,
        env=environment(tmp_path / "data"),
        capture_output=True,
        text=True,
        timeout=115,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    picture = (tmp_path / "trace.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (1440, 900)
    assert 20_000 < len(picture) < 200_000
    assert processes_of(tmp_path) == {}


def test_without_playwright_it_says_what_to_install(tmp_path: Path) -> None:
    env = {**environment(tmp_path / "data"), "DJANGO_SETTINGS_MODULE": "dashboard.settings", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", WITHOUT_PLAYWRIGHT, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install playwright" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_the_readme_shows_pictures_that_the_command_makes() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(static/img/([a-z-]+)\.(?:png|webp)\)", README)
    assert shown == ["trace"]
