from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from engine.conversation import Conversation, Message
from engine.requests import Finished, SummaryRequest, SummaryResult
from engine.summarizer import Summarizer
from engine.text.focus import select
from storage.errors import InputError
from tests.engine.text.fakes import CHAT, PLAIN, CopyModel, FakeSubmitter

SAMPLES = json.loads((Path(__file__).parent / "topics.json").read_text(encoding="utf-8"))


def messages(*texts: tuple[str, str], threads: tuple[str, ...] = ()) -> list[Message]:
    return [
        Message(str(at), author, text, thread=threads[at - 1] if threads else "")
        for at, (author, text) in enumerate(texts, 1)
    ]


async def summary(focus: str, talk: list[Message], model: CopyModel) -> SummaryResult:
    made = Summarizer(
        info=model.info,
        count_tokens=model.count_tokens,
        render_chat=model.render_chat,
        submitter=FakeSubmitter(model),
    )
    found = [event async for event in made.summarize(SummaryRequest(Conversation("c", tuple(talk)), focus=focus))]
    assert isinstance(found[-1], Finished)
    return found[-1].result


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample["focus"] for sample in SAMPLES])
async def test_focus_changes_which_messages_the_summary_rests_on(sample: dict[str, object]) -> None:
    talk = messages(*map(tuple, sample["messages"]))  # type: ignore[call-overload]
    focused = await summary(str(sample["focus"]), talk, CopyModel())
    whole = await summary("", talk, CopyModel())
    rests_on = {source for sentence in focused.sentences for source in sentence.sources}
    assert rests_on == set(sample["about"])  # type: ignore[call-overload]
    assert rests_on < {source for sentence in whole.sentences for source in sentence.sources}
    assert focused.coverage.left_out == len(talk) - focused.coverage.messages > 0
    assert focused.focus == sample["focus"]


async def test_a_focus_that_nothing_is_about_is_refused_in_a_sentence() -> None:
    talk = messages(("Ana", "The pump is broken."), ("Ben", "I order a new one."))
    with pytest.raises(InputError, match="Nothing in the conversation is about “holidays”"):
        await summary("holidays", talk, CopyModel())


async def test_a_model_trained_on_a_focus_line_gets_one() -> None:
    model = CopyModel(dataclasses.replace(PLAIN, focus_line=True))
    submitter = FakeSubmitter(model)
    made = Summarizer(
        info=model.info, count_tokens=model.count_tokens, render_chat=model.render_chat, submitter=submitter
    )
    talk = Conversation("c", tuple(messages(("Ana", "The pump is broken."))))
    assert [event async for event in made.summarize(SummaryRequest(talk, focus="the  pump"))]
    assert submitter.submissions[0][0].prompt == "Focus: the pump\nAna: The pump is broken."


async def test_a_chat_model_reads_everything_and_is_told_the_focus() -> None:
    model = CopyModel(CHAT)
    result = await summary("pump", messages(("Ana", "The pump is broken."), ("Ben", "Lunch?")), model)
    assert result.coverage.messages == 2


def test_inflections_are_the_same_word_and_answers_come_along() -> None:
    talk = messages(
        ("Ana", "Lunch?"),
        ("Ben", "The deployments fail."),
        ("Cleo", "Because the disk is full."),
        ("Dov", "I clean it up."),
        ("Eve", "Soup for me."),
    )
    assert select(talk, "deployment") == [1, 2, 3]


def test_an_answer_in_the_same_thread_is_kept_and_a_neighbour_of_another_is_not() -> None:
    talk = messages(
        ("Ana", "Is the pump under warranty?"),
        ("Ben", "Soup for me."),
        ("Cleo", "Yes, until March."),
        threads=("1", "2", "1"),
    )
    assert select(talk, "warranty") == [0, 2]


def test_a_topic_in_another_script_is_found_as_written() -> None:
    talk = messages(("アナ", "サーバーが落ちた"), ("ベン", "昼食"))
    assert 0 in select(talk, "サーバー")
