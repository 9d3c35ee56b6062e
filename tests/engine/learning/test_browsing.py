"""Looking at stored conversations: search on both databases, what is private, and what the ledger keeps of looking."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.conversation import Message
from engine.learning.browsing import find_conversations, open_conversation
from engine.learning.ledger_check import show
from engine.records import store_conversation
from storage.database import Database
from storage.errors import InputError
from storage.queries import delete_expired
from storage.search import SearchIndex
from tests.engine.learning.pairing import NOW, conversation, corrected, one_database

ANA = "local:ana"


def talk(identity: str, *texts: str, **changes):  # type: ignore[no-untyped-def]
    said = tuple(Message(f"{identity}.{at}", "Imke", text, NOW, "slack:U1") for at, text in enumerate(texts))
    return replace(conversation(identity), messages=said, title=f"#{identity}", **changes)


@pytest.fixture
def stored(database: Database) -> Database:
    with database.write() as session:
        for one in (
            talk("pump", "The pump wants a gasket.", "Tomorrow at noon, says Zoë."),
            talk("heron", "A heron ate the umbrella."),
            talk("board", "The pump costs too much.", public=False),
            talk("note", "The pump was noted.", platform="file", public=False, workspace="", channel=""),
        ):
            store_conversation(session, one, now=NOW)
    return database


def found(database: Database, words: str, index: SearchIndex | None = None) -> set[str]:
    with database.read() as session:
        return {line.id for line in find_conversations(session, index or SearchIndex(), words)}


def test_all_words_have_to_be_there_in_whatever_message_and_case(stored: Database) -> None:
    assert found(stored, "PUMP gasket noon") == {"pump"}
    assert found(stored, "umbr") == {"heron"}
    assert found(stored, "pump heron") == set()


def test_private_words_are_not_found_but_titles_are(stored: Database) -> None:
    assert found(stored, "pump") == {"pump", "note"}
    assert found(stored, "costs") == set()
    assert found(stored, "board") == {"board"}


def test_without_words_there_are_all_with_their_counts(stored: Database) -> None:
    corrected(stored, talk("pump", "The pump wants a gasket."))
    with stored.read() as session:
        lines = {line.id: line for line in find_conversations(session, SearchIndex(), " ")}
    assert lines.keys() == {"pump", "heron", "board", "note"}
    assert (lines["pump"].messages, lines["pump"].summaries, lines["pump"].pairs) == (1, 1, 1)
    assert lines["board"].private
    assert not lines["note"].private


def test_what_was_read_again_or_went_since_is_found_as_it_is_now(stored: Database) -> None:
    index = SearchIndex()
    assert found(stored, "umbrella", index) == {"heron"}
    with stored.write() as session:
        store_conversation(session, talk("heron", "It was a stork."), now=NOW.replace(hour=14))
        store_conversation(session, talk("new", "My umbrella!"), now=NOW)
    assert found(stored, "umbrella", index) == {"new"}
    assert found(stored, "stork", index) == {"heron"}
    with stored.write() as session:
        delete_expired(session=session, before=NOW.replace(hour=13))
    assert found(stored, "umbrella", index) == set()


@one_database
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.text(max_size=30))
def test_whatever_is_typed_is_words_and_never_a_query(stored: Database, words: str) -> None:
    assert found(stored, words) <= {"pump", "heron", "board", "note"}


def test_opening_a_private_one_is_a_line_of_the_ledger_unless_one_wrote_in_it(stored: Database) -> None:
    assert open_conversation(stored, conversation_id="pump", by=ANA).conversation.title == "#pump"
    assert open_conversation(stored, conversation_id="note", by=ANA).summaries == []
    open_conversation(stored, conversation_id="board", by="slack:U1")
    assert not show(stored, limit=1).lines
    open_conversation(stored, conversation_id="board", by=ANA)
    line = show(stored, limit=1).lines[0]
    assert (line.action, line.person, line.subject) == ("conversation.opened", ANA, "board")


def test_one_that_is_gone_is_one_sentence(stored: Database) -> None:
    with pytest.raises(InputError, match="no longer stored"):
        open_conversation(stored, conversation_id="nothing", by=ANA)
