"""What a summary is worth beside people's: ROUGE, content F1, novelty, length, unsupported facts, empty, looping.

Scores and shares run from 0 to 100, one summary at a time; means and intervals are made elsewhere. *Content F1*: F1
over the bag of Porter stems outside a stop list and outside the house stems, the 40 that most references of a scope
have; the best of the references. ROUGE (Lin, 2004; as rouge-score computes it, stemmed) is fooled by a house style,
content F1 is not. *Novelty*: the share of those stems in a summary that the conversation lacks.

ASCII text is cut into words exactly as rouge-score does; beyond it accents are folded and words of every script count,
which rouge-score would drop. It compares words: a summary in another language than its references scores low. It knows
no database and no model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property, lru_cache
from statistics import fmean
from typing import Any

from engine.conversation import Message
from engine.text.sentences import split_sentences
from engine.text.support import SupportIndex
from engine.text.words import fold, words

HOUSE_STEMS = 40
ROUGE = ("rouge1", "rouge2", "rougeL")
#: Every figure of a summary, in the order in which tables have them; ``length_ratio`` is no share but words of the
#: summary a word of the references.
FIGURES = (*ROUGE, "content_f1", "novelty", "length_ratio", "unsupported", "empty", "looping")
#: Turns that make up the trivial extract.
EXTRACT_TURNS = 3

Bag = Counter[str]
#: One summary's figures by name; None where a figure does not apply (novelty of a summary without content words).
Figures = Mapping[str, float | None]

STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are aren as at be because been before being below
    between both but by can cannot could couldn d did didn do does doesn doing don down during each few for from
    further had hadn has hasn have haven having he her here hers herself him himself his how i if in into is isn
    it its itself just ll m me more most must mustn my myself no nor not now of off on once only or other our ours
    ourselves out over own re s same she should shouldn so some such t than that the their theirs them themselves
    then there these they this those through to too under until up ve very was wasn we were weren what when where
    which while who whom why will with won would wouldn you your yours yourself yourselves
    """.split()  # noqa: SIM905 - a list of 150 quoted words reads worse
)
_WORD = re.compile(r"[^\W_]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_LINE = re.compile(r"([^:\n]{1,120}): ?(.*)")


@cache
def _stemmer() -> Any:
    # nltk takes a second to import, and this module is on the way of commands that measure nothing.
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    stem: str = _stemmer().stem(word) if word.isascii() else word
    return stem


def tokens(text: str) -> list[str]:
    """The words of a text, folded; runs of scripts that are written without spaces as pairs of characters."""
    folded = fold(text)
    if folded.isascii():
        return _ASCII_WORD.findall(folded)
    return [piece for run in _WORD.findall(folded) for piece in ((run,) if run.isascii() else words(run))]


class _RougeTokenizer:
    """What rouge-score asks of a tokenizer; words of up to three letters stay as they are, as there."""

    def tokenize(self, text: str) -> list[str]:
        return [_stem(word) if len(word) > 3 else word for word in tokens(text)]


@cache
def _rouge() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE), tokenizer=_RougeTokenizer())


def stems(text: str) -> Bag:
    """The bag of Porter stems outside the stop list."""
    return Counter(_stem(word) for word in tokens(text) if word not in STOP_WORDS)


def house_stems(references: Iterable[str]) -> frozenset[str]:
    """What a scope's style says whatever the conversation: the 40 stems that most references have, each more than one.

    Of those that equally many have, the first in the alphabet are taken: the same references always give the same.
    """
    counts: Counter[str] = Counter()
    for reference in references:
        counts.update(set(stems(reference)))
    ranked = sorted(((-n, stem) for stem, n in counts.items() if n > 1))
    return frozenset(stem for _, stem in ranked[:HOUSE_STEMS])


def content(text: str, house: frozenset[str]) -> Bag:
    """The bag of content stems: those outside the stop list and the house style."""
    return Counter({stem: n for stem, n in stems(text).items() if stem not in house})


def bag_f1(ours: Bag, theirs: Bag) -> float:
    """F1 of two bags; 0 where they share nothing."""
    shared = sum((ours & theirs).values())
    return 200.0 * shared / (ours.total() + theirs.total()) if shared else 0.0


def content_f1(summary: str, references: Sequence[str], house: frozenset[str]) -> float:
    """F1 over the bags of content stems, against the best of the references."""
    ours = content(summary, house)
    return max((bag_f1(ours, content(reference, house)) for reference in references), default=0.0)


def lacking(ours: Bag, there: Bag) -> float | None:
    """Share of a bag of content stems that a conversation lacks, which is a summary's novelty; None of an empty bag."""
    total = ours.total()
    return 100.0 * sum(n for stem, n in ours.items() if stem not in there) / total if total else None


def rouge(summary: str, references: Sequence[str]) -> dict[str, float]:
    """ROUGE-1, -2 and -L F1, each against the reference that is best for it."""
    each = [_rouge().score(reference, summary) for reference in references]
    return {name: max((100.0 * float(found[name].fmeasure) for found in each), default=0.0) for name in ROUGE}


def loops(summary: str) -> bool:
    """Whether some run of four words occurs three times."""
    said = summary.lower().split()
    grams = Counter(tuple(said[at : at + 4]) for at in range(len(said) - 3))
    return any(n >= 3 for n in grams.values())


def turns(dialogue: str) -> list[tuple[str, str]]:
    """Who says what, line by line, of ``Name: text`` lines; a line without a name goes on with the one before."""
    found: list[tuple[str, str]] = []
    for line in dialogue.splitlines():
        named = _LINE.match(line)
        if named:
            found.append((named[1], named[2].strip()))
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}".strip())
        elif line.strip():
            found.append(("", line.strip()))
    return found


def trivial_extract(dialogue: str) -> str:
    """What the first three turns say, without the names: the summary that any model must beat."""
    return " ".join(said for _, said in turns(dialogue)[:EXTRACT_TURNS])


class Source:
    """A conversation as summaries are held against it; the work is done on first use, once.

    Args:
        dialogue: ``Name: text`` lines.
    """

    def __init__(self, dialogue: str) -> None:
        self._dialogue = dialogue

    @cached_property
    def stems(self) -> Bag:
        """The bag of its stems, names included."""
        return stems(self._dialogue)

    @cached_property
    def _index(self) -> SupportIndex:
        return SupportIndex([Message(str(at), who, said) for at, (who, said) in enumerate(turns(self._dialogue))])

    def novelty(self, summary: str, house: frozenset[str]) -> float | None:
        """Share of a summary's content stems that the conversation lacks; None without any content stem."""
        return lacking(content(summary, house), self.stems)

    def unsupported(self, summary: str) -> float:
        """Share of the numbers and names in a summary that the conversation lacks; 0 where it has none."""
        named = missing = 0
        for sentence in split_sentences(summary):
            # A pronoun at the start of a sentence looks like a name there.
            facts = [known for fact, known in self._index.facts(sentence).items() if fold(fact) not in STOP_WORDS]
            named += len(facts)
            missing += facts.count(False)
        return 100.0 * missing / named if named else 0.0


class Yardstick:
    """The figures of summaries of one scope.

    Args:
        house: its house stems; see :func:`house_stems`.
    """

    def __init__(self, house: frozenset[str]) -> None:
        self.house = house

    def figures(self, summary: str, references: Sequence[str], source: Source) -> dict[str, float | None]:
        """All :data:`FIGURES` of one summary; at least one reference."""
        ours = content(summary, self.house)
        long = fmean(len(reference.split()) for reference in references)
        return {
            **rouge(summary, references),
            "content_f1": max(bag_f1(ours, content(reference, self.house)) for reference in references),
            "novelty": lacking(ours, source.stems),
            "length_ratio": len(summary.split()) / max(1.0, long),
            "unsupported": source.unsupported(summary),
            "empty": 0.0 if summary.strip() else 100.0,
            "looping": 100.0 if loops(summary) else 0.0,
        }
