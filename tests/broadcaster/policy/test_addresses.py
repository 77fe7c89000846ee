"""Addresses that are not what they look like are found, and the character is named."""

from __future__ import annotations

import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from broadcaster.policy.addresses import _LOOKALIKES, lookalikes, named


def found(text: str) -> list[str]:
    return [text[start:end] for start, end in lookalikes(text)]


@pytest.mark.parametrize(
    ("text", "address", "why"),
    [
        ("See https://pаypal.com/gas.", "pаypal.com", "“а” (U+0430 CYRILLIC SMALL LETTER A) is"),
        ("pаypal.com", "pаypal.com", "is Cyrillic, and looks like a."),
        ("ρaypal.com", "ρaypal.com", "U+03C1 GREEK SMALL LETTER RHO"),
        ("https://paypal.соm", "paypal.соm", "U+0441 CYRILLIC SMALL LETTER ES"),
        ("https://аррӏе.com", "аррӏе.com", "a reader sees “apple”"),
        ("https://օո.am", "օո.am", "U+0585 ARMENIAN SMALL LETTER OH"),
        ("https://gooɡle.com", "gooɡle.com", "U+0261 LATIN SMALL LETTER SCRIPT G"),
        ("https://polıce.gov", "polıce.gov", "U+0131 LATIN SMALL LETTER DOTLESS I"),
        ("https://polịce.gov", "polịce.gov", "U+1ECB"),
        ("https://g〇〇gle.com", "g〇〇gle.com", "U+3007"),
        ("https://police١.gov", "police١.gov", "U+0661 ARABIC-INDIC DIGIT ONE"),
        ("https://policeーx.gov", "policeーx.gov", "U+30FC"),
        ("https://ｐolice.gov", "ｐolice.gov", "U+FF50 FULLWIDTH LATIN SMALL LETTER P"),
        ("https://police.gov⁄a.evil.com/b", "police.gov⁄a.evil.com", "U+2044 FRACTION SLASH"),
        ("https://police。gov", "police。gov", "U+3002 IDEOGRAPHIC FULL STOP"),
        ("https://pol\u200bice.gov", "pol\u200bice.gov", "U+200B ZERO WIDTH SPACE"),
        ("https://xn--pypal-4ve.com/a", "xn--pypal-4ve.com", "in Punycode for pаypal"),
        ("HTTP://XN--A.COM", "XN--A.COM", "Punycode"),
        ("xn--pypal-4ve.com", "xn--pypal-4ve.com", "Punycode"),
        ("https://p%D0%B0ypal.com", "p%D0%B0ypal.com", "after %"),
        ("https://police.gov@evil.com/x", "police.gov@evil.com", "It leads to evil.com"),
        ("https://a:b@evil.com", "a:b@evil.com", "(a:b) is a login"),
    ],
)
def test_what_is_not_what_it_looks_like(text: str, address: str, why: str) -> None:
    assert found(text) == [address]
    assert why in named(address) and named(address).endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        "https://police.gov/gas, https://police.gov:8443/a?b=c#d, http://[::1]/ and police.gov.",
        "https://policía.example/año https://münchen.example https://señal.example",
        "https://полиция.рф https://مثال.example https://例え.jp https://한국.kr https://ไทย.th",
        "https://police.gov/pаypal?of=а",  # the path is no host
        "https://police.gov’s page, “https://police.gov” and https://police.gov—now",
        "В доме.Не выходите. COVID-19.Не выходите. ابقوا.في الداخل",
        "Write to pio@police.gov. 5.30pm, Dr.Stay, 1.5 mi, https://",
    ],
)
def test_what_is(text: str) -> None:
    assert found(text) == []


HOSTS = st.lists(
    st.text(string.ascii_letters + string.digits + "-", min_size=1, max_size=12), min_size=2,
    max_size=4,
).map(".".join)  # fmt: skip


@given(HOSTS)
def test_plain_hosts_pass(host: str) -> None:
    assume("xn--" not in host.lower())
    assert found(f"See https://{host}/a.") == []


#: By each plain letter, those that are taken for it.
ALIKE: dict[str, list[str]] = {}
for _odd, _plain in _LOOKALIKES.items():
    ALIKE.setdefault(_plain, []).append(_odd)


@given(HOSTS, st.data())
def test_a_letter_in_the_place_of_another_is_named(host: str, data: st.DataObject) -> None:
    assume("xn--" not in host.lower())
    places = [at for at, letter in enumerate(host) if letter in ALIKE]
    assume(places)
    at = data.draw(st.sampled_from(places))
    odd = data.draw(st.sampled_from(ALIKE[host[at]]))
    false = host[:at] + odd + host[at + 1 :]
    assert found(f"See https://{false}/a.") == [false]
    assert f"U+{ord(odd):04X}" in named(false)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_text_can_be_read(text: str) -> None:
    for start, end in lookalikes(f"https://{text} {text}.com"):
        assert named(f"https://{text} {text}.com"[start:end]).endswith(".")
