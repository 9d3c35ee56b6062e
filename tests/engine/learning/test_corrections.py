"""What becomes of a correction or a thumb: a pair, feedback, or a sentence that says why it is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engine.conversation import Message
from engine.learning.corrections import correct, corrections, thumb, write_blind
from engine.learning.ledger_check import show
from engine.learning.pairs import approve
from engine.learning.settings import LearningSettings
from engine.records import store_conversation
from storage import queries
from storage.database import Database
from storage.errors import CorrectionRefused
from storage.learning_tables import PairRow
from tests.engine.learning.pairing import (
    BETTER,
    DRAFT,
    NOW,
    SETTINGS,
    conversation,
    corrected,
    messages,
    one_database,
    said,
    summarised,
)


def stored(database: Database, pair_id: str) -> PairRow:
    with database.read() as session:
        found = session.get(PairRow, pair_id)
    assert found is not None
    return found


def pairs(database: Database) -> int:
    with database.read() as session:
        return queries.counts(session=session)["pairs"]


def test_an_edit_of_enough_words_makes_a_pair_that_knows_where_it_comes_from(database: Database) -> None:
    made = conversation()
    summary_id = summarised(database, made, adapter="a0123", style="brief", focus="billing")
    done = corrected(database, summary_id=summary_id, about="wrong")
    pair = stored(database, done.pair.id if done.pair else "")
    assert (pair.state, pair.origin, pair.seen_draft) == ("pending", "edited", True)
    assert (pair.author_id, pair.author, pair.summary) == ("slack:U7", "Noor", BETTER)
    assert (pair.draft_summary_id, pair.draft_adapter) == (summary_id, "a0123")
    assert (pair.platform, pair.workspace, pair.channel, pair.public) == ("slack", "T1", "C1", True)
    assert (pair.style, pair.focus, pair.conversation_id) == ("brief", "billing", made.id)
    assert pair.dialogue == said(made.messages)
    assert pair.distance is not None and pair.distance > 0.5
    assert "approved your text" in done.sentence


def test_the_correction_is_kept_with_what_it_changed(database: Database) -> None:
    done = corrected(database, text=f"{BETTER}\n", about="missing")
    with database.read() as session:
        (row,) = corrections(session, done.correction.summary_id)
    assert (row.text, row.kind, row.about, row.pair_id) == (BETTER, "edited", "missing", done.pair and done.pair.id)
    assert "".join(part[1] for part in row.diff) == DRAFT and "".join(part[2] for part in row.diff) == BETTER


@one_database
@pytest.mark.parametrize(("words", "pair"), [(3, False), (4, True)])
def test_below_fifteen_percent_of_changed_words_it_is_feedback(database: Database, words: int, pair: bool) -> None:
    draft = " ".join(f"word{number}" for number in range(25))
    text = draft
    for number in range(words):
        text = text.replace(f"word{number} ", f"other{number} ")
    done = corrected(database, text=text, summary_id=summarised(database, conversation(), draft))
    assert (done.pair is not None) == pair
    assert done.correction.distance == pytest.approx(words / 25)
    assert ("12% of the draft's words and counts as feedback" in done.sentence) != pair
    assert pairs(database) == pair


@one_database
def test_a_text_written_without_the_draft_always_makes_a_pair(database: Database) -> None:
    done = corrected(database, text=DRAFT.replace("14:00", "15:00"), blind=True)
    assert done.pair is not None and done.correction.kind == "blind"
    assert (done.pair.origin, done.pair.seen_draft, done.pair.draft_adapter) == ("blind", False, "")
    assert done.pair.distance is None


@one_database
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "no words"),
        (" \n\t ", "no words"),
        ("\u200b\u202e\u2060\ufeff", "no words"),
        ("...", "no words"),
        (DRAFT, "nothing was changed"),
        (f"  {DRAFT}\n", "nothing was changed"),
        (DRAFT.replace("deploy", "dep\u200bloy"), "nothing was changed"),
        ("far too long " * 2_000, "26,000 characters long; at most 20,000"),
    ],
)
def test_what_is_empty_unchanged_or_absurdly_long_is_refused(database: Database, text: str, sentence: str) -> None:
    for blind in (False, True):
        with pytest.raises(CorrectionRefused, match=sentence):
            corrected(database, text=text, blind=blind)
    assert pairs(database) == 0


@one_database
def test_a_correction_of_a_summary_that_is_gone_is_refused(database: Database) -> None:
    with pytest.raises(CorrectionRefused, match="no longer stored"):
        corrected(database, summary_id="0" * 32)
    with pytest.raises(CorrectionRefused, match="no longer stored"):
        thumb(database, summary_id="0" * 32, author_id="slack:U7", thumb="up")


@one_database
def test_a_choice_that_is_none_is_refused(database: Database) -> None:
    with pytest.raises(CorrectionRefused, match="missing, wrong, too long, tone"):
        corrected(database, about="boring")


@one_database
def test_characters_that_cannot_be_seen_are_taken_out(database: Database) -> None:
    done = corrected(database, text=f"\u202e{BETTER}\x00\x07")
    assert done.correction.text == BETTER


def approved(database: Database, *made: PairRow) -> None:
    approve(database, pair_ids=[row.id for row in made], by="local:approver", administrator=True)


def test_a_second_correction_builds_on_the_first_and_takes_its_place_once_it_is_approved(database: Database) -> None:
    first = corrected(database)
    summary_id = first.correction.summary_id
    text = BETTER.replace("Monday", "Tuesday")
    told = {"author_id": "slack:U8", "builds_on": first.correction.id, "now": NOW + timedelta(minutes=1)}
    second = corrected(database, text=text, summary_id=summary_id, **told)
    assert first.pair and second.pair
    assert second.correction.distance == pytest.approx(1 / len(BETTER.split()))
    assert second.correction.builds_on == first.correction.id
    before, after = stored(database, first.pair.id), stored(database, second.pair.id)
    assert (before.superseded_by, after.supersedes, after.superseded_by) == ("", before.id, "")
    approved(database, after)
    assert (stored(database, before.id).superseded_by, stored(database, after.id).superseded_by) == (after.id, "")
    assert after.distance is not None and after.distance > 0.5, "the pair's distance is from the draft"
    with database.read() as session:
        assert [row.text for row in corrections(session, summary_id)] == [BETTER, text]


@one_database
def test_building_back_to_the_draft_is_feedback_and_the_first_text_stands(database: Database) -> None:
    first = corrected(database)
    text = DRAFT.replace("tomorrow", "on Monday")
    second = corrected(database, text=text, summary_id=first.correction.summary_id, builds_on=first.correction.id)
    assert second.pair is None and first.pair is not None
    assert second.correction.distance > 0.5
    assert stored(database, first.pair.id).superseded_by == ""


@one_database
def test_what_people_changed_together_counts(database: Database) -> None:
    """A tenth of the words each: neither alone, but both together made the text theirs."""
    draft = " ".join(f"word{number}" for number in range(20))
    first_text = draft.replace("word1 ", "one ").replace("word2 ", "two ")
    summary_id = summarised(database, conversation(), draft)
    first = corrected(database, text=first_text, summary_id=summary_id)
    text = first_text.replace("word3 ", "three ").replace("word4 ", "four ")
    second = corrected(database, text=text, summary_id=summary_id, builds_on=first.correction.id)
    assert first.pair is None and second.pair is not None
    assert second.pair.supersedes == ""


@one_database
def test_what_builds_on_an_edit_is_an_edit_and_on_a_blind_text_is_blind(database: Database) -> None:
    edited = corrected(database)
    again = corrected(
        database, text=f"{BETTER} Good.", summary_id=edited.correction.summary_id, blind=True,
        builds_on=edited.correction.id,
    )  # fmt: skip
    assert again.correction.kind == "edited"
    blind = corrected(database, blind=True)
    again = corrected(
        database, text=f"{BETTER} Good.", summary_id=blind.correction.summary_id, blind=True,
        builds_on=blind.correction.id,
    )  # fmt: skip
    assert again.correction.kind == "blind" and again.pair is not None and again.pair.origin == "blind"


def test_an_authors_own_later_text_takes_the_place_of_theirs_but_not_of_anothers(database: Database) -> None:
    summary_id = summarised(database, conversation())
    one = corrected(database, summary_id=summary_id)
    other = corrected(database, text=f"Else: {BETTER}", summary_id=summary_id, author_id="slack:U8")
    again = corrected(database, text=f"Corrected: {BETTER}", summary_id=summary_id, now=NOW + timedelta(minutes=1))
    assert one.pair and other.pair and again.pair
    approved(database, one.pair, other.pair)
    assert stored(database, one.pair.id).superseded_by == ""
    approved(database, again.pair)
    assert stored(database, one.pair.id).superseded_by == again.pair.id
    assert stored(database, other.pair.id).superseded_by == ""


def test_just_the_same_pair_is_told_and_both_corrections_are_kept(database: Database) -> None:
    summary_id = summarised(database, conversation())
    one = corrected(database, summary_id=summary_id)
    other = corrected(database, summary_id=summary_id, author_id="slack:U8")
    assert one.pair and other.pair and other.pair.id == one.pair.id
    assert "there already" in other.sentence
    with database.read() as session:
        assert len(corrections(session, summary_id)) == 2
    assert pairs(database) == 1


@one_database
def test_going_back_to_an_earlier_text_brings_its_pair_back(database: Database) -> None:
    one = corrected(database)
    summary_id = one.correction.summary_id
    two = corrected(database, text=f"{BETTER} Or not.", summary_id=summary_id, builds_on=one.correction.id)
    three = corrected(database, summary_id=summary_id, builds_on=two.correction.id)
    assert one.pair and two.pair and three.pair and three.pair.id == one.pair.id
    approved(database, two.pair)
    assert stored(database, one.pair.id).superseded_by == stored(database, two.pair.id).superseded_by == ""
    approved(database, one.pair)
    assert stored(database, one.pair.id).superseded_by == ""
    assert stored(database, two.pair.id).superseded_by == one.pair.id


@one_database
def test_direct_messages_make_no_pair(database: Database) -> None:
    done = corrected(database, conversation(direct=True, public=False))
    assert done.pair is None and "direct messages train nothing" in done.sentence
    assert pairs(database) == 0
    with pytest.raises(CorrectionRefused, match="train nothing"):
        store_and_write(database, conversation(direct=True, public=False))


def store_and_write(database: Database, made: object, text: str = BETTER, by: str = "local:maria") -> PairRow:
    from engine.conversation import Conversation

    assert isinstance(made, Conversation)
    with database.write() as session:
        store_conversation(session, made, now=NOW)
    done = write_blind(database, SETTINGS, conversation_id=made.id, text=text, by=by, now=NOW)
    assert done.pair is not None
    return done.pair


def test_a_hand_written_summary_is_a_blind_pair_and_a_later_one_takes_its_place(database: Database) -> None:
    made = conversation()
    first = store_and_write(database, made)
    assert (first.origin, first.author_id, first.draft_summary_id) == ("blind", "local:maria", "")
    second = store_and_write(database, made, text=f"{BETTER} Really.")
    other = store_and_write(database, made, text="Somebody else's view of it.", by="local:tom")
    third = store_and_write(database, made, text=f"{BETTER} Or not.")
    assert (second.supersedes, third.supersedes, other.supersedes) == (first.id, second.id, "")
    approved(database, first, third, other)
    assert stored(database, first.id).superseded_by == stored(database, second.id).superseded_by == third.id
    assert stored(database, third.id).superseded_by == stored(database, other.id).superseded_by == ""


@one_database
def test_a_summary_of_a_support_case_is_no_draft_of_ours(database: Database) -> None:
    made = conversation()
    with database.write() as session:
        store_conversation(session, made, now=NOW)
    done = write_blind(database, SETTINGS, conversation_id=made.id, text=BETTER, by="local:agent", origin="case")
    assert done.pair is not None and (done.pair.origin, done.pair.seen_draft) == ("case", False)
    with pytest.raises(CorrectionRefused, match="no longer stored"):
        write_blind(database, SETTINGS, conversation_id="gone", text=BETTER, by="local:agent")


def test_the_dialogue_is_what_the_summary_covered_and_not_what_was_said_since(database: Database) -> None:
    made = conversation()
    bot = Message("bot", "buildbot", "red", NOW + timedelta(seconds=1), kind="bot")
    with_bot = replace(made, messages=(*made.messages[:2], bot, *made.messages[2:]))
    plain, asked = summarised(database, with_bot), summarised(database, with_bot, include_bots=True)
    later = messages(99, 2, at=NOW + timedelta(hours=1))
    with database.write() as session:
        store_conversation(session, replace(with_bot, messages=(*with_bot.messages, *later)), now=NOW)
    one = corrected(database, summary_id=plain)
    other = corrected(database, summary_id=asked)
    assert one.pair and one.pair.dialogue == said(made.messages)
    assert other.pair and other.pair.dialogue == said(with_bot.messages)


@one_database
def test_with_a_focus_the_whole_conversation_of_then_is_kept_for_the_planner(database: Database) -> None:
    made = conversation()
    summary_id = summarised(database, made, focus="billing", now=NOW + timedelta(minutes=1))
    later = messages(98, 1, at=NOW + timedelta(hours=1))
    with database.write() as session:
        store_conversation(session, replace(made, messages=(*made.messages, *later)), now=NOW)
    done = corrected(database, summary_id=summary_id)
    assert done.pair and (done.pair.focus, done.pair.dialogue) == ("billing", said(made.messages))


@one_database
def test_a_conversation_without_times_is_covered_whole(database: Database) -> None:
    plain = tuple(replace(message, time=None) for message in messages(97))
    done = corrected(database, conversation(messages=plain, platform="file", workspace="", channel="", public=False))
    assert done.pair and done.pair.dialogue == said(plain)


def test_a_trusted_authors_pair_is_approved_as_it_comes_and_the_ledger_says_why(database: Database) -> None:
    settings = LearningSettings(pairs_policy="trusted-authors", pairs_trusted_authors="slack:U7, local:maria")
    done = corrected(database, settings=settings)
    assert done.pair and (done.pair.state, done.pair.decided_by) == ("approved", "redraft")
    assert "approved; the next fine-tune" in done.sentence
    other = corrected(database, settings=settings, author_id="slack:U8")
    assert other.pair and other.pair.state == "pending"
    (line,) = show(database).lines
    assert (line.action, line.actor, line.subject) == ("pair.approved", "redraft", done.pair.id)


@one_database
def test_under_the_manual_policy_trust_means_nothing(database: Database) -> None:
    settings = LearningSettings(pairs_policy="manual", pairs_trusted_authors="slack:U7")
    done = corrected(database, settings=settings)
    assert done.pair and done.pair.state == "pending"


def test_a_thumb_takes_the_place_of_the_same_persons_before(database: Database) -> None:
    summary_id = summarised(database, conversation())
    for one, reason in (("up", ""), ("down", " too\u200b long \x07")):
        thumb(database, summary_id=summary_id, author_id="slack:U7", thumb=one, reason=reason)
    thumb(database, summary_id=summary_id, author_id="slack:U8", thumb="up")
    with database.read() as session:
        given = queries.feedback_of(session=session, summary_id=summary_id)
    assert {(row.author_id, row.thumb, row.reason) for row in given} == {
        ("slack:U7", "down", "too long"), ("slack:U8", "up", ""),
    }  # fmt: skip
    with pytest.raises(CorrectionRefused, match="up or down"):
        thumb(database, summary_id=summary_id, author_id="slack:U7", thumb="sideways")


def test_a_click_that_arrives_after_its_reason_does_not_empty_it(database: Database) -> None:
    summary_id = summarised(database, conversation())
    for one, reason in (("down", "too long"), ("down", "")):
        thumb(database, summary_id=summary_id, author_id="discord:7", thumb=one, reason=reason)
    with database.read() as session:
        [row] = queries.feedback_of(session=session, summary_id=summary_id)
        assert row.reason == "too long"
    thumb(database, summary_id=summary_id, author_id="discord:7", thumb="up")
    with database.read() as session:
        [row] = queries.feedback_of(session=session, summary_id=summary_id)
        assert (row.thumb, row.reason) == ("up", "")


@one_database
@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(), min_size=1, max_size=200), blind=st.booleans())
def test_whatever_people_write_is_taken_or_refused_in_a_sentence(database: Database, text: str, blind: bool) -> None:
    summary_id = summarised(database, conversation("any"))
    try:
        done = correct(
            database, SETTINGS, summary_id=summary_id, author_id="slack:U9", author=text[:20], text=text, blind=blind
        )
    except CorrectionRefused as refusal:
        assert refusal.message and refusal.hint
        return
    with database.read() as session:
        (row,) = corrections(session, summary_id)
    assert row.text == done.correction.text == "".join(part[2] for part in row.diff)
    assert (done.pair is not None) == bool(row.pair_id)
