"""Plain text: ``Name: text`` lines, with continuation lines and, if there are any, leading times.

``10:32``, ``[2026-05-01 10:32]`` and the like before the name are read; only those with a full ISO date become times,
because a bare clock time or ``05/06/26`` does not say which day it was. What looks like a label rather than a name
(``https:``, ``Note:`` in the middle of a message, anything in a fenced code block or indented) goes on with the message
before it. It knows nothing of files or JSON.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Literal

from engine.conversation import Conversation, Message
from engine.formats.source import shown
from engine.formats.values import MAX_NAME, clean, clean_name, conversation_id, iso_time
from storage.errors import InputError

_DATE = r"\d{4}-\d{1,2}-\d{1,2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}"
_CLOCK = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d{1,6})?)?(?:\s?[AaPp]\.?[Mm]\.?)?(?:\s?(?:Z|UTC|[+-]\d{2}:?\d{2}))?"
_STAMP = rf"(?:(?:{_DATE})(?:(?:,?\s+|T)(?:{_CLOCK}))?|{_CLOCK})"
# Either in brackets, or bare with a space (and perhaps a dash, as in exported phone chats) behind it.
_LEADING = re.compile(rf"\s{{0,3}}(?:[\[(](?P<boxed>{_STAMP})[\])]\s*(?:[-–—]\s+)?|(?P<bare>{_STAMP})\s+(?:[-–—]\s+)?)")
# A colon with a blank, a line's end or a letter that is not ASCII behind it; the full-width colon needs none.
_SPEAKER = re.compile(
    rf"(?P<name>[^:：\n\t]{{1,{2 * MAX_NAME}}}?)(?:\s?[\[(](?P<stamp>{_STAMP})[\])])?\s?"
    r"(?::(?=[ \t]|$|[^\x00-\x7f])|：)[ \t]?(?P<text>.*)$"
)
_FENCE = re.compile(r"\s*(?:```|~~~)")
_NO_NAME = re.compile(r"[?!;=<>\"“”*]|//|\w{5,}\.\s|\([^)]*$|\$|^#(?:\s|$)|^[-–—•.)/>`]")
# Possible in a name (`Cox, Charlie`, `MATT - TRAVIS`, nicknames such as `xabbu|`), but likelier in a sentence or code.
_ODD = re.compile(r"[,|{}\[\]\\^`]|\s[-–—]\s")
# What stands behind a name in brackets (`Ana Ruiz (Minister of Families, Children and Social Development)`).
_ROLE = re.compile(r"\s+\(.*$")
_NAME_WORDS = 5
# Small words inside names: "Ludwig van der Berg".
_PARTICLE = re.compile(r"a[lp]|b(?:in|int)|d(?:a|al|e|el|en|er|i|o|os|u)|e|el|ibn|l[ae]|of|te[nr]|the|v[ao]n|y|zu")

#: Words that stand before a colon inside messages far more often than they are somebody's name.
_LABEL = re.compile(
    r"note|nb|p\.?s\.?|edit|update|todo|fyi|error|warning|warn|info|debug|fatal|traceback|results?|summary|question|answer"
    r"|example|tl;?dr|re|fwd?|subject|from|to|cc|date|steps?|status|links?|output|input|expected|actual|https?|ftp|file"
    r"|mailto|agenda|decision|actions?|attachment|time|total",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Turn:
    """One speaker's turn: name, lines of text, and the time as far as the text says it."""

    author: str
    lines: list[str]
    time: datetime | None = None


def read(text: str, name: str, *, told: bool = False) -> Conversation:
    """The conversation in a plain text; ``name`` is the file's, for the title and for errors.

    Where nobody ``told`` that it is one, a text with colons here and there (a program, a manual) is not taken for it.

    Raises:
        InputError: no line says who speaks, too few do, or nobody says anything.
    """
    header, turns = parse_turns(text)
    if not turns:
        raise InputError(
            f"No line of {shown(name)} says who speaks.",
            "Write each message as `Name: text`, or name another format with --format (slack, discord, samsum).",
        )
    if not told and _is_prose(text, header, turns):
        raise InputError(
            f"Too few lines of {shown(name)} say who speaks for it to be a conversation.",
            "Write each message as `Name: text`; if it is one all the same, say so with --format text.",
        )
    return build(header, turns, name=name, title=name)


def _is_prose(text: str, header: str, turns: list[Turn]) -> bool:
    """Whether most of a text stands above its first speaker, or a turn has more than twenty lines on average."""
    lines = sum(1 for line in text.splitlines() if line.strip())
    above = sum(1 for line in header.splitlines() if line.strip())
    return (above > 5 and above * 2 > lines) or (lines > 40 and len(turns) * 20 < lines)


def build(header: str, turns: list[Turn], *, name: str, title: str) -> Conversation:
    """A conversation of platform ``file`` from parsed turns; what stands above the first speaker is a system note.

    Raises:
        InputError: nobody says anything.
    """
    messages = [Message(id="0", author="Header", text=header, kind="system")] if header else []
    for number, turn in enumerate(turns, start=1):
        text = "\n".join(turn.lines).strip()
        messages.append(Message(id=str(number), author=turn.author, text=text, time=turn.time))
    if not any(message.text for message in messages if message.kind == "person"):
        raise InputError(f"There is no text in {shown(name)}.", "Name a file in which somebody says something.")
    identity = conversation_id("file", chain.from_iterable((message.author, message.text) for message in messages))
    return Conversation(id=identity, messages=tuple(messages), title=clean_name(title))


def parse_turns(text: str, *, each_line_a_turn: bool = False) -> tuple[str, list[Turn]]:
    """What stands above the first speaker, and the turns; none where no line names a speaker.

    A doubtful name counts as one when it is met twice; where each line is known to be a turn, an odd one does at once.
    """
    lines = clean(text).removeprefix("\ufeff").split("\n")
    read_lines = [(line, None if fenced else _speaker(line)) for line, fenced in _fenced(lines)]
    counts = Counter(found[0] for _, found in read_lines if found)
    doubts = {name: _doubt(name) for name in counts}
    trusted = ("", "odd") if each_line_a_turn else ("",)
    names = {name for name, count in counts.items() if count > 1 or doubts[name] in trusted}
    if not names:
        # Nothing but labels said once: better one of them as a speaker than a refusal.
        names = {name for name, doubt in doubts.items() if doubt == "label"}
    header: list[str] = []
    turns: list[Turn] = []
    for line, found in read_lines:
        if found and found[0] in names:
            turns.append(Turn(found[0], [found[1]], found[2]))
        elif turns:
            turns[-1].lines.append(line.rstrip())
        else:
            header.append(line.rstrip())
    return "\n".join(header).strip(), turns


def _fenced(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """Each line with whether it lies in a fenced code block; an opening fence that nothing closes is no fence."""
    fences = [number for number, line in enumerate(lines) if _FENCE.match(line) or _opens_after_name(line)]
    inside: set[int] = set()
    for start, end in zip(fences[::2], fences[1::2], strict=False):
        inside.update(range(start + 1, end + 1))
    return ((line, number in inside) for number, line in enumerate(lines))


def _opens_after_name(line: str) -> bool:
    """Whether a line such as ``Ana: ```sql`` leaves a code block open."""
    return line.count("```") % 2 == 1


def _speaker(line: str) -> tuple[str, str, datetime | None] | None:
    """Name, text and time of a line that opens a turn, or None."""
    leading = _LEADING.match(line)
    if not leading and line[:1].isspace():
        return None
    found = _SPEAKER.match(line, leading.end() if leading else 0)
    name = clean_name(found["name"]) if found else ""
    if not found or not _is_name(name):
        return None
    stamp = (leading and (leading["boxed"] or leading["bare"])) or found["stamp"] or ""
    return name, found["text"].rstrip(), iso_time(stamp.replace(" UTC", "+00:00").replace(", ", " "))


def _is_name(name: str) -> bool:
    """Whether what stands before a colon may be somebody's name at all."""
    bare = _ROLE.sub("", name)
    if not bare or _NO_NAME.search(bare) or len(bare.split()) > _NAME_WORDS:
        return False
    # `10: ...` is an item of a list, `+49 170 1234567: ...` a phone's unnamed contact.
    return not (bare.isdigit() and len(bare) < 5)


def _doubt(name: str) -> Literal["", "label", "odd"]:
    """Why a possible name may be none: it reads like ``Note`` or ``Steps to reproduce``, or has odd characters."""
    bare = _ROLE.sub("", name)
    if _ODD.search(bare):
        return "odd"
    first, *others = bare.split()
    sentence = first[0].isupper() and any(word[0].islower() and not _PARTICLE.fullmatch(word) for word in others)
    return "label" if sentence or _LABEL.fullmatch(bare) else ""
