"""What a platform would change in a text, or refuse, however short it is.

What is approved is what is posted (DESIGN.md rule 1): such a text is refused before anybody is
asked to approve it, and again before it is sent.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence

import regex

from broadcaster.counting import BARE_LINK, LINK

#: Says why a text is unfit, in one sentence; None: it is not.
Rule = Callable[[str], str | None]


def _begins_with_a_mark(text: str) -> str | None:
    """A server that reads a string as a stream takes one for a mark of its order of bytes.

    The reference server does (WHATWG Encoding, "BOM sniff", by TextDecoder), as it reads records.
    """
    if text.startswith("\ufeff"):
        return "Bluesky would drop the invisible character U+FEFF that the text begins with."
    return None


def _empty_lines(text: str) -> str | None:
    """Mastodon makes paragraphs by Rails' simple_format, X of its own accord."""
    if found := regex.search(r"(.{0,9})\n(\s)\s*\n", text):
        return (
            "Empty lines in a row, or a line of mere space, would be shown as one empty line: "
            f"take out the {_named(found[2])} after “{found[1]}”."
        )
    return None


def _outer_space(text: str) -> str | None:
    if text[:1].isspace():
        return f"What the text begins with, {_named(text[0])}, would be cut off: take it out."
    if text[-1:].isspace():
        return f"What the text ends with, {_named(text[-1])}, would be cut off: take it out."
    return None


#: As Mastodon reads an account that is named with its server (Account::MENTION_RE).
_ELSEWHERE = regex.compile(
    r"(?<![\w=/])@[a-z0-9_]+(?:[a-z0-9_.-]*[a-z0-9_])?@(?P<server>[\w.-]*\w)", regex.IGNORECASE
)


def _of_its_own(text: str, home: str) -> str | None:
    """Mastodon shows an account of its own by its name alone, so that it cannot be told whether the
    public reads what was approved. Its accounts may be named by the domain above its own."""
    for found in _ELSEWHERE.finditer(text):
        server = found["server"]
        if f".{home}".lower().endswith(f".{server}".lower()):
            return (
                f"Mastodon would show {found[0]} without its server, which is the channel's own: "
                f"leave @{server} out."
            )
    return None


def _composed(text: str) -> str | None:
    """X normalises what it takes (docs.x.com, "Counting characters")."""
    normal = unicodedata.normalize("NFC", text)
    for ours, theirs in zip(text, normal + "\0", strict=False):
        if ours != theirs:
            return f"X would write the character {_named(ours)} in another way (NFC)."
    return None


def _invalid(text: str) -> str | None:
    """twitter-text, invalidChars; X answers 400 to them."""
    found = regex.search("[\ufffe\ufeff\uffff]", text)
    return f"X refuses the character {_named(found[0])}." if found else None


#: Wider than twitter-text's validMentionOrList, so that what is left surely mentions nobody: a
#: mail address is left, unless its name is the "RT" that X lets stand before a mention.
MENTION = regex.compile(
    r"(?:(?<![a-z0-9_])|(?<![a-z0-9_+~.-])rt:?)[@＠][a-z0-9_]+", regex.IGNORECASE | regex.ASCII
)


def _mention(text: str) -> str | None:
    found = MENTION.search(text)
    return (
        f"Whom a post on X mentions may answer it, and {found[0]} would be taken for a mention: "
        "leave the @ out."
        if found
        else None
    )


def _bare_link(text: str) -> str | None:
    """X makes a link of it, and tells it as one that begins with http://."""
    found = BARE_LINK.search(LINK.sub(" ", text))
    return (
        f"X makes a link of {found[0]}: write https:// before it, or a space after the full stop."
        if found
        else None
    )


#: What Unicode gives no name of its own, and a text may hold.
_NAMES = {"\n": "LINE FEED", "\t": "TABULATION"}


def _named(character: str) -> str:
    name = unicodedata.name(character, _NAMES.get(character, ""))
    return f"U+{ord(character):04X}" + (f" ({name})" if name else "")


#: By the kind of the channel. A kind without rules takes every text that `update.clean` leaves.
_RULES: Mapping[str, Sequence[Rule]] = {
    "bluesky": (_begins_with_a_mark,),
    "mastodon": (_outer_space, _empty_lines),
    "x": (_outer_space, _empty_lines, _composed, _invalid, _mention, _bare_link),
}


def unfit(kind: str, text: str, home: str | None = None) -> str | None:
    """Why a kind of channel would not show this text as it is; None: it would.

    `home`: the server that its account is on, where that is known.
    """
    if kind == "mastodon" and home and (why := _of_its_own(text, home)):
        return why
    return next((why for rule in _RULES.get(kind, ()) if (why := rule(text))), None)
