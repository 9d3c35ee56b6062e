"""Mean scores of a system over a set, as the starter's figures have them; :mod:`engine.scoring.metrics` makes them.

All shares and scores run from 0 to 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from engine.scoring.metrics import ROUGE, Source, Yardstick, house_stems


def score(
    summaries: Sequence[str], references: Sequence[Sequence[str]], conversations: Sequence[str]
) -> dict[str, float]:
    """Mean scores of one system over one set, each to one decimal."""
    yardstick = Yardstick(house_stems(reference for row in references for reference in row))
    figures = [
        yardstick.figures(summary, row, Source(conversation))
        for summary, row, conversation in zip(summaries, references, conversations, strict=True)
    ]
    means = {}
    for name in (*ROUGE, "content_f1", "novelty", "empty", "looping"):
        values = [value for found in figures if (value := found[name]) is not None]
        means[name] = round(fmean(values), 1) if values else 0.0
    means["words"] = round(fmean(len(s.split()) for s in summaries), 1)
    order = (*ROUGE, "content_f1", "novelty", "words", "empty", "looping")
    return {name: means[name] for name in order}
