"""The settings: what a bad value is told, and the README's table of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from broadcaster.errors import Refusal
from broadcaster.settings import Settings, load, table

README = Path(__file__).parents[2] / "README.md"

HOOK = {"kind": "webhook", "title": "A", "url": "http://127.0.0.1:1/", "secret": "whsec_x"}

MATRIX = {"kind": "matrix", "name": "m", "title": "M", "room": "!a:b", "token": "t"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"time_zone": "Mars/Olympus"}, "no time zone"),
        ({"world": "test"}, "'exercise' or 'live'"),
        ({"port": 70_000}, "65535"),
        ({"channels": [{"name": "public_page", **HOOK}]}, "public_page is taken"),
        ({"channels": [{"name": "settled", **HOOK}]}, "settled is taken"),
        ({"channels": [{"name": "a", **HOOK}, {"name": "a", **HOOK}]}, "a is taken"),
        ({"channels": [MATRIX | {"url": "http://matrix.example/"}]}, "in clear"),
        ({"channel_networks": ["everywhere"]}, "network"),
        ({"apps": [{"kind": "android", "package": "a.b", "fingerprints": ["AA:BB"]}]}, "32 bytes"),
        ({"apps": [{"kind": "android", "package": "a.b", "fingerprints": []}]}, "fingerprints"),
        ({"apps": [{"kind": "android", "package": "a", "fingerprints": ["AA"]}]}, "package"),
        ({"apps": [{"kind": "apple", "team": "short", "bundle": "a.b"}]}, "team"),
        ({"apps": [{"kind": "windows"}]}, "'android', 'apple'"),
        ({"kafka_prefix": "a b"}, "kafka_prefix"),
        ({"kafka_tls_ca": "ca.pem"}, "BROADCASTER_KAFKA_TLS=true"),
        ({"kafka_sasl": "PLAIN", "kafka_user": "u", "kafka_password": "p"}, "as it is"),
        ({"kafka_sasl": "SCRAM-SHA-512", "kafka_user": "u"}, "kafka_password"),
        ({"kafka_sasl": "SCRAM-SHA-512", "kafka_password": "p"}, "kafka_user"),
    ],
)
def test_a_value_of_no_use_is_refused_in_words(values: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate(values)


def test_the_home_folders_own_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.env").write_text("BROADCASTER_DEPARTMENT=Elsewhere PD\n")
    monkeypatch.setenv("BROADCASTER_HOME", str(tmp_path))
    assert load().department == "Elsewhere PD"


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that systemd or a container gives a process for its secrets."""
    monkeypatch.setenv("BROADCASTER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    return tmp_path


def test_secrets_are_read_from_files(credentials: Path) -> None:
    (credentials / "broadcaster_ledger_url").write_text("postgresql://desk:hush@db/x\n")
    (credentials / "broadcaster_intake_secrets").write_text('{"cad": ["whsec_hush"]}')
    settings = load()
    assert settings.ledger_url is not None
    assert settings.ledger_url.get_secret_value() == "postgresql://desk:hush@db/x"
    assert settings.intake_secrets["cad"][0].get_secret_value() == "whsec_hush"


def test_the_environment_goes_before_a_file(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials / "broadcaster_department").write_text("From a file")
    monkeypatch.setenv("BROADCASTER_DEPARTMENT", "From the environment")
    assert load().department == "From the environment"


def test_without_systemd_secrets_are_the_containers(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials / "broadcaster_department").write_text("From a file")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    monkeypatch.setattr("broadcaster.settings.SECRETS", credentials / "none")
    assert load().department == Settings().department
    monkeypatch.setattr("broadcaster.settings.SECRETS", credentials)
    assert load().department == "From a file"


def test_a_file_that_is_no_json_is_refused_without_what_it_says(credentials: Path) -> None:
    (credentials / "broadcaster_intake_secrets").write_text("whsec_hush")
    with pytest.raises(Refusal, match="intake_secrets") as raised:
        load()
    assert "hush" not in raised.value.in_words


def test_secrets_are_not_shown() -> None:
    settings = Settings.model_validate({"intake_secrets": {"cad": ["whsec_hush"]}})
    assert "hush" not in repr(settings)


def test_the_readmes_table_is_the_models() -> None:
    """`scripts/settings-table` makes it anew."""
    assert table() in README.read_text()
