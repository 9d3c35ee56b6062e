"""What is written by hand is blind only where nothing tells that its author saw what a model wrote."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from engine.learning import corrections
from engine.learning.blind import SHOWN, shown, was_shown, why_not_blind, write_by_hand
from engine.learning.ledger_check import show
from engine.learning.settings import LearningSettings
from engine.records import store_conversation
from storage.chat_tables import ChatAnswerRow
from storage.database import Database
from storage.errors import CorrectionRefused
from storage.learning_tables import PairRow
from storage.tables import SummaryRow
from tests.engine.learning.pairing import NOW, conversation

ANA, BEN = "local:ana", "local:ben"
DRAFT = "The draft of the model says that Imke wants the pump to be looked at on Friday."
OWN = "Somebody has to repair it before the weekend; nobody knows who."


@pytest.fixture
def talk(database: Database) -> str:
    made = conversation("talk")
    with database.write() as session:
        store_conversation(session, made, now=NOW)
        session.add(
            SummaryRow(
                id="5" * 32, conversation_id=made.id, created_at=NOW, asked_by="slack:U9", text=DRAFT,
                style="standard", adapter="a1", model="m", prompt_version="1", covered=2, left_out=0, authors=2,
                parts=1, input_tokens=9, output_tokens=9, seconds=1.0,
            )
        )  # fmt: skip
    return made.id


def written(database: Database, talk: str, by: str = ANA, text: str = OWN) -> PairRow:
    found = write_by_hand(database, LearningSettings(), conversation_id=talk, text=text, by=by, now=NOW).arrival.pair
    assert found is not None
    return found


def thumb(database: Database, talk: str) -> None:
    corrections.thumb(database, summary_id="5" * 32, author_id=ANA, thumb="up", now=NOW)


def correct(database: Database, talk: str) -> None:
    text = "Imke asked; it is for Friday."
    corrections.correct(
        database, LearningSettings(), summary_id="5" * 32, author_id=ANA, author="Ana", text=text, blind=False, now=NOW
    )


def ask(database: Database, talk: str) -> None:
    with database.write() as session:
        row = session.get(SummaryRow, "5" * 32)
        assert row is not None
        row.asked_by = ANA


def answer(database: Database, talk: str) -> None:
    with database.write() as session:
        session.add(ChatAnswerRow(id="x", summary_id="5" * 32, platform="slack", person=ANA, created_at=NOW))


def look(database: Database, talk: str) -> None:
    shown(database, conversation_id=talk, by=ANA, now=NOW)


def test_nobody_saw_anything_and_it_is_blind(database: Database, talk: str) -> None:
    made = written(database, talk)
    assert (made.origin, made.seen_draft, made.draft_summary_id) == ("blind", False, "")


@pytest.mark.parametrize("saw", [thumb, correct, ask, answer, look])
def test_whoever_saw_the_models_text_writes_an_edit(
    database: Database, talk: str, saw: Callable[[Database, str], None]
) -> None:
    saw(database, talk)
    if saw is not correct:
        assert written(database, talk, BEN, "Nothing of it is known to Ben.").origin == "blind"
    made = written(database, talk)
    assert (made.origin, made.seen_draft, made.draft_summary_id, made.draft_adapter) == ("edited", True, "5" * 32, "a1")
    assert made.distance is not None and made.distance > 0.5


def test_a_correction_in_the_review_queue_shows_the_draft_to_everybody(database: Database, talk: str) -> None:
    correct(database, talk)
    assert written(database, talk, BEN).origin == "edited"


def test_what_is_nearly_the_models_text_is_refused_whoever_says_to_have_seen_nothing(
    database: Database, talk: str
) -> None:
    with pytest.raises(CorrectionRefused, match="nearly what the model wrote"):
        written(database, talk, text=DRAFT.replace("Friday", "Monday"))


def test_being_shown_is_one_line_of_the_ledger_and_told_by_person(database: Database, talk: str) -> None:
    shown(database, conversation_id=talk, by=ANA, why="console", now=NOW)
    shown(database, conversation_id=talk, by=ANA, why="compare", now=NOW)
    shown(database, conversation_id=talk, by=BEN, now=NOW)
    lines = show(database, actions=[SHOWN], limit=9).lines
    assert [(line.person, line.subject) for line in lines] == [(BEN, talk), (ANA, talk)]
    with database.read() as session:
        assert [was_shown(session, talk, who) for who in (ANA, BEN, "local:caro")] == [True, True, False]
        assert why_not_blind(session, talk, "local:caro") == ""
