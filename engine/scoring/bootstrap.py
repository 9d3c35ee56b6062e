"""Percentile bootstrap (Efron, 1979): 95% intervals of means and of paired differences, resampled by conversation.

All columns are resampled together: the same conversations are drawn for every system and figure, so that what makes
one conversation harder than another cancels out of a difference. Seeded: the same figures always give the same
intervals. Numbers in, numbers out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RESAMPLES = 4_000
SEED = 20_417
#: Weights held in memory at a time; bounds them to some 16 MB.
_CELLS = 2_000_000

#: One value a conversation; None where a figure does not apply to it.
Column = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95% interval, over how many conversations."""

    mean: float
    low: float
    high: float
    count: int


def intervals(
    columns: Mapping[str, Column], *, resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Interval | None]:
    """The mean of each column with its 95% interval; None for a column without any value.

    Args:
        columns: by name; all of the same length, conversation by conversation.
        resamples: how many samples of the same size are drawn with replacement.
        seed: of the draws.

    Raises:
        ValueError: columns of different lengths.
    """
    import numpy as np

    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("columns of different lengths")
    count = max((len(column) for column in columns.values()), default=0)
    if not count:
        return dict.fromkeys(columns)
    there = np.array([[value is not None for value in column] for column in columns.values()], dtype=np.float64).T
    values = np.array([[value or 0.0 for value in column] for column in columns.values()], dtype=np.float64).T
    chance = np.random.default_rng(seed)
    means = np.empty((resamples, len(columns)))
    step = max(1, _CELLS // count)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        # How often each conversation is drawn: the same as drawing them one by one, and one product for all columns.
        drawn = chance.multinomial(count, np.full(count, 1.0 / count), size=size).astype(np.float64)
        with np.errstate(invalid="ignore"):
            means[start : start + size] = (drawn @ values) / (drawn @ there)
    found: dict[str, Interval | None] = {}
    for at, name in enumerate(columns):
        known = int(there[:, at].sum())
        if not known:
            found[name] = None
            continue
        # A draw that has none of the few conversations with a value says nothing of their mean.
        low, high = np.nanpercentile(means[:, at], [2.5, 97.5])
        found[name] = Interval(float(values[:, at].sum() / known), float(low), float(high), known)
    return found


def differences(ours: Column, theirs: Column) -> list[float | None]:
    """Ours less theirs, conversation by conversation; None where either has no value.

    Raises:
        ValueError: they are not equally many.
    """
    return [None if a is None or b is None else a - b for a, b in zip(ours, theirs, strict=True)]
