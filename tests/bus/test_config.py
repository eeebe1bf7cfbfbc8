"""Settings: unknown ones name the nearest, bad ones say what was expected, the environment is heard."""

from __future__ import annotations

from pathlib import Path

import pytest

from bus.config import default_data_folder, from_options
from bus.errors import ConfigError


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown BUS option 'lease_second' \(did you mean 'lease_seconds'\?\)"):
        from_options({"lease_second": 3})


@pytest.mark.parametrize(
    "options",
    [
        {"max_event_bytes": 0},
        {"max_event_bytes": "big"},
        {"lease_seconds": True},
        {"lease_seconds": 10**9},
        {"durability": "maybe"},
        {"prefix": "{x}"},
        {"prefix": ""},
    ],
)
def test_a_setting_out_of_bounds_says_what_was_expected(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="expected BUS"):
        from_options(options)


def test_the_environment_is_heard_and_options_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BUS_URL", "redis://there:1/0")
    monkeypatch.setenv("BUS_DATA", str(tmp_path))
    assert from_options({}).url == "redis://there:1/0"
    assert from_options({}).data_folder == tmp_path
    assert from_options({"url": "redis://here:1/0"}).url == "redis://here:1/0"
    assert from_options({"url": None}).url == "redis://there:1/0"


def test_the_data_folder_follows_the_desktop_convention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert default_data_folder() == tmp_path / "fanlight"
    monkeypatch.setattr("sys.platform", "darwin")
    assert default_data_folder().parts[-3:] == ("Library", "Application Support", "fanlight")
