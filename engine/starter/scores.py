"""ROUGE, content F1 and novelty of summaries, self-contained.

Content F1: F1 over the bag of Porter stems outside a stop list and outside the 40 stems that most references of
the set contain, the best of the references. ROUGE is fooled by a house style; this is not. Novelty: the share of
those stems in a summary that the conversation lacks. All shares and scores run from 0 to 100.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from statistics import fmean

from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

HOUSE_STEMS = 40
METRICS = ("rouge1", "rouge2", "rougeL")

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
_WORD = re.compile(r"[a-z0-9]+")
_STEM = PorterStemmer()


@lru_cache(maxsize=100_000)
def _stem(word: str) -> str:
    stem: str = _STEM.stem(word)
    return stem


def stems(text: str) -> Counter[str]:
    """The bag of Porter stems outside the stop list."""
    return Counter(_stem(w) for w in _WORD.findall(text.lower()) if w not in STOP_WORDS)


def house_stems(references: Sequence[Sequence[str]]) -> frozenset[str]:
    """The stems that most references of a set contain: what its style says whatever the conversation."""
    counts: Counter[str] = Counter()
    for row in references:
        for reference in row:
            counts.update(set(stems(reference)))
    return frozenset(stem for stem, _ in counts.most_common(HOUSE_STEMS))


def content_f1(summary: str, references: Sequence[str], house: frozenset[str]) -> float:
    """F1 over the bags of content stems, against the best of the references."""
    ours = Counter({s: n for s, n in stems(summary).items() if s not in house})
    best = 0.0
    for reference in references:
        theirs = Counter({s: n for s, n in stems(reference).items() if s not in house})
        shared = sum((ours & theirs).values())
        if shared:
            best = max(best, 200.0 * shared / (ours.total() + theirs.total()))
    return best


def novelty(summary: str, conversation: str, house: frozenset[str]) -> float | None:
    """Share of the summary's content stems that the conversation lacks; None without any content stem."""
    ours = [s for s in stems(summary).elements() if s not in house]
    there = stems(conversation)
    return 100.0 * sum(s not in there for s in ours) / len(ours) if ours else None


def loops(summary: str) -> bool:
    """Whether some run of four words occurs three times."""
    tokens = summary.lower().split()
    grams = Counter(tuple(tokens[i : i + 4]) for i in range(len(tokens) - 3))
    return any(n >= 3 for n in grams.values())


def score(
    summaries: Sequence[str], references: Sequence[Sequence[str]], conversations: Sequence[str]
) -> dict[str, float]:
    """Mean scores of one system over one set, each to one decimal."""
    scorer = RougeScorer(list(METRICS), use_stemmer=True)
    house = house_stems(references)
    found: dict[str, list[float]] = {name: [] for name in (*METRICS, "content_f1", "novelty")}
    for summary, row, conversation in zip(summaries, references, conversations, strict=True):
        each = [scorer.score(reference, summary) for reference in row]
        for name in METRICS:
            found[name].append(100.0 * max(s[name].fmeasure for s in each))
        found["content_f1"].append(content_f1(summary, row, house))
        new = novelty(summary, conversation, house)
        if new is not None:
            found["novelty"].append(new)
    means = {name: round(fmean(values), 1) if values else 0.0 for name, values in found.items()}
    means["words"] = round(fmean(len(s.split()) for s in summaries), 1)
    means["empty"] = round(100.0 * fmean(not s.strip() for s in summaries), 1)
    means["looping"] = round(100.0 * fmean(loops(s) for s in summaries), 1)
    return means
