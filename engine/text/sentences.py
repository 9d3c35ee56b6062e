"""Where sentences end, decided the same way whether a text comes whole or token by token.

A boundary is placed only once the word after it is known to be complete, so nothing that comes later can change it.
Knows nothing of models: the caller says whether the text is uncased and which `left.right` pairs belong together
because the conversation writes them so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from engine.text.words import listed

#: Tells whether `left` + `.` + `right` is one word of the conversation (`nginx.conf`, `11.2`).
Keeps = Callable[[str, str], bool]

_WIDE = "。！？｡؟۔।॥։።"
_TERMINATOR = re.compile(rf"[.!?…{_WIDE}]+|\n")
_CLOSERS = re.compile(r"[\"'”’)\]»」』）】*_`]*")
_OPENERS = re.compile(r"[\"'“‘(\[«「『（【*_`]*")
_BULLET = re.compile(r"[-*•–—]\s")
_MARKER = re.compile(r"\s*(?:[-*•]\s*)?(?:\d{1,3}|[A-Za-z])\Z")
_LIST_LINE = re.compile(r"(?:[-*•]|\d{1,3}[.)])\s")

#: A dot after these ends no sentence.
_NEVER_LAST = listed(
    "mr mrs ms mx dr prof st vs e.g eg i.e approx dept fig figs vol pp ca cf gen sen rep rev hon capt lt col sgt "
    "messrs z.b u.a d.h bzw ggf nr"
)
#: A dot after these ends one only before a capital letter.
_PERHAPS_LAST = listed("etc inc ltd co corp jr sr al a.m p.m am pm min max est dept ext misc")
#: A dot after these ends none before a digit (`No. 5`, `Jan. 3`).
_BEFORE_DIGITS = listed("no nos p art sec ch jan feb mar apr jun jul aug sep sept oct nov dec v ver")
_STARTERS = listed("the he she they it we i this that these those in a an then there but so and after when")


def _ends(
    text: str, start: int, dot: int, run: str, closers: str, after: int, *, uncased: bool, keeps: Keeps | None
) -> bool:
    """Whether the terminator at `dot`, followed by white space and the word at `after`, ends a sentence."""
    if _BULLET.match(text, after):
        return True
    opened = _OPENERS.match(text, after)
    first = opened.end() if opened else after
    following = re.compile(r"\w*").match(text, first)
    word = following.group() if following else ""
    lower = word[:1].islower()
    if run != ".":
        return not lower or (uncased and not closers)
    before = text[start:dot]
    if _MARKER.match(before):
        return False
    left = re.split(r"\s", before)[-1].lstrip("\"'“‘([«*_`")
    folded = left.casefold()
    if folded in _NEVER_LAST or (folded in _BEFORE_DIGITS and word[:1].isdigit()):
        return False
    if folded in _PERHAPS_LAST and (lower or uncased):
        return False
    if keeps is not None and not closers and re.search(r"\w\Z", left) and word:
        stem = re.findall(r"\w+", left)[-1]
        if keeps(stem, word):
            return False
    if uncased and left[-1:].isdigit() and word[:1].isdigit():
        return False
    initial = re.fullmatch(r"(?:[^\W\d_]\.)*[^\W\d_]", left) and left not in ("I", "i")
    if initial and (left.isupper() or "." in left) and word.casefold() not in _STARTERS:
        return False
    return uncased or not lower


def next_end(
    text: str, start: int = 0, *, final: bool, uncased: bool = False, keeps: Keeps | None = None
) -> int | None:
    """Index just after the sentence that begins at `start`, or None while that is not certain.

    With `final` the text is whole, and the last sentence ends with it; None then means that nothing is left.
    """
    at = start
    size = len(text)
    while True:
        match = _TERMINATOR.search(text, at)
        if match is None:
            return size if final and text[start:].strip() else None
        at, run = match.end(), match.group()
        if run == "\n":
            if text[start : match.start()].strip():
                return at
            start = at
            continue
        closing = _CLOSERS.match(text, at)
        closers = closing.group() if closing else ""
        at += len(closers)
        if at == size:
            return size if final else None
        if any(c in _WIDE for c in run):
            return at
        if not text[at].isspace():
            continue
        after = at
        while after < size and text[after].isspace() and text[after] != "\n":
            after += 1
        if after == size:
            return size if final else None
        if text[after] == "\n":
            return after + 1
        end = after
        while end < size and not text[end].isspace():
            end += 1
        if end == size and not final:
            return None
        if _ends(text, start, match.start(), run, closers, after, uncased=uncased, keeps=keeps):
            return after


class SentenceSplitter:
    """Splits a text that arrives in pieces.

    Args:
        uncased: the text has no capitals, so that a lower-case word may begin a sentence.
        keeps: see :data:`Keeps`.
    """

    def __init__(self, *, uncased: bool = False, keeps: Keeps | None = None) -> None:
        self._uncased = uncased
        self._keeps = keeps
        self._pending = ""

    def feed(self, piece: str) -> list[str]:
        """The sentences that are certainly complete now, stripped of white space at both ends."""
        self._pending += piece
        return self._take(final=False)

    def finish(self) -> list[str]:
        """What is left once the text has ended."""
        return self._take(final=True)

    def _take(self, *, final: bool) -> list[str]:
        found = []
        start = 0
        while (
            end := next_end(self._pending, start, final=final, uncased=self._uncased, keeps=self._keeps)
        ) is not None:
            found.append(self._pending[start:end].strip())
            start = end
        self._pending = self._pending[start:]
        return found


def split_sentences(text: str, *, uncased: bool = False, keeps: Keeps | None = None) -> list[str]:
    """The sentences of a whole text."""
    splitter = SentenceSplitter(uncased=uncased, keeps=keeps)
    return [*splitter.feed(text), *splitter.finish()]


def separator(before: str, after: str) -> str:
    """What stands between two sentences of one summary: a line break around list items, else a space or nothing."""
    if _LIST_LINE.match(after) or _LIST_LINE.match(before):
        return "\n"
    return "" if before[-1:] in tuple("。！？｡") and not after[:1].isascii() else " "


def join_sentences(sentences: Iterable[str]) -> str:
    """The sentences as one text; the same whether they were joined one at a time or all at once."""
    joined, last = "", ""
    for sentence in sentences:
        joined += (separator(last, sentence) if last else "") + sentence
        last = sentence
    return joined


def complete(sentence: str) -> bool:
    """Whether a sentence ends as sentences do (a list item always does)."""
    if _LIST_LINE.match(sentence):
        return True
    return bool(re.search(rf"[.!?…{_WIDE}][\"'”’)\]»」』）】*_`]*\Z", sentence))
