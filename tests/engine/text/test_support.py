from __future__ import annotations

import time

import pytest

from benchmarks.support import load, measure
from engine.conversation import Message
from engine.text.facts import names, normalised, number_keys, numbers
from engine.text.support import SupportIndex


def index(*messages: tuple[str, str]) -> SupportIndex:
    return SupportIndex([Message(str(at), author, text) for at, (author, text) in enumerate(messages)])


TALK = index(
    ("Ana", "The export job fails since 1,000 rows, error 42."),
    ("Ben", "I'll look at the export on Thursday. Customers can't wait."),
    ("Ana", "Lunch at Rosa's?"),
)


def test_at_least_four_of_five_unsupported_sentences_are_found_on_the_labelled_set() -> None:
    conversations, sentences = load("labelled")
    assert len(sentences) == 60 and sum(not s.supported for s in sentences) == 15
    figures = measure(lambda messages: SupportIndex(messages).judge, conversations, sentences)
    assert figures["unsupported_recall"] >= 0.8
    assert figures["unsupported_precision"] >= 0.65
    assert figures["first_source_right"] >= 0.75


def test_a_sentence_rests_on_the_message_that_says_it() -> None:
    judged = TALK.judge("Ben looks at the export on Thursday.")
    assert judged.supported and judged.sources[0] == "1" and judged.flagged == ()


def test_a_sentence_about_something_else_is_marked() -> None:
    judged = TALK.judge("The marketing budget was cut.")
    assert not judged.supported and judged.sources == ()


@pytest.mark.parametrize(
    ("sentence", "flagged"),
    [
        ("The export fails at 1000 rows.", ()),
        ("The export fails at 2,000 rows.", ("2,000",)),
        ("Carla saw the export fail, and Ben looks at it.", ()),
        ("The export fails, as Carla said on Friday.", ("Carla", "Friday")),
    ],
)
def test_numbers_and_names_that_the_conversation_lacks_are_flagged(sentence: str, flagged: tuple[str, ...]) -> None:
    assert TALK.judge(sentence).flagged == flagged


def test_the_wrong_person_is_not_supported() -> None:
    assert TALK.judge("Ben looks at the export.").supported
    assert not TALK.judge("Ana looks at the export on Thursday.").supported


def test_the_opposite_is_not_supported() -> None:
    talk = index(("Ana", "The release is approved."), ("Ben", "Dogs are not allowed in the hall."))
    assert talk.judge("Dogs are not allowed in the hall.").supported
    assert not talk.judge("Dogs are allowed in the hall.").supported
    assert not talk.judge("The release is not approved.").supported


@pytest.mark.parametrize(
    ("one", "other"),
    [("1,000", "1000"), ("3.50", "3.5"), ("10:00", "10"), ("1,234.5", "1234.5")],
)
def test_two_ways_to_write_a_number_are_equal(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_numbers_in_words_and_with_units_are_found() -> None:
    assert {"12", "3", "50", "2000", "17", "7"} <= number_keys("twelve of three at 50%, 2k at 5pm, v7")


@pytest.mark.parametrize(
    ("written", "value", "never"),
    [
        ("300ms", "300", "300000000"),
        ("10min", "10", "10000000"),
        ("5kg", "5", "5000"),
        ("12 km or 12km", "12", "12000"),
    ],
)
def test_a_unit_that_begins_like_a_scale_is_none(written: str, value: str, never: str) -> None:
    assert {normal for _, normal in numbers(f"It took {written}.")} == {value}
    assert never not in number_keys(f"It took {written}.")


def test_a_name_is_a_capital_that_no_sentence_start_explains() -> None:
    assert names("Deployment failed when Ana and GitHub changed. Ben's laptop") == ["Ana", "GitHub", "Ben"]


def test_text_of_other_scripts_is_supported_by_its_own_words() -> None:
    talk = index(("アナ", "サーバーが今朝から落ちています"), ("ベン", "昼食はどこで食べますか"))
    judged = talk.judge("サーバーが今朝から落ちています。")
    assert judged.supported and judged.sources == ("0",)


def test_judging_against_ten_thousand_messages_is_quick() -> None:
    talk = SupportIndex(
        [Message(str(n), f"P{n % 9}", f"the widget number {n} of the export is ready") for n in range(10_000)]
    )
    began = time.perf_counter()
    assert talk.judge("The widget number 77 of the export is ready.").supported
    assert time.perf_counter() - began < 2
