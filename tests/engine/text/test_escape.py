from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.escape import escape_discord, escape_slack, split_text, units

TEXT = st.text(alphabet=st.sampled_from("ab é.!\n 😀👩\u200d🇩🇪\u0301日。"), max_size=200)


@given(TEXT, st.integers(2, 60))
def test_every_piece_fits_and_only_white_space_is_lost(text: str, limit: int) -> None:
    pieces = split_text(text, limit)
    assert all(piece.strip() and units(piece) <= limit for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


@given(st.lists(st.text(alphabet="abc", min_size=1, max_size=8), max_size=40), st.integers(10, 40))
def test_words_that_fit_are_never_broken(written: list[str], limit: int) -> None:
    pieces = split_text(" ".join(written), limit)
    assert [word for piece in pieces for word in piece.split()] == written


def test_a_text_is_cut_at_the_coarsest_break_that_leaves_a_fair_piece() -> None:
    assert split_text("First part here.\n\nSecond one. And more", 30) == ["First part here.", "Second one. And more"]
    assert split_text("One sentence. Another sentence that is long.", 30) == [
        "One sentence.",
        "Another sentence that is long.",
    ]


def test_joined_emoji_and_accents_stay_whole() -> None:
    family = "👩\u200d👩\u200d👧"
    assert split_text(family * 3, 10) == [family] * 3
    assert split_text("e\u0301" * 4, 3) == ["e\u0301"] * 4


def test_a_limit_that_could_not_hold_a_character_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        split_text("x", 1)


def test_slack_shows_what_is_written() -> None:
    assert escape_slack("a < b && c > d") == "a &lt; b &amp;&amp; c &gt; d"


def test_discord_shows_what_is_written_and_links_stay_links() -> None:
    escaped = escape_discord("# *no* __bold__ ||spoiler||\n> q\n- item\n1. one https://x.example/a_b_c, a_b")
    assert escaped == (
        "\\# \\*no\\* \\_\\_bold\\_\\_ \\|\\|spoiler\\|\\|\n\\> q\n\\- item\n1\\. one https://x.example/a_b_c, a\\_b"
    )
