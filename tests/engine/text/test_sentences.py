from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.text.sentences import SentenceSplitter, complete, join_sentences, split_sentences

PIECES = st.sampled_from(
    [
        *"abI. !?…\n\"')(-*1 2 3。？؟",
        ". ",
        "... ",
        "Dr.",
        "e.g. ",
        "v1.2",
        "3.5",
        " The",
        " the",
        "U.S. ",
        "\n- ",
        "No. 5",
        "https://a.b/c.d?e=f ",
    ]
)
TEXT = st.lists(PIECES | st.text(max_size=4), max_size=25).map("".join)


def test_sentences_end_where_a_reader_would_say() -> None:
    assert split_sentences("It failed. We reverted it! Why? Nobody knows… Yet") == [
        "It failed.",
        "We reverted it!",
        "Why?",
        "Nobody knows…",
        "Yet",
    ]


@pytest.mark.parametrize(
    "one",
    [
        "Dr. Lee met Mrs. Okafor at 5 p.m. today.",
        "They moved from v1.2.3 to 2.0, i.e. a major release.",
        "It costs 3.50 or so, e.g. in the shop.",
        "See https://example.org/a.b?c=d. for more",
        "Ask J. Smith about the U.S. office.",
        "It is in No. 5 of the series.",
        "Wait... what happened then?",
        "1. Restart the server",
        "The file nginx.conf was changed.",
        '"Really?" he asked.',
    ],
)
def test_dots_within_a_sentence_do_not_end_it(one: str) -> None:
    assert split_sentences(one) == [one]


def test_other_scripts_end_sentences_by_their_own_marks() -> None:
    assert split_sentences("サーバーが落ちた。直します。") == ["サーバーが落ちた。", "直します。"]
    assert split_sentences("هل يعمل؟ نعم. حسنا") == ["هل يعمل؟", "نعم.", "حسنا"]


def test_lines_and_list_items_are_sentences_of_their_own() -> None:
    assert split_sentences("- Ana fixes it. Today\n- Ben waits\n\n2. Cara writes") == [
        "- Ana fixes it.",
        "Today",
        "- Ben waits",
        "2. Cara writes",
    ]


def test_uncased_text_splits_before_small_letters_but_not_within_the_conversation_s_words() -> None:
    def keeps(left: str, right: str) -> bool:
        return (left, right) == ("nginx", "conf")

    split = split_sentences("she edits nginx. conf now. it is 11. 1. 2 today. ok", uncased=True, keeps=keeps)
    assert split == ["she edits nginx. conf now.", "it is 11. 1. 2 today.", "ok"]


@given(TEXT, st.data(), st.booleans())
def test_sentences_are_the_same_fed_in_pieces_or_whole(text: str, data: st.DataObject, uncased: bool) -> None:
    splitter = SentenceSplitter(uncased=uncased)
    found = []
    rest = text
    while rest:
        size = data.draw(st.integers(1, min(7, len(rest))))
        found.extend(splitter.feed(rest[:size]))
        rest = rest[size:]
    assert [*found, *splitter.finish()] == split_sentences(text, uncased=uncased)


@given(TEXT)
def test_no_character_is_lost_but_white_space(text: str) -> None:
    assert "".join("".join(split_sentences(text)).split()) == "".join(text.split())


def test_a_sentence_is_given_as_soon_as_the_next_word_is_known() -> None:
    splitter = SentenceSplitter()
    assert splitter.feed("It failed. We") == []
    assert splitter.feed(" re") == ["It failed."]


@given(st.lists(TEXT.filter(str.strip), max_size=6))
def test_joining_one_at_a_time_only_ever_appends(sentences: list[str]) -> None:
    joined = [join_sentences(sentences[:count]) for count in range(len(sentences) + 1)]
    assert all(after.startswith(before) for before, after in pairwise(joined))


def test_list_items_are_joined_by_line_breaks() -> None:
    assert join_sentences(["To do:", "- Ana fixes it.", "- Ben waits."]) == "To do:\n- Ana fixes it.\n- Ben waits."
    assert join_sentences(["It failed.", "We wait."]) == "It failed. We wait."
    assert join_sentences(["落ちた。", "直す。"]) == "落ちた。直す。"


@pytest.mark.parametrize(
    ("text", "is_complete"), [("Done.", True), ("He said “yes.”", True), ("and then", False), ("- Ana", True)]
)
def test_an_unfinished_sentence_is_known_as_such(text: str, is_complete: bool) -> None:
    assert complete(text) is is_complete
