"""Intervals hold what they should, are the same each time, and know what a figure does not apply to."""

from __future__ import annotations

import random
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.scoring.bootstrap import Interval, differences, intervals

VALUE = st.one_of(st.none(), st.floats(-1e6, 1e6))


@settings(deadline=None)
@given(st.lists(VALUE, max_size=30))
def test_the_mean_is_of_the_values_that_there_are_and_lies_among_them(values):
    found = intervals({"x": values}, resamples=200)["x"]
    there = [value for value in values if value is not None]
    if not there:
        assert found is None
        return
    assert found.count == len(there)
    assert found.mean == pytest.approx(fmean(there), abs=1e-6)
    assert min(there) - 1e-6 <= found.low <= found.high <= max(there) + 1e-6


def test_the_same_figures_always_give_the_same_interval():
    chance = random.Random(3)
    column = [chance.gauss(0, 1) for _ in range(80)]
    assert intervals({"x": column}) == intervals({"x": column})
    assert intervals({"x": column}, seed=1) != intervals({"x": column}, seed=2)


def test_an_interval_is_as_wide_as_theory_says():
    chance = random.Random(5)
    column = [chance.gauss(10, 8) for _ in range(200)]
    found = intervals({"x": column})["x"]
    spread = float(np.std(column)) / 200**0.5
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.08)


def test_95_percent_intervals_hold_the_true_mean_about_95_times_in_a_hundred():
    chance = np.random.default_rng(11)
    held = 0
    for _ in range(200):
        found = intervals({"x": list(chance.exponential(5.0, size=80))}, resamples=1_000)["x"]
        held += found.low <= 5.0 <= found.high
    assert 0.89 <= held / 200 <= 0.99


def test_what_makes_a_conversation_hard_for_both_cancels_out_of_the_difference():
    chance = random.Random(7)
    theirs = [chance.gauss(40, 20) for _ in range(60)]
    ours = [value + chance.gauss(2, 1) for value in theirs]
    found = intervals({"ours": ours, "theirs": theirs, "difference": differences(ours, theirs)})
    assert found["ours"].low < found["theirs"].high
    assert found["difference"].low > 1.5


def test_a_difference_is_of_the_conversations_where_both_have_a_value():
    assert differences([1.0, None, 3.0], [0.5, 1.0, None]) == [0.5, None, None]
    assert intervals({"x": [2.0]})["x"] == Interval(2.0, 2.0, 2.0, 1)


def test_columns_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        intervals({"a": [1.0], "b": [1.0, 2.0]})


def test_ten_thousand_conversations_take_seconds_and_little_memory():
    column = [float(at % 7) for at in range(10_000)]
    found = intervals({str(at): column for at in range(10)}, resamples=400)
    assert found["0"].count == 10_000
