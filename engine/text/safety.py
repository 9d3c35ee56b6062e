"""What makes a model's text safe to post, by code: no ping, no foreign link, no invisible character.

:class:`OutputFilter` is given the conversation and lets through only links that stand in it byte for byte. It changes
as little as it can and keeps what it takes apart readable: `@everyone` becomes `everyone`, an invented bare domain
gets a space after its dots. Filtering twice changes nothing more, and a sentence comes out the same whether it was
filtered alone or with its neighbours. It knows no platform; escaping is :mod:`engine.text.escape`'s.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

REMOVED_LINK = "[link removed]"

#: Characters that show nothing (or reorder what is shown) without being of a control or format category.
_INVISIBLE = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_LINE_BREAKS = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")

# What a chat client may take for a link. A candidate runs to the next white space or angle bracket.
_RUN = r"[^\s<>]"
# The counts are bounded so that a megabyte of letters or of dots stays linear.
_SCHEME = rf"[A-Za-z][A-Za-z0-9+.\-]{{0,30}}://{_RUN}+"
_OPAQUE = (
    rf"(?:mailto|tel|sms|data|javascript|vbscript|slack|discord|file|magnet|skype|xmpp|facetime|about|blob):{_RUN}+"
)
_WWW = rf"www\.{_RUN}+"
_EMAIL = r"(?<![\w.+\-%])[\w.+\-%]+@[\w\-]+(?:\.[\w\-]+)+"
_BARE = rf"(?:[\w\-]{{1,63}}\.){{1,10}}(?=[^\W\d_]{{2}}|xn--)[\w\-]{{2,63}}(?:(?=[/:?#]){_RUN}*)?"
_LINK = re.compile(rf"(?P<full>{_SCHEME}|{_OPAQUE}|{_WWW})|(?P<email>{_EMAIL})|(?P<bare>{_BARE})", re.IGNORECASE)
_LINK_HINT = re.compile(r"[.:@]")
_BROADCAST = re.compile(r"[@＠﹫](?:everyone|here|channel)", re.IGNORECASE)
_TRAILING = ".,;:!?…)]}'\"’”»*_~`|"

_MARKDOWN_LINK = re.compile(r"\](?=\()")
_REFERENCE = re.compile(r"^\[([^\]\n]*)\]:", re.MULTILINE)
_AUTOLINK = re.compile(r"<((?:[A-Za-z][A-Za-z0-9+.\-]*:|www\.|[\w.+\-]+@)[^<>|\n]*)(?:\|([^<>\n]*))?>")
_SPECIAL = re.compile(r"<(?:@[!&]?|#|!(?:subteam\^)?|id:)([^<>|\n]*)(?:\|([^<>\n]*))?>")
_EMOJI = re.compile(r"<a?(:\w+:)\d+>")
_OPENING = re.compile(r"<+(?=[@#!&/]|a?:|t:|id:|[A-Za-z][A-Za-z0-9+.\-]*:|www\.)", re.IGNORECASE)
_AT = re.compile(r"[@＠﹫]+")
_NOT_AFTER_LINK = re.compile(r"[_~*|\"'`@＠﹫]+")
_TICKS = re.compile(r"`{2,}")


def visible(text: str, *, keep_newlines: bool = True) -> str:
    """The text without control, format (bidirectional, zero-width), surrogate and invisible characters.

    White space of other kinds becomes a plain space, line breaks of other kinds a newline (or a space).
    """
    if text.isascii() and text.isprintable():
        return text
    text = _LINE_BREAKS.sub("\n", text)
    kept = []
    for character in text:
        if character == "\n":
            kept.append("\n" if keep_newlines else " ")
        elif character == "\t":
            kept.append(" ")
        elif character in _INVISIBLE:
            continue
        else:
            category = unicodedata.category(character)
            if category == "Zs":
                kept.append(" ")
            elif category not in ("Cc", "Cf", "Cs", "Co", "Cn"):
                kept.append(character)
    return "".join(kept)


def _trimmed(candidate: str) -> str:
    return candidate.rstrip(_TRAILING)


def link_spans(text: str) -> list[tuple[int, int, bool]]:
    """Start, end and whether it carries a scheme (or `www.`) of everything a chat client may make a link of.

    Trailing punctuation is no part of a link.
    """
    return [
        (match.start(), match.start() + len(link), match.group("full") is not None)
        for match in _LINK.finditer(text)
        if (link := _trimmed(match.group()))
    ]


def find_links(text: str) -> list[str]:
    """The links of :func:`link_spans`, as written. No link holds white space, so words are looked at one by one."""
    words = (word for word in text.split() if _LINK_HINT.search(_trimmed(word)))
    return [word[start:end] for word in words for start, end, _ in link_spans(word)]


class OutputFilter:
    """The output filter of one conversation.

    Args:
        source: the texts of the conversation; links in them are the only ones let through.
    """

    def __init__(self, source: Iterable[str]) -> None:
        self._links = frozenset(
            # As it stands there, byte for byte: what only becomes a link once an invisible character is taken out of it
            # is none of the conversation's.
            link
            for text in source
            for link in find_links(visible(text))
            if link in text and not _BROADCAST.search(link)
        )

    def clean(self, text: str) -> str:
        """The text, safe to show; stripped, and with no run of blank lines. May come out empty."""
        text = visible(text)
        # Each step only ever takes something away that a later step looks for, but taking away can join two halves of
        # a new one (`@` + removed + `here`), so they are repeated until nothing changes; a handful of rounds in
        # practice, and a text that still changes after many is broken up for good.
        for _ in range(50):
            before = text
            text = self._once(text)
            if text == before:
                return text
        return re.sub(r"[<>@＠﹫|`\[\]():/.]+", " ", text).strip()

    def _once(self, text: str) -> str:
        text = _TICKS.sub("", text)
        if text.count("`") % 2:
            text = text.replace("`", "")
        text = _EMOJI.sub(r"\1", text)
        text = _SPECIAL.sub(lambda m: (m.group(2) or m.group(1)).lstrip("@#!&"), text)
        text = _AUTOLINK.sub(lambda m: f"{m.group(2)} ({m.group(1)})" if m.group(2) else m.group(1), text)
        text = _OPENING.sub("", text)
        text = _MARKDOWN_LINK.sub("] ", text)
        text = _REFERENCE.sub(r"[\1] :", text)
        text = self._links_checked(text)
        text = re.sub(r"[^\S\n]+", " ", text)
        return re.sub(r" ?\n\s*", "\n", text).strip()

    def _links_checked(self, text: str) -> str:
        pieces = []
        at = 0
        for match in _LINK.finditer(text):
            pieces.append(_AT.sub("", text[at : match.start()]))
            pieces.append(self._allowed(match))
            at = match.end()
        pieces.append(_AT.sub("", text[at:]))
        return "".join(pieces)

    def _allowed(self, match: re.Match[str]) -> str:
        whole = match.group()
        link = _trimmed(whole)
        if not link:
            return _AT.sub("", whole)
        if link in self._links:
            # What else stands there must not pass for a part of the address.
            return link + _NOT_AFTER_LINK.sub("", whole[len(link) :])
        if match.group("full"):
            return REMOVED_LINK + whole[len(link) :].replace("]", "")
        if match.group("email"):
            return _AT.sub(" at ", whole, count=1)
        return _AT.sub("", re.sub(r"\.(?=\S)", ". ", whole))
