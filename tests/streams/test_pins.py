"""The start-up check names what is missing and which version to install."""

from __future__ import annotations

import pytest
from faust.transport.consumer import Consumer

from streams import pins
from streams.errors import WrongVersion


def test_what_is_installed_here_is_what_we_rely_on() -> None:
    pins.check_private_names()


def test_another_version_is_refused_with_the_one_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(pins.PINNED, "aiokafka", "0.13.9")
    with pytest.raises(WrongVersion, match=r"install aiokafka==0\.13\.9"):
        pins.check_private_names()


def test_a_package_that_is_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pins.PINNED, "no-such-package", "1")
    with pytest.raises(WrongVersion, match="none is installed"):
        pins.check_private_names()


def test_a_private_name_that_went_away_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Consumer, "_wait_next_records")
    with pytest.raises(WrongVersion, match=r"_wait_next_records.*faust-streaming==0\.15\.3"):
        pins.check_private_names()
