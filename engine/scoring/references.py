"""Whether held-out references can be trusted to decide anything: do they belong to their conversations at all?

A training set that was poisoned before it was split has poisoned references, and a candidate that learned the poison is
close to them. So the references are looked at first. Each is held against its own conversation and against others, as a
permutation test would: the share of its content stems, rare ones weighing more, that a conversation has. One that fits
its own no better than others, or is made of words that it lacks, is a misfit. On 200 conversations each, 2% of
TweetSumm's references were misfits, 2 to 5% of QMSum's, 12 to 18% of CRD3's (aligned by machine), 18 to 21% of
ConvoSumm's e-mails, and 84 to 95% of any of them shuffled, 25 to 44% with three in ten shuffled. Words that the
conversation lacks (novelty) were 17 to 42%, and 88 to 94% shuffled.

Text in, figures and sentences out; it knows no database and no model.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from engine.scoring.metrics import Source, content, lacking

#: Other conversations that a reference is held against.
_OTHERS = 100
#: A reference whose own conversation does not rank above this share of others is a misfit ...
_RANK = 0.75
#: ... and so is one with at least this share of words of its own, in percent.
_STRANGE = 80.0
#: Share of misfits, in percent, from which on references decide nothing.
_MISFITS = 25.0
#: Mean share of words of their own, in percent, from which on they decide nothing: another language has 80 and more.
_NOVELTY = 60.0
#: Share of one and the same text among them, in percent, from which on they decide nothing.
_REPEATED = 20.0
_SEED = 71


@dataclass(frozen=True, slots=True)
class ReferenceCheck:
    """What was found about references; shares are percentages.

    Attributes:
        references: how many were looked at.
        fit: mean share of other conversations that a reference fits less well than its own; 50 is chance.
        misfits: share of references that fit their own conversation no better than others, or hardly at all.
        novelty: mean share of their content stems that their conversations lack.
        repeated: share of the commonest text among them.
        faults: one sentence each on why they decide nothing; none where they may decide.
    """

    references: int
    fit: float
    misfits: float
    novelty: float
    repeated: float
    faults: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether they may decide."""
        return not self.faults

    def as_json(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return asdict(self) | {"faults": list(self.faults)}


def check_references(
    references: Sequence[Sequence[str]], sources: Sequence[Source], house: frozenset[str]
) -> ReferenceCheck:
    """Look at references, those of one conversation together, in the order of the conversations.

    Raises:
        ValueError: there are none.
    """
    texts = [" ".join(text.split()).casefold() for row in references for text in row]
    if not texts:
        raise ValueError("no references")
    rarity = _rarity([source.stems for source in sources])
    chance = random.Random(_SEED)  # noqa: S311 - draws a sample, guards nothing
    ranks, novelties = [], []
    for at, row in enumerate(references):
        others = [other for other in range(len(sources)) if other != at]
        if len(others) > _OTHERS:
            others = chance.sample(others, _OTHERS)
        for text in row:
            bag = content(text, house)
            own = _covered(bag, sources[at].stems, rarity)
            rest = [_covered(bag, sources[other].stems, rarity) for other in others]
            ranks.append(fmean((own > other) + (own == other) / 2 for other in rest) if rest and bag else 0.5)
            share = lacking(bag, sources[at].stems)
            novelties.append(100.0 if share is None else share)
    found = ReferenceCheck(
        references=len(texts),
        fit=100.0 * fmean(ranks),
        misfits=100.0 * fmean(r < _RANK or n >= _STRANGE for r, n in zip(ranks, novelties, strict=True)),
        novelty=fmean(novelties),
        repeated=100.0 * Counter(texts).most_common(1)[0][1] / len(texts),
    )
    return ReferenceCheck(**(asdict(found) | {"faults": tuple(_faults(found))}))


def _faults(found: ReferenceCheck) -> list[str]:
    faults = []
    if found.repeated >= _REPEATED and found.references > 2:
        faults.append(f"{found.repeated:.0f}% of the held-out references are one and the same text.")
    if found.misfits >= _MISFITS:
        faults.append(
            f"{found.misfits:.0f}% of the held-out references fit their own conversation no better than others': they "
            "may belong to other conversations."
        )
    if found.novelty >= _NOVELTY:
        faults.append(
            f"The held-out references share few words with their conversations ({found.novelty:.0f}% are their own): "
            "they may be in another language, or of other conversations."
        )
    return faults


def _rarity(bags: Sequence[Counter[str]]) -> dict[str, float]:
    """Inverse document frequency of every stem of the conversations."""
    counts = Counter(stem for bag in bags for stem in bag)
    return {stem: math.log((len(bags) + 1) / (n + 1)) + 0.05 for stem, n in counts.items()}


def _covered(bag: Counter[str], there: Counter[str], rarity: dict[str, float]) -> float:
    """The weight of a bag's stems that a conversation has; comparable between conversations for one bag."""
    return sum(rarity[stem] for stem in bag if stem in there)
