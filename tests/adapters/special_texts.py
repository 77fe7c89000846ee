"""Texts that platforms are known to count, join, shorten or clean up in ways of their own."""

from __future__ import annotations

from hypothesis import strategies as st

from broadcaster.update import clean

_FAMILIES = st.sampled_from([
    "👨‍👩‍👧‍👦", "👩🏽‍🚒", "👩‍🚒🏽", "🏴‍☠️", "👁️‍🗨️", "❤️‍🔥", "🧑🏿‍🤝‍🧑🏻",
    "🐻‍❄️", "🚒", "☎", "☎️", "☎︎", "1️⃣", "©",
])  # fmt: skip
_FLAGS = st.sampled_from(["🇺🇸", "🇲🇽🇺🇸", "🇺", "🏳️‍🌈", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"])
_MARKS = st.text("aeiocn\u0301\u0323\u0303\u0308\u0327\u20d7", min_size=1, max_size=8)
_ARABIC = st.text("مرحباغازبلغة\u0640\u064b\u0651\u200c", min_size=1, max_size=10)
_DEVANAGARI = st.text("नमसतेकषयर\u094d\u093f\u0902\u200d", min_size=1, max_size=10)
_INVISIBLE = st.text("\u200b\u200c\u200d\u2060\u00a0\u00ad\u2028\u3000\ufe0f\ufeff", max_size=4)
_PLAIN = st.text("Stay in! <b>&amp;\"'#%$/\\_()[]{}:;,?=+-–…½火事", min_size=1, max_size=20)
#: In Cyrillic, dotless, of full width, by another dot, encoded, and as a part of another.
_LIKE_POLICE_GOV = st.sampled_from([
    "p\u043elice.gov", "pol\u0131ce.gov", "\uff50olice.gov", "police\u3002gov", "xn--plice-nya.gov",
    "police.gov.example", "police-gov.example", "ро\u0456\u0456\u0441\u0435.gov",
])  # fmt: skip
_LINKS = st.builds(
    "https://{}/{}{}{}".format,
    st.sampled_from(["police.gov", "www.city.ca.us", "a.org", "alerts.example", "ñandú.mx"])
    | _LIKE_POLICE_GOV,
    st.text("abcXYZ019-_/%.,;~()'&=", max_size=60),
    st.sampled_from(["", "?q=gas+leak&lang=en", "?a=1&amp;b=2", "#map"]),
    st.sampled_from(["", ".", ",", ")", "!", "火事"]),
)
#: What looks like a link, or like the server of one, and was not written as one.
_LOOK_ALIKES = st.sampled_from([
    "x.com", "Oak St.Stay", "police.gov", "www.city.ca.us/alerts", "5.30pm", "1.5.mi", "e.g.this",
    "U.S.A.", "map.pdf", "ñandú.mx", "火事.jp", "xn--fiqs8s.com", "a.b.c.org", "police.gov:8080",
    "HTTP://police.gov", "http://police", "https://", "ftp://police.gov", "//police.gov", "t.co/a",
    "192.0.2.1", "localhost", "police.gov.", "@police.gov", "-police.gov", "a..gov",
])  # fmt: skip

_PIECES = st.one_of(
    _FAMILIES, _FLAGS, _MARKS, _ARABIC, _DEVANAGARI, _INVISIBLE, _PLAIN, _LINKS,
    st.sampled_from(["@oak", "@oak@alerts.example", "pio@police.gov", "#OakSt", "RT@oak"]),
    _LOOK_ALIKES, _LIKE_POLICE_GOV,
)  # fmt: skip


def _cleaned(parts: list[tuple[str, str]]) -> str:
    return clean("".join(piece + gap for piece, gap in parts), "text")


#: As they come to a channel: cleaned, and not empty.
SPECIAL = st.lists(
    st.tuples(_PIECES, st.sampled_from(["", " ", "\n", "\n\n"])), min_size=1, max_size=6
).map(_cleaned).filter(bool)  # fmt: skip
