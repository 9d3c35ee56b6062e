"""Decisions on pairs: who may take them, on what they saw, how they are undone, and what the ledger says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from engine.learning.ledger_check import Line, show
from engine.learning.pairs import (
    approve,
    decide_matching,
    edit_pair,
    find,
    list_pairs,
    mark_of,
    open_pair,
    reject,
    reopen,
    waiting,
)
from engine.learning.settings import LearningSettings
from storage.database import Database
from storage.errors import CorrectionRefused, NotPermitted, PairRefused
from storage.learning_tables import PairRow
from storage.pair_filters import PairFilter
from tests.engine.learning.pairing import (
    BETTER,
    DRAFT,
    NOW,
    SETTINGS,
    chat_pair,
    conversation,
    corrected,
    keep,
    one_database,
    pair,
)

LATER = NOW + timedelta(hours=1)
REVIEWED = BETTER.replace("for Monday", "for the database team on Monday")
OTHERWISE = "Tariq undid the release when billing failed; somebody has to add the missing index."


def arrived(database: Database, **told: Any) -> PairRow:
    found = corrected(database, **told).pair
    assert found is not None
    return found


def stored(database: Database, pair_id: str) -> PairRow:
    with database.read() as session:
        return find(session, pair_id)


def lines(database: Database, beginning: str = "pair") -> list[Line]:
    return [line for line in show(database).lines if line.action.startswith(beginning)]


def test_an_approval_says_who_and_when_in_the_row_and_in_the_ledger(database: Database) -> None:
    made = arrived(database)
    approve(database, pair_ids=[made.id], by="slack:U2", now=LATER)
    row = stored(database, made.id)
    assert (row.state, row.decided_by, row.decided_at) == ("approved", "slack:U2", LATER)
    (line,) = lines(database)
    assert (line.action, line.person, line.subject, line.at) == ("pair.approved", "slack:U2", made.id, LATER)
    assert line.details == {"origin": "edited", "platform": "slack", "split": row.split}


def test_reviewers_never_approve_their_own_and_an_administrator_may(database: Database) -> None:
    made = arrived(database, author_id="slack:U7")
    with pytest.raises(NotPermitted, match="You wrote this pair"):
        approve(database, pair_ids=[made.id], by="slack:U7")
    assert stored(database, made.id).state == "pending" and not lines(database)
    approve(database, pair_ids=[made.id], by="slack:U7", administrator=True)
    (line,) = lines(database)
    assert (stored(database, made.id).state, line.person) == ("approved", "slack:U7")


def test_several_are_approved_all_or_none(database: Database) -> None:
    mine, theirs = arrived(database, author_id="slack:U2"), arrived(database)
    with pytest.raises(NotPermitted):
        approve(database, pair_ids=[theirs.id, mine.id], by="slack:U2")
    with pytest.raises(PairRefused, match="There is no pair"):
        approve(database, pair_ids=[theirs.id, "f" * 32], by="slack:U3")
    assert {stored(database, one.id).state for one in (mine, theirs)} == {"pending"} and not lines(database)
    assert len(approve(database, pair_ids=[theirs.id, mine.id, mine.id], by="slack:U3")) == 2


def test_a_rejection_needs_a_reason_and_keeps_it(database: Database) -> None:
    made = arrived(database)
    for nothing in ("", " \n", "\u200b"):
        with pytest.raises(PairRefused, match="needs a reason"):
            reject(database, pair_ids=[made.id], by="slack:U2", reason=nothing)
    reject(database, pair_ids=[made.id], by="slack:U2", reason=" invented\x07\nnumbers ", now=LATER)
    row = stored(database, made.id)
    assert (row.state, row.decided_by, row.reject_reason) == ("rejected", "slack:U2", "invented numbers")
    (line,) = lines(database)
    assert (line.action, line.details["reason"]) == ("pair.rejected", "invented numbers")
    with pytest.raises(PairRefused, match="is rejected by slack:U2 already"):
        reject(database, pair_ids=[made.id], by="slack:U3", reason="me too")
    with pytest.raises(PairRefused, match="does not wait for a decision: it is rejected by slack:U2"):
        approve(database, pair_ids=[made.id], by="slack:U3")


def test_an_approved_pair_may_still_be_rejected_and_every_decision_taken_back(database: Database) -> None:
    made = arrived(database)
    approve(database, pair_ids=[made.id], by="slack:U2")
    reject(database, pair_ids=[made.id], by="slack:U3", reason="wrong date")
    reopen(database, pair_id=made.id, by="slack:U2")
    row = stored(database, made.id)
    assert (row.state, row.decided_by, row.decided_at, row.reject_reason) == ("pending", "", None, "")
    with pytest.raises(PairRefused, match="waits for a decision already"):
        reopen(database, pair_id=made.id, by="slack:U2")
    in_order = sorted(lines(database), key=lambda line: line.seq)
    assert [line.action for line in in_order] == ["pair.approved", "pair.rejected", "pair.reopened"]


Change = Callable[[Database, PairRow], object]
DECISIONS: dict[str, Change] = {
    "approve": lambda database, row: approve(database, pair_ids=[row.id], by="slack:U3", seen=mark_of(row)),
    "reject": lambda database, row: reject(database, pair_ids=[row.id], by="slack:U3", reason="no", seen=mark_of(row)),
    "reopen": lambda database, row: reopen(database, pair_id=row.id, by="slack:U3", seen=mark_of(row)),
    "edit": lambda database, row: edit_pair(
        database, SETTINGS, pair_id=row.id, text=OTHERWISE, by="slack:U3", seen=mark_of(row)
    ),
}


@one_database
@pytest.mark.parametrize("decision", DECISIONS)
def test_what_somebody_else_decided_meanwhile_is_told_and_not_overwritten(database: Database, decision: str) -> None:
    shown = arrived(database)
    approve(database, pair_ids=[shown.id], by="slack:U2", now=LATER)
    with pytest.raises(PairRefused, match="has changed since you saw it: it is now approved by slack:U2"):
        DECISIONS[decision](database, shown)
    assert (stored(database, shown.id).state, stored(database, shown.id).decided_by) == ("approved", "slack:U2")
    assert len(lines(database)) == 1


@one_database
def test_a_decision_on_what_is_as_it_was_shown_is_taken(database: Database) -> None:
    made = arrived(database)
    approve(database, pair_ids=[made.id], by="slack:U2", seen=mark_of(stored(database, made.id)))
    reopen(database, pair_id=made.id, by="slack:U2", seen=mark_of(stored(database, made.id)))
    edited = edit_pair(
        database, SETTINGS, pair_id=made.id, text=REVIEWED, by="slack:U2", seen=mark_of(stored(database, made.id))
    )
    approve(database, pair_ids=[edited.id], by="slack:U3", seen=mark_of(edited))
    with pytest.raises(PairRefused, match="replaced by a later one"):
        approve(database, pair_ids=[made.id], by="slack:U3", seen=mark_of(made))


def test_an_approvers_edit_is_a_new_pair_that_keeps_both_authors(database: Database) -> None:
    made = arrived(database, author_id="slack:U7")
    edited = edit_pair(database, SETTINGS, pair_id=made.id, text=f" {REVIEWED}\n", by="slack:U2", now=LATER)
    before, row = stored(database, made.id), stored(database, edited.id)
    assert (row.author_id, row.author, row.editor_id) == ("slack:U7", "Noor", "slack:U2")
    assert (row.summary, row.state, row.supersedes, row.created_at) == (REVIEWED, "pending", made.id, LATER)
    assert (row.dialogue, row.split, row.conversation_key, row.origin, row.seen_draft, row.draft_summary_id) == (
        before.dialogue, before.split, before.conversation_key, "edited", True, before.draft_summary_id,
    )  # fmt: skip
    assert row.distance is not None and row.distance != before.distance
    assert (before.superseded_by, before.summary, before.state) == ("", BETTER, "pending")
    (line,) = lines(database)
    assert (line.action, line.person, line.details["was"]) == ("pair.edited", "slack:U2", made.id)
    with pytest.raises(NotPermitted):
        approve(database, pair_ids=[edited.id], by="slack:U7")
    approve(database, pair_ids=[edited.id], by="slack:U2")
    assert stored(database, made.id).superseded_by == edited.id


@one_database
def test_an_edit_that_changes_nothing_or_is_too_near_to_the_draft_is_refused(database: Database) -> None:
    made = arrived(database)
    for text, kind, sentence in (
        (f" {BETTER}  ", PairRefused, "nothing was changed"),
        (DRAFT.replace("14:00", "15:00"), PairRefused, "nearly what the model wrote"),
        ("", CorrectionRefused, "no words"),
        ("long " * 9_000, CorrectionRefused, "at most 20,000"),
    ):
        with pytest.raises(kind, match=sentence):
            edit_pair(database, SETTINGS, pair_id=made.id, text=text, by="slack:U2")
    second = edit_pair(database, SETTINGS, pair_id=made.id, text=REVIEWED, by="slack:U2")
    with pytest.raises(PairRefused, match="A later version of this pair waits"):
        edit_pair(database, SETTINGS, pair_id=made.id, text=OTHERWISE, by="slack:U2")
    with pytest.raises(PairRefused, match="is there already"):
        edit_pair(database, SETTINGS, pair_id=second.id, text=BETTER, by="slack:U2")
    assert len(lines(database)) == 1
    approve(database, pair_ids=[second.id], by="slack:U3")
    with pytest.raises(PairRefused, match="A later pair has taken the place"):
        edit_pair(database, SETTINGS, pair_id=made.id, text=OTHERWISE, by="slack:U2")


def test_under_trusted_authors_an_edit_is_approved_only_where_both_are_trusted(database: Database) -> None:
    for trusted, state in (("slack:U7", "pending"), ("slack:U2", "pending"), ("slack:U7, slack:U2", "approved")):
        made = arrived(database)
        settings = LearningSettings(pairs_policy="trusted-authors", pairs_trusted_authors=trusted)
        edited = edit_pair(database, settings, pair_id=made.id, text=OTHERWISE, by="slack:U2")
        assert stored(database, edited.id).state == state, trusted
    automatic = [line for line in lines(database) if line.action == "pair.approved"]
    assert [(line.actor, line.details) for line in automatic] == [("redraft", {"policy": "trusted-authors"})]


def test_a_filter_decides_on_what_waits_in_one_line_of_the_ledger(database: Database) -> None:
    keep(
        database,
        *(pair(state=state, source="a") for state in ("pending", "pending", "rejected")),
        pair(state="pending", source="b"),
        chat_pair(state="pending", source="a", author_id="slack:U2"),
    )
    wanted = PairFilter(source="a")
    assert decide_matching(database, wanted=wanted, to="approved", by="slack:U2", now=LATER) == 2, "their own waits"
    assert decide_matching(database, wanted=wanted, to="approved", by="slack:U2", administrator=True) == 1
    assert decide_matching(database, wanted=wanted, to="approved", by="slack:U2", administrator=True) == 0
    with pytest.raises(PairRefused, match="needs a reason"):
        decide_matching(database, wanted=PairFilter(), to="rejected", by="slack:U2")
    assert decide_matching(database, wanted=PairFilter(), to="rejected", by="slack:U2", reason="test data") == 1
    told = sorted((line.action, line.details["count"]) for line in lines(database))
    assert told == [("pairs.approved", 1), ("pairs.approved", 2), ("pairs.rejected", 1)]
    with database.read() as session:
        states = [(row.source, row.state) for row in list_pairs(session, PairFilter())]
    assert sorted(states) == [("a", "approved")] * 3 + [("a", "rejected"), ("b", "rejected")]


def test_a_filter_decides_on_just_those_that_were_counted(database: Database) -> None:
    first, second = pair(state="pending"), pair(state="pending")
    keep(database, first)
    with database.read() as session:
        seen = waiting(session, PairFilter())
    keep(database, second)
    reject(database, pair_ids=[first.id], by="local:ben", reason="not ours")
    with pytest.raises(PairRefused, match="are others, though as many, now; none was approved"):
        decide_matching(database, wanted=PairFilter(), to="approved", by="local:ana", administrator=True, expected=seen)
    with database.read() as session:
        seen = waiting(session, PairFilter())
    assert decide_matching(database, wanted=PairFilter(), to="approved", by="local:ana", expected=seen) == 1


def test_of_what_was_edited_the_last_version_is_the_newest_until_it_is_rejected(database: Database) -> None:
    made = arrived(database)

    def newest() -> list[str]:
        with database.read() as session:
            return [line.id for line in list_pairs(session, PairFilter(state="pending", newest=True))]

    edited = edit_pair(database, LearningSettings(), pair_id=made.id, text=OTHERWISE, by="slack:U2")
    assert newest() == [edited.id]
    reject(database, pair_ids=[edited.id], by="local:ana", reason="worse")
    assert newest() == [made.id]
    reopen(database, pair_id=edited.id, by="local:ana")
    approve(database, pair_ids=[edited.id], by="local:ana")
    assert newest() == []


def test_what_is_only_read_ahead_opens_nothing_private(database: Database) -> None:
    closed = arrived(database, made=conversation(public=False), author_id="slack:U7")
    with pytest.raises(NotPermitted, match="is private"):
        open_pair(database, pair_id=closed.id, by="local:maria", asked=False)
    assert open_pair(database, pair_id=closed.id, by="slack:U7", asked=False).summary == BETTER
    assert not show(database).lines


def test_pages_of_a_list_are_newest_first_and_leave_none_out(database: Database) -> None:
    keep(database, *(pair(created_at=NOW + timedelta(seconds=at // 3)) for at in range(20)))
    seen: list[str] = []
    with database.read() as session:
        everything = [(row.created_at, row.id) for row in list_pairs(session, PairFilter())]
        while page := list_pairs(session, PairFilter(), limit=6, after=seen[-1] if seen else ""):
            seen += [row.id for row in page]
        with pytest.raises(PairRefused, match="There is no pair"):
            list_pairs(session, PairFilter(), after="gone")
    assert everything == sorted(everything, reverse=True)
    assert seen == [pair_id for _, pair_id in everything] and len(seen) == 20


def test_a_list_shows_no_text_of_private_conversations_and_opening_one_is_recorded(database: Database) -> None:
    closed = arrived(database, made=conversation(public=False), author_id="slack:U7")
    public = arrived(database)
    with database.read() as session:
        shown = {row.id: row.beginning for row in list_pairs(session, PairFilter())}
    assert shown == {closed.id: "", public.id: BETTER[:100]}
    assert open_pair(database, pair_id=public.id, by="local:maria").summary == BETTER
    assert open_pair(database, pair_id=closed.id, by="slack:U7").summary == BETTER, "their own"
    assert not show(database).lines
    assert open_pair(database, pair_id=closed.id[:12], by="local:maria", now=LATER).summary == BETTER
    (line,) = show(database).lines
    assert (line.person, line.details.get("why"), line.at) == ("local:maria", "pair", LATER)
    assert BETTER not in str(line)


@one_database
def test_a_pair_is_found_by_the_beginning_of_its_id_where_that_is_one(database: Database) -> None:
    keep(database, pair(id="abcd1"), pair(id="abcd2"), pair(id="ab_d3"))
    assert stored(database, "abcd1").id == "abcd1"
    assert stored(database, "ab_d").id == "ab_d3", "signs of patterns are signs like others"
    for name, sentence in (("abcd", "Several pairs"), ("abc", "There is no pair"), ("%%%%", "There is no pair")):
        with pytest.raises(PairRefused, match=sentence):
            stored(database, name)
