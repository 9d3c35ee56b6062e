"""Word differences between two texts, and how far apart they are. Text in, figures out.

The distance is Levenshtein's over words (Levenshtein, 1966; each word put in, taken out or replaced counts one), as a
share of the first text's words. A word is what stands between white space; of scripts that put none between words, a
sign. Case and punctuation count: a changed full stop is a changed word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
#: A word with the white space behind it (or, at the beginning of a text, before it).
_PIECE = re.compile(rf"\s*(?:[{_UNSPACED}]|(?:(?![{_UNSPACED}])\S)+)\s*|\s+")


@dataclass(frozen=True, slots=True)
class Difference:
    """What was changed.

    Attributes:
        distance: from 0 (nothing) up; above 1 where more words came than there were.
        diff: ``[what, old text, new text]`` in order, where ``what`` is ``equal``, ``delete``, ``insert`` or
            ``replace``; all the old texts joined are the old text, all the new ones the new one.
    """

    distance: float
    diff: list[list[str]]


def difference(old: str, new: str) -> Difference:
    """What turns one text into another, word by word."""
    from rapidfuzz.distance import Levenshtein

    before, after = pieces(old), pieces(new)
    numbers: dict[str, int] = {}
    one = [numbers.setdefault(piece.strip(), len(numbers)) for piece in before]
    other = [numbers.setdefault(piece.strip(), len(numbers)) for piece in after]
    diff = []
    steps = 0
    for code in Levenshtein.opcodes(one, other):
        taken, given = before[code.src_start : code.src_end], after[code.dest_start : code.dest_end]
        diff.append([code.tag, "".join(taken), "".join(given)])
        if code.tag != "equal":
            steps += max(len(taken), len(given))
    return Difference(steps / max(1, len(before)), diff)


def pieces(text: str) -> list[str]:
    """The words of a text with the white space around them; joined, they are the text."""
    return _PIECE.findall(text)


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in white space at most."""
    return one.split() == other.split()
