"""The settings: what a bad value is told, and the README's table of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from broadcaster.settings import Settings, load, table

README = Path(__file__).parents[2] / "README.md"

HOOK = {"title": "A", "url": "http://127.0.0.1:1/", "secret": "whsec_x"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"world": "test"}, "'exercise' or 'live'"),
        ({"port": 70_000}, "65535"),
        ({"webhooks": [{"name": "public_page", **HOOK}]}, "public_page is taken"),
        ({"webhooks": [{"name": "settled", **HOOK}]}, "settled is taken"),
        ({"webhooks": [{"name": "a", **HOOK}, {"name": "a", **HOOK}]}, "a is taken"),
        ({"webhook_networks": ["everywhere"]}, "network"),
    ],
)
def test_a_value_of_no_use_is_refused_in_words(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(values)


def test_the_home_folders_own_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.env").write_text("BROADCASTER_DEPARTMENT=Elsewhere PD\n")
    monkeypatch.setenv("BROADCASTER_HOME", str(tmp_path))
    assert load().department == "Elsewhere PD"


def test_secrets_are_not_shown() -> None:
    settings = Settings.model_validate({"intake_secrets": {"cad": ["whsec_hush"]}})
    assert "hush" not in repr(settings)


def test_the_readmes_table_is_the_models() -> None:
    """`scripts/settings-table` makes it anew."""
    assert table() in README.read_text()
