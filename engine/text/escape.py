"""Platform escaping and length limits for text that the output filter has passed.

`escape_slack` and `escape_discord` make a text show as it is written; `split_text` cuts it to a platform's message
length. They know nothing of conversations and remove nothing.
"""

from __future__ import annotations

import re
import unicodedata

from engine.text.safety import link_spans

_DISCORD_INLINE = re.compile(r"([\\*_~`|\[\]<>])")
_DISCORD_LINE = re.compile(r"^(\s*)(#{1,3}|-#|[-+]|\d+(?=[.)]))(?=[\s.)])", re.MULTILINE)
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])"), re.compile(r"\s+"))


def escape_slack(text: str) -> str:
    """The text with `&`, `<` and `>` as entities, which is all that Slack's mrkdwn asks to be escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_discord(text: str) -> str:
    """The text with Discord's Markdown escaped by backslashes; links stay as they are."""
    pieces = []
    at = 0
    for start, end, full in link_spans(text):
        if full:
            pieces.append(_DISCORD_INLINE.sub(r"\\\1", text[at:start]))
            pieces.append(text[start:end])
            at = end
    pieces.append(_DISCORD_INLINE.sub(r"\\\1", text[at:]))
    return _DISCORD_LINE.sub(_escaped_marker, "".join(pieces))


def _escaped_marker(match: re.Match[str]) -> str:
    marker = match.group(2)
    return f"{match.group(1)}{marker}\\" if marker.isdigit() else f"{match.group(1)}\\{marker}"


def units(text: str) -> int:
    """Length in UTF-16 units: never less than any platform counts, whether it counts these or code points."""
    return len(text) + sum(c > "\uffff" for c in text)


def _prefix(text: str, limit: int) -> int:
    """How many characters of the text fit in `limit` UTF-16 units, no visible character cut in half if avoidable."""
    count = at = 0
    while at < len(text) and count + (2 if text[at] > "\uffff" else 1) <= limit:
        count += 2 if text[at] > "\uffff" else 1
        at += 1
    if at == len(text):
        return at
    cut = at
    while cut > 0 and _joins(text[cut - 1], text[cut]):
        cut -= 1
    return cut or max(at, 1)


def _joins(before: str, after: str) -> bool:
    """Whether two characters show as one: combining marks, joined and modified emoji, pairs of flag letters."""
    return (
        unicodedata.combining(after) != 0
        or unicodedata.category(after) in ("Mn", "Me", "Mc")
        or "\u200d" in (before, after)
        or "\U0001f3fb" <= after <= "\U0001f3ff"
        or ("\U0001f1e6" <= before <= "\U0001f1ff" and "\U0001f1e6" <= after <= "\U0001f1ff")
    )


def split_text(text: str, limit: int) -> list[str]:
    """Cut a text into pieces of at most `limit` UTF-16 units each, none of them empty.

    It is cut at the last paragraph end that fits, else line end, sentence end or white space (which is dropped there),
    and inside a word only where the word alone is too long; an early break that would leave a piece less than a third
    full is passed over for a finer one.

    Raises:
        ValueError: `limit` is less than 2, which could not hold every character.
    """
    if limit < 2:
        raise ValueError("limit must be at least 2")
    pieces = []
    rest = text.strip()
    while rest:
        fits = _prefix(rest, limit)
        if fits == len(rest):
            pieces.append(rest)
            break
        cut, resume = fits, fits
        window = rest[: fits + 1]
        for pattern in _BREAKS:
            found = None
            for match in pattern.finditer(window):
                if match.start() <= fits and match.start() > fits // 3:
                    found = match
            if found is not None:
                cut, resume = found.start(), found.end()
                break
        else:
            spaces = [m for m in _BREAKS[-1].finditer(window) if 0 < m.start() <= fits]
            if spaces:
                cut, resume = spaces[-1].start(), spaces[-1].end()
        piece = rest[:cut].rstrip()
        if piece:
            pieces.append(piece)
        rest = rest[resume:].lstrip()
    return pieces
