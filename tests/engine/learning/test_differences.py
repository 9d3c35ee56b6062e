"""Word differences put both texts together again, and the distance is that of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.learning.differences import difference, pieces, same_words

_LINES = st.text(st.sampled_from("ab \n\t.é日本ไทย한😱\u200d"), max_size=60) | st.text(max_size=40)


@given(_LINES, _LINES)
def test_the_parts_of_a_difference_put_together_are_both_texts(old: str, new: str) -> None:
    found = difference(old, new)
    assert "".join(part[1] for part in found.diff) == old
    assert "".join(part[2] for part in found.diff) == new
    assert all(before.split() == after.split() for what, before, after in found.diff if what == "equal")


@given(_LINES, _LINES)
def test_the_distance_is_between_the_lengths_and_nothing_only_for_the_same_words(old: str, new: str) -> None:
    before, after = [list(map(str.strip, pieces(text))) for text in (old, new)]
    steps = difference(old, new).distance * max(1, len(before))
    assert abs(len(before) - len(after)) - 1e-9 <= steps <= max(len(before), len(after)) + 1e-9
    assert (steps == 0) == (before == after)


@given(_LINES)
def test_a_text_is_the_sum_of_its_pieces(text: str) -> None:
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize(
    ("old", "new", "distance"),
    [
        ("one two three four", "one two three four", 0.0),
        ("one two three four", "one  two\nthree four", 0.0),
        ("one two three four", "one TWO three four", 0.25),
        ("one two three four", "one three four five six", 0.75),
        ("one", "one two three", 2.0),
        ("one two", "", 1.0),
        ("会议在周一", "会议在周二", 0.2),
    ],
)
def test_it_counts_words_put_in_taken_out_and_replaced(old: str, new: str, distance: float) -> None:
    assert difference(old, new).distance == pytest.approx(distance)


def test_texts_that_differ_in_white_space_have_the_same_words() -> None:
    assert same_words("one\n two ", "one two") and not same_words("one two", "one two.")


def test_a_very_long_correction_is_compared_in_little_time() -> None:
    old = " ".join(f"w{number}" for number in range(30_000))
    assert difference(old, old.replace("w7 ", "x ").replace("w29999", "")).distance == pytest.approx(2 / 30_000)
