"""What is stored comes back the same, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import exc

from engine.conversation import Message
from engine.records import load_conversation, load_summary, store_conversation, store_summary
from engine.requests import SummarySentence
from storage import queries
from storage.database import Database
from storage.errors import StorageError
from storage.tables import FeedbackRow
from tests.storage import samples


def test_a_summary_and_its_conversation_come_back_as_they_were_stored(database: Database) -> None:
    stored = store_summary(database, samples.request(), samples.result(), asked_by="U7", now=samples.NOW)
    with database.read() as session:
        found = load_summary(session, stored)
    assert found is not None
    assert found.request == samples.request()
    assert found.result == samples.result()
    assert (found.id, found.asked_by, found.created_at) == (stored, "U7", samples.NOW)


def test_what_was_never_stored_is_none(database: Database) -> None:
    with database.read() as session:
        assert load_summary(session, "none") is None
        assert load_conversation(session, "none") is None


def test_storing_the_same_conversation_again_adds_a_summary_and_no_message(database: Database) -> None:
    for _ in range(3):
        store_summary(database, samples.request(), samples.result())
    with database.read() as session:
        there = {name: count for name, count in queries.counts(session=session).items() if count}
        assert there == {"conversations": 1, "messages": 3, "summaries": 3}


def test_reading_a_conversation_again_takes_over_edits_additions_and_deletions(database: Database) -> None:
    stored = store_summary(database, samples.request(), samples.result(), now=samples.NOW)
    _, second, third = samples.conversation().messages
    later = samples.NOW + timedelta(days=2)
    edited = samples.with_messages(
        replace(samples.conversation(), title="#releases", public=False),
        Message("1710.9", "Ana", "before all of it", samples.NOW - timedelta(hours=1)),
        replace(second, text="rolled back"),
        third,
    )
    with database.write() as session:
        store_conversation(session, edited, now=later)
    with database.read() as session:
        assert load_conversation(session, "thread-1") == edited
        row = queries.get_conversation(session=session, conversation_id="thread-1")
        assert row is not None and (row.first_read_at, row.read_at) == (samples.NOW, later)
        found = load_summary(session, stored)
    assert found is not None
    # What rested on the deleted first message rests on it no more; the summary itself stays.
    assert [sentence.sources for sentence in found.result.sentences] == [(), ("1711.2",), ()]


def test_a_long_conversation_is_stored_and_read_in_order(database: Database) -> None:
    messages = tuple(Message(str(number), "Ana", f"message {number}") for number in range(2_500))
    long = samples.with_messages(samples.conversation(), *messages)
    with database.write() as session:
        store_conversation(session, long, now=samples.NOW)
    short = samples.with_messages(long, *messages[::-2])
    with database.write() as session:
        store_conversation(session, short, now=samples.NOW)
    with database.read() as session:
        assert load_conversation(session, long.id) == short


def test_text_that_no_database_can_store_is_stored_with_replacement_characters(database: Database) -> None:
    odd = samples.with_messages(
        samples.conversation(), Message("1", "A\x00na", "nul \x00, half \ud83d a pair, \U0001f600")
    )
    with database.write() as session:
        store_conversation(session, odd, now=samples.NOW)
    with database.read() as session:
        found = load_conversation(session, odd.id)
    assert found is not None
    assert (found.messages[0].author, found.messages[0].text) == ("A\ufffdna", "nul \ufffd, half \ufffd a pair, 😀")


def test_a_summary_that_cannot_be_stored_leaves_no_conversation_behind(database: Database) -> None:
    rests_on_nothing = replace(samples.result(), sentences=(SummarySentence("Odd.", ("no such message",)),))
    with pytest.raises(exc.IntegrityError):
        store_summary(database, samples.request(), rests_on_nothing)
    with database.read() as session:
        assert set(queries.counts(session=session).values()) == {0}


def test_recent_summaries_come_newest_first_and_page_by_time(database: Database) -> None:
    ids = [
        store_summary(
            database,
            samples.request(f"thread-{number % 2}"),
            samples.result(),
            asked_by=f"U{number % 2}",
            now=samples.NOW + timedelta(minutes=number),
        )
        for number in range(5)
    ]
    with database.read() as session:
        newest = queries.recent_summaries(session=session, limit=2)
        assert [row.id for row in newest] == [ids[4], ids[3]]
        older = queries.recent_summaries(session=session, before=newest[-1].created_at)
        assert [row.id for row in older] == [ids[2], ids[1], ids[0]]
        assert [row.id for row in queries.recent_summaries(session=session, asked_by="U1")] == [ids[3], ids[1]]
        assert len(queries.recent_summaries(session=session, conversation_id="thread-0")) == 3


def test_a_second_thumb_of_the_same_person_replaces_the_first(database: Database) -> None:
    summary = store_summary(database, samples.request(), samples.result())

    def give(thumb: str, author: str, reason: str = "") -> None:
        with database.write() as session:
            feedback = FeedbackRow(
                summary_id=summary, author_id=author, thumb=thumb, reason=reason, given_at=samples.NOW
            )
            queries.save_feedback(session=session, feedback=feedback)

    give("up", "U1")
    give("down", "U1", "misses the cause")
    give("up", "U2")
    with database.read() as session:
        found = {
            row.author_id: (row.thumb, row.reason) for row in queries.feedback_of(session=session, summary_id=summary)
        }
    assert found == {"U1": ("down", "misses the cause"), "U2": ("up", "")}
    with pytest.raises(exc.IntegrityError):
        give("sideways", "U3")


def test_an_id_of_any_length_is_stored_or_told_in_a_sentence(database: Database) -> None:
    identity = "".join(map(str, range(100_000)))
    odd = samples.with_messages(samples.conversation(), Message("1", "Ana", "hello", author_id=identity))
    try:
        with database.write() as session:
            store_conversation(session, odd, now=samples.NOW)
    except StorageError as error:
        assert "cannot hold an id or a name this long" in error.message
    with database.read() as session:
        stored = queries.counts(session=session)["conversations"]
        assert load_conversation(session, odd.id) == (odd if stored else None)
