"""Answers, modals and sources as Slack's blocks: within every limit whatever they say, and nothing in them pings."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bot import feedback
from bot.answers import Sentence, Shown, joined, parts
from bot.chat import Place
from bot.feedback import Review
from bot.slack import blocks, modals
from bot.slack.home import Home
from bot.slack.modals import Remembered
from bot.slack.people import Channel
from engine import records
from engine.learning.settings import LearningSettings
from engine.requests import SummaryRequest
from storage.database import Database
from tests.slack_server import rules
from tests.slack_server.server import buttons, texts
from tests.storage.samples import conversation, result

LONG = st.one_of(
    st.text(max_size=400),
    st.builds(lambda piece, times: piece * times, st.text(min_size=1, max_size=60), st.integers(1, 400)),
)


def a_summary(text: str, **given: Any) -> Shown:
    values: dict[str, Any] = {
        "id": "f" * 32, "place": Place("slack", "T1", "C1"), "title": "#general", "text": text, "style": "standard",
        "focus": "", "corrected_by": "", "correction": "", "messages": 12, "people": 3,
        "first": datetime(2026, 3, 1, tzinfo=UTC), "last": datetime(2026, 3, 2, tzinfo=UTC), "left_out": 1, "older": 40,
        "older_more": False,
        "adapter": "base", "demonstration": True, "notes": (), "sentences": (), "asked_by": "slack:U1",
        "created_at": datetime(2026, 3, 2, tzinfo=UTC), **given,
    }  # fmt: skip
    return Shown(**values)


@given(LONG, LONG, LONG, st.booleans())
def test_any_answer_is_within_slacks_limits_and_shows_all_of_the_text(
    text: str, name: str, note: str, public: bool
) -> None:
    shown = a_summary(text, corrected_by=name[:200], focus=note[:200], notes=(note[:500], note[:100]))
    pages = blocks.answer(shown, public=public, shared_by=name[:100], private_note=not public)
    for page in pages:
        rules.blocks(page, 50, surface="message")
        assert rules.characters(page) <= rules.MESSAGE_CHARACTERS
    rules.check("text", {"text": blocks.fallback(shown)}, {"text!": rules.text(1, 40_000)})
    said = texts([block for page in pages for block in page])
    assert "".join(blocks.escape(text).split()) in "".join(said.split())
    # Outside of our own dates nothing stands in angle brackets: no mention, no channel, no link.
    assert re.findall(r"<(?!!date\^)[^>]*>", said) == []
    assert sum(block["type"] == "actions" for page in pages for block in page) == 1


@given(st.lists(st.tuples(LONG, LONG), max_size=80), st.booleans())
def test_any_sources_are_within_the_limits_of_a_view(given_sentences: list[tuple[str, str]], linked: bool) -> None:
    link = "https://acme.slack.com/archives/C1/p1700000000000100?thread_ts=1700000000.000100&cid=C1" if linked else ""
    sentences = tuple(Sentence(text, ((author, link),) * 12, True) for text, author in given_sentences)
    view = modals.message("Sources", blocks.sources(a_summary("x", sentences=sentences)))
    rules.view(view)
    said = texts(view["blocks"])
    assert set(re.findall(r"<([^|>]*)", said)) <= {link}


@given(LONG, st.booleans())
def test_any_summary_can_be_corrected_in_one_modal_and_comes_back_as_it_was(text: str, blind: bool) -> None:
    text = text[:20_000]
    view = modals.correct(
        a_summary(text), Remembered("f" * 32, blind=blind, respond="https://hooks.slack.com/" + "x" * 90)
    )
    if not text.strip() and not blind:
        return
    rules.view(view)
    remembered = Remembered.load(view["private_metadata"])
    state = {
        block["block_id"]: {"value": {"value": block["element"].get("initial_value")}}
        for block in view["blocks"] if block["type"] == "input"
    }  # fmt: skip
    back = modals.text_of({"state": {"values": state}}, remembered)
    assert back == ("" if blind else text.strip())
    assert not blind or text.strip() == "" or len(text) < 12 or text not in json.dumps(view, ensure_ascii=False)


@given(LONG, st.integers(2, 50))
def test_pieces_of_a_text_joined_are_the_text(text: str, limit: int) -> None:
    pieces, between = parts(text, limit)
    assert joined(pieces, between) == text.strip()


@given(st.lists(st.tuples(st.sampled_from(["equal", "delete", "insert", "replace"]), LONG, LONG), max_size=20))
def test_any_difference_fits_a_section_and_pings_nobody(diff: list[tuple[str, str, str]]) -> None:
    shown = blocks.difference(diff)
    assert len(shown) <= 3000
    assert "<" not in shown and ">" not in shown


def test_what_an_answer_says_of_itself() -> None:
    shown = a_summary("One & two <three>.", corrected_by="Ana", notes=("A tail was cut.",))
    said = texts(blocks.answer(shown, public=True, shared_by="Tomas")[0])
    for expected in (
        "*#general*", "One &amp; two &lt;three&gt;.", "12 messages by 3 people", "the oldest 40 were left out",
        "Corrected by Ana", "Shared by Tomas", "base model", "demonstration model", "A tail was cut.",
        "<!date^1772323200^",
    ):  # fmt: skip
        assert expected in said


async def test_a_home_with_more_than_fits_keeps_the_way_out(database: Database) -> None:
    """Ten summaries, ten corrections and ten reviews are more blocks than a view takes."""

    class Everybody:
        async def require(self, person: str, place: Place) -> None: ...

        async def is_member(self, channel: str, user: str) -> bool:
            return True

        async def channel(self, channel: str) -> Channel:
            return Channel(channel, "#general", public=True, direct=False, member=True, archived=False)

    class Waiting:
        def channels(self, person: str) -> list[str]:
            return ["C1"]

        def waiting(self, person: str, channel: str) -> list[Review]:
            at = datetime(2026, 3, 1, tzinfo=UTC)
            return [Review(f"p{n}", "m", "C1", "Ana", "x" * 900, [["insert", "", "x " * 900]], at) for n in range(20)]

    settings = LearningSettings()
    for number in range(12):
        made = replace(conversation(f"c{number}"), platform="slack", workspace="T1", channel="C1")
        summary = records.store_summary(
            database, SummaryRequest(conversation=made), result(), asked_by="slack:U1", now=datetime.now(UTC)
        )
        feedback.correct(
            database, settings, summary_id=summary, person="slack:U1", name="Ana", blind=True,
            text=f"Something else altogether was said in conversation number {number}, and at some length.",
        )  # fmt: skip
    home = Home(database, None, Everybody(), None, Waiting())  # type: ignore[arg-type]
    found = await home._blocks("U1")
    rules.view({"type": "home", "blocks": found})
    assert len(found) == blocks.VIEW_BLOCKS, "it was cut, so that this test tests something"
    assert buttons(found[-1:]) == {"redraft_optout": "optout"}
    said = texts(found)
    assert (
        "What is stored about you" in said and "waiting for your review" in said and "Summaries you asked for" in said
    )
