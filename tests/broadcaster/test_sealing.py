"""What is sealed opens with its key, for what it belongs to, and with nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.errors import Refusal
from broadcaster.sealing import Sealer, new_key

OLD, NEW = new_key(), new_key()
ABOUT = ("exercise", "city")


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())))
def test_it_opens_as_it_was_sealed(what: dict[str, object]) -> None:
    assert Sealer([OLD]).open(Sealer([OLD]).seal(what, ABOUT), ABOUT) == what


def test_it_tells_nothing_by_itself() -> None:
    assert "hunter2" not in Sealer([OLD]).seal({"token": "hunter2"}, ABOUT)


def test_the_older_key_opens_beside_the_newer_and_what_is_sealed_takes_the_newer() -> None:
    sealed = Sealer([OLD]).seal({"a": 1}, ABOUT)
    both = Sealer([NEW, OLD])
    assert both.open(sealed, ABOUT) == {"a": 1}
    assert Sealer([NEW]).open(both.seal({"a": 1}, ABOUT), ABOUT) == {"a": 1}


@pytest.mark.parametrize(
    ("keys", "about", "change"),
    [
        pytest.param([NEW], ABOUT, str, id="another key"),
        pytest.param([OLD], ("live", "city"), str, id="the other world"),
        pytest.param([OLD], ("exercise", "county"), str, id="another channel"),
        pytest.param([OLD], ABOUT, lambda sealed: sealed[:-8] + "AAAAAAA=", id="altered"),
        pytest.param([OLD], ABOUT, lambda _: "", id="nothing"),
    ],
)
def test_what_does_not_open(keys, about, change) -> None:  # type: ignore[no-untyped-def]
    sealed = change(Sealer([OLD]).seal({"token": "hunter2"}, ABOUT))
    with pytest.raises(Refusal) as refusal:
        Sealer(keys).open(sealed, about)
    assert refusal.value.code == "account_sealed" and "hunter2" not in refusal.value.in_words


@pytest.mark.parametrize("key", ["", "short", OLD[:-4]], ids=["empty", "short", "cut"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(ValueError, match="channel key"):
        Sealer([OLD, key])
