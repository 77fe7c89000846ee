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
_LINKS = st.builds(
    "https://{}/{}{}{}".format,
    st.sampled_from(["police.gov", "www.city.ca.us", "a.org", "alerts.example", "ñandú.mx"]),
    st.text("abcXYZ019-_/%.,;~()'&=", max_size=60),
    st.sampled_from(["", "?q=gas+leak&lang=en", "?a=1&amp;b=2", "#map"]),
    st.sampled_from(["", ".", ",", ")", "!", "火事"]),
)

_PIECES = st.one_of(
    _FAMILIES, _FLAGS, _MARKS, _ARABIC, _DEVANAGARI, _INVISIBLE, _PLAIN, _LINKS,
    st.sampled_from(["@oak", "@oak@alerts.example", "pio@police.gov", "#OakSt", "RT@oak", "x.com"]),
)  # fmt: skip


def _cleaned(parts: list[tuple[str, str]]) -> str:
    return clean("".join(piece + gap for piece, gap in parts), "text")


#: As they come to a channel: cleaned, and not empty.
SPECIAL = st.lists(
    st.tuples(_PIECES, st.sampled_from(["", " ", "\n", "\n\n"])), min_size=1, max_size=6
).map(_cleaned).filter(bool)  # fmt: skip
