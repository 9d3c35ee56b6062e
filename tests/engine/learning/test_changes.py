"""Edits, deletions and opting out reach what is stored; their pairs go to no run, and nothing is rolled back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from sqlmodel import select

from engine.learning.changes import channel_closed, message_changed, take_out_author
from engine.learning.erasure import forget
from engine.records import load_conversation
from storage.chat_tables import ChatAnswerRow, ChatJobRow, ChatOptOutRow, ChatSeenRow
from storage.database import Database
from storage.learning_tables import PairRow
from tests.engine.learning.pairing import NOW, SETTINGS, conversation, corrected, summarised


def pair_of(database: Database) -> PairRow:
    with database.read() as session:
        return session.scalars(select(PairRow)).one()


def test_an_edit_changes_the_message_and_takes_the_pair_back(database: Database) -> None:
    made = conversation()
    corrected(database, summary_id=summarised(database, made))
    first = made.messages[0]
    given = {"platform": "slack", "channel": made.channel, "message_id": first.id, "now": NOW}
    assert message_changed(database, text="Something else altogether.", **given) == 1  # type: ignore[arg-type]
    with database.read() as session:
        stored = load_conversation(session, made.id)
    assert stored is not None and stored.messages[0].text == "Something else altogether."
    pair = pair_of(database)
    assert (pair.state, pair.decided_by) == ("rejected", "redraft")
    assert "Something else altogether." in pair.dialogue and first.text.split("\n")[0] not in pair.dialogue
    # The same again, or of another channel or platform, changes nothing.
    assert message_changed(database, text="Something else altogether.", **given) == 0  # type: ignore[arg-type]
    for other in ({"platform": "discord"}, {"channel": "C9"}, {"message_id": "nope"}):
        assert message_changed(database, text=None, **{**given, **other}) == 0  # type: ignore[arg-type]


def test_a_deletion_takes_the_message_and_its_line_and_an_emptied_conversation_goes_whole(database: Database) -> None:
    made = conversation()
    corrected(database, summary_id=summarised(database, made))
    for number, message in enumerate(made.messages):
        message_changed(database, platform="slack", channel=made.channel, message_id=message.id, text=None, now=NOW)
        if number == 0:
            pair = pair_of(database)
            assert pair.state == "rejected" and message.text.split("\n")[0] not in pair.dialogue
    with database.read() as session:
        assert load_conversation(session, made.id) is None
        assert session.scalars(select(PairRow)).all() == []


def test_opting_out_takes_out_one_persons_messages_and_leaves_the_others(database: Database) -> None:
    made = conversation()
    authors = [replace(one, author_id=f"U{number % 2}") for number, one in enumerate(made.messages)]
    made = replace(made, messages=tuple(authors))
    corrected(database, summary_id=summarised(database, made))
    assert take_out_author(database, person="slack:U1", now=NOW) == 1
    assert take_out_author(database, person="slack:U1", now=NOW) == 0
    with database.read() as session:
        stored = load_conversation(session, made.id)
    assert stored is not None and {one.author_id for one in stored.messages} == {"U0"}
    assert pair_of(database).state == "rejected"


def test_a_channel_that_was_made_private_trains_its_own_adapter_only(database: Database) -> None:
    made = conversation()
    corrected(database, summary_id=summarised(database, made))
    assert pair_of(database).public is True
    for other in ({"platform": "discord", "channel": made.channel}, {"platform": "slack", "channel": "C9"}):
        assert channel_closed(database, now=NOW, **other) == 0
    assert channel_closed(database, platform="slack", channel=made.channel, now=NOW) == 1
    assert channel_closed(database, platform="slack", channel=made.channel, now=NOW) == 0
    with database.read() as session:
        stored = load_conversation(session, made.id)
    assert stored is not None and stored.public is False and pair_of(database).public is False


def test_an_erasure_takes_what_the_chats_keep_of_a_person_but_their_wish_to_be_left_out(database: Database) -> None:
    summary = summarised(database, conversation())
    at = datetime.now(UTC)
    with database.write() as session:
        for person in ("slack:U901", "slack:U902"):
            session.add(ChatSeenRow(person=person, channel="C1", at=at))
            session.add(ChatOptOutRow(person=person, at=at))
            session.add(
                ChatJobRow(
                    key=person, platform="slack", kind="x", lane="light", person=person, accepted_at=at, due_at=at
                )
            )
            session.add(ChatAnswerRow(id=person, summary_id=summary, platform="slack", person=person, created_at=at))
    forget(database, database.home, SETTINGS, user="slack:U901", by="local:maria")
    with database.read() as session:
        for table in (ChatSeenRow, ChatJobRow, ChatAnswerRow):
            assert [row.person for row in session.scalars(select(table))] == ["slack:U902"], table
        assert len(session.scalars(select(ChatOptOutRow)).all()) == 2


def test_opting_out_takes_a_persons_words_out_of_what_others_shared_too(database: Database) -> None:
    made = conversation()
    shared = "Look at that.\n[shared message from Nora]\n> I water the plants\n> on Friday.\nSo it goes."
    messages = (
        replace(made.messages[0], text=shared, author_id="U0"),
        replace(made.messages[1], text="[shared message from Nora Example]\n> And the cactus.", author_id="U0"),
        replace(made.messages[2], text="[shared message from Norbert]\n> I do not.", author_id="U0"),
    )
    made = replace(made, messages=messages)
    corrected(database, summary_id=summarised(database, made))
    assert take_out_author(database, person="slack:U9", now=NOW, names=["Nora", "Nora Example"]) == 1
    with database.read() as session:
        stored = load_conversation(session, made.id)
    assert stored is not None
    assert [message.text for message in stored.messages] == [
        "Look at that.\nSo it goes.", "", "[shared message from Norbert]\n> I do not.",
    ]  # fmt: skip
    pair = pair_of(database)
    assert pair.state == "rejected"
    assert "plants" not in pair.dialogue and "cactus" not in pair.dialogue and "I do not." in pair.dialogue
    assert take_out_author(database, person="slack:U9", now=NOW, names=["Nora", "Nora Example"]) == 0
