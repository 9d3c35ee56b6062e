"""Case and spacing of an uncased, word-piece model's text, restored from the conversation.

Such a model writes `sam doesn ' t like 11. 1. 2`; the conversation says how names, versions and contractions are
written, so runs of tokens are matched against it, longest first, and take its form. What the conversation does not have
gets plain typesetting rules. Deterministic, one sentence at a time; knows nothing of models.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from engine.text.words import STOP_WORDS, fold

_TOKEN = re.compile(r"[^\W_]+|[^\w\s]|_")
_SUFFIXES = frozenset({"t", "s", "m", "re", "ve", "ll", "d"})
_NO_SPACE_BEFORE = frozenset(".,;:!?%)]}»”’…")
_NO_SPACE_AFTER = frozenset("([{«“#@$€£")
_ENDS = frozenset(".!?\n")
#: Places in the conversation looked at for one token; enough to find the run that goes on.
_MOST_PLACES = 64


class Surface:
    """How one conversation writes its words.

    Args:
        texts: the messages' texts.
        names: the authors' names; their case counts even at the start of a sentence.
    """

    def __init__(self, texts: Iterable[str], names: Iterable[str] = ()) -> None:
        self._written: list[str] = []
        self._spaced = bytearray()
        self._starts = bytearray()
        self._places: dict[str, array[int]] = defaultdict(lambda: array("I"))
        self._forms: dict[str, Counter[str]] = defaultdict(Counter)
        interned: dict[str, str] = {}
        for text in texts:
            self._add(text, interned, trusted=False)
        for name in dict.fromkeys(names):
            self._add(name, interned, trusted=True)

    def _add(self, text: str, interned: dict[str, str], *, trusted: bool) -> None:
        begins = True
        last = 0
        for match in _TOKEN.finditer(text):
            token = interned.setdefault(match.group(), match.group())
            key = interned.setdefault(fold(token), fold(token))
            starts = begins or "\n" in text[last : match.start()]
            spaced = not last or match.start() > last
            if len(self._places[key]) < _MOST_PLACES:
                self._places[key].append(len(self._written))
            self._written.append(token)
            self._spaced.append(spaced)
            self._starts.append(starts and not trusted)
            if token[0].isalpha() and (trusted or not starts or token[1:] != token[1:].lower()):
                self._forms[key][token] += 3 if trusted else 1
            begins = token in _ENDS and not trusted
            last = match.end()
        # No run goes on from one text into the next.
        self._written.append("")
        self._spaced.append(True)
        self._starts.append(True)

    def keeps(self, left: str, right: str) -> bool:
        """Whether the conversation writes `left.right` as one word; see :data:`engine.text.sentences.Keeps`."""
        wanted = fold(right)
        for place in self._places.get(fold(left), ()):
            end = place + 2
            glued = end < len(self._written) and not self._spaced[place + 1] and not self._spaced[end]
            if glued and self._written[place + 1] == "." and fold(self._written[end]) == wanted:
                return True
        return False

    def restore(self, sentence: str) -> str:
        """One sentence with the conversation's case and spacing, beginning with a capital."""
        matches = list(_TOKEN.finditer(sentence))
        tokens = [match.group() for match in matches]
        folded = [fold(token) for token in tokens]
        pieces: list[tuple[str, bool]] = []
        at = 0
        while at < len(tokens):
            place, length = self._longest(folded, at)
            if length > 1:
                pieces.extend(self._run(place, length, tokens, at))
                pieces[-length] = (pieces[-length][0], self._space(tokens, at, matches))
                at += length
            else:
                pieces.append((self._form(tokens[at], folded[at]), self._space(tokens, at, matches)))
                at += 1
        joined = "".join(f" {text}" if spaced else text for text, spaced in pieces).strip()
        # A copied full stop and the sentence's own; three of them stay an ellipsis.
        return _capitalised(re.sub(r"(?<!\.)\.\.(?!\.)", ".", joined))

    def _longest(self, folded: Sequence[str], at: int) -> tuple[int, int]:
        """Where the conversation has the longest run of the tokens from `at` on, and how long it is."""
        best, length = 0, 0
        for place in self._places.get(folded[at], ()):
            end = 1
            while (
                at + end < len(folded)
                and place + end < len(self._written)
                and fold(self._written[place + end]) == folded[at + end]
            ):
                end += 1
            if end > length:
                best, length = place, end
        # The full stop that ends the sentence is spaced by the rules, not by where the conversation goes on.
        return best, length

    def _run(self, place: int, length: int, tokens: Sequence[str], at: int) -> list[tuple[str, bool]]:
        run = []
        for offset in range(length):
            source = place + offset
            written = self._written[source]
            if self._starts[source]:
                written = self._form(tokens[at + offset], fold(written))
            run.append((written, bool(self._spaced[source])))
        return run

    def _form(self, token: str, key: str) -> str:
        """One word as the conversation mostly writes it within a sentence."""
        if key == "i":
            return "I"
        forms = self._forms.get(key)
        if not forms:
            return token
        best = max(forms.items(), key=lambda item: (item[1], item[0]))[0]
        # A stop word in capitals is emphasis, or the start of something that the tokens do not show.
        return key if key in STOP_WORDS and best != key and forms[best] < 3 else best

    def _space(self, tokens: Sequence[str], at: int, matches: Sequence[re.Match[str]]) -> bool:
        """Whether a space stands before the token at `at`, by the rules of plain typesetting."""
        if at == 0:
            return False
        here, before = tokens[at], tokens[at - 1]
        glued = matches[at].start() == matches[at - 1].end()
        if here in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER:
            # An opening or closing straight quote, bracket or apostrophe follows its pair.
            return False
        if here == "'" or before == "'":
            return self._quote_space(tokens, at, glued)
        if here == '"' or before == '"':
            opened = sum(t == '"' for t in tokens[:at]) % 2 == 1
            return not opened if here == '"' else not (opened and before == '"')
        if before in ".,:" and at >= 2 and tokens[at - 2].isdigit() and here.isdigit():
            return before == "," and (len(here) != 3 or len(tokens[at - 2]) > 3)
        if before in "-/" or here in "-/":
            near = tokens[at - 2 : at - 1] if before in "-/" else [before]
            far = here if before in "-/" else tokens[at + 1] if at + 1 < len(tokens) else ""
            return not (near and near[0][-1:].isalnum() and far[:1].isalnum())
        if before == "_" or here == "_":
            return False
        return not glued

    @staticmethod
    def _quote_space(tokens: Sequence[str], at: int, glued: bool) -> bool:
        if tokens[at] == "'":
            following = tokens[at + 1] if at + 1 < len(tokens) else ""
            if fold(following) in _SUFFIXES:
                return False
            return sum(t == "'" and not _contracts(tokens, i) for i, t in enumerate(tokens[:at])) % 2 == 0 and not glued
        if _contracts(tokens, at - 1):
            return False
        return sum(t == "'" and not _contracts(tokens, i) for i, t in enumerate(tokens[:at])) % 2 == 0


def _contracts(tokens: Sequence[str], at: int) -> bool:
    """Whether the apostrophe at `at` belongs to a contraction or a genitive."""
    return 0 < at < len(tokens) - 1 and tokens[at - 1][-1:].isalpha() and fold(tokens[at + 1]) in _SUFFIXES


def _capitalised(sentence: str) -> str:
    """The sentence with a capital first letter, unless it begins with an address, a file name or mixed case."""
    first = re.match(r"\W*(\S+)", sentence)
    if first is None:
        return sentence
    word = first.group(1).rstrip(".,;:!?)]}\"'”’")
    if not word or word != word.lower() or re.search(r"[/_@.:\d]", word):
        return sentence
    at = first.start(1)
    return sentence[:at] + sentence[at].upper() + sentence[at + 1 :]
