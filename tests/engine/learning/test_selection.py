"""Whose pairs train which scope: the design's rules, one by one."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta

import pytest

from engine.learning import selection
from engine.learning.authorisation import authorise, revoke
from engine.learning.ledger_check import show
from engine.learning.pairs import approve
from engine.learning.settings import LearningSettings
from storage import run_queries
from storage.database import Database
from storage.errors import InputError
from storage.learning_tables import PairRow
from tests.engine.learning import making
from tests.engine.learning.pairing import (
    NOW,
    SETTINGS,
    chat_pair,
    conversation,
    corrected,
    keep,
    one_database,
    pair,
)

#: The operator lets workspaces train `default`.
OPEN = LearningSettings(train_default_takes_workspaces=True)


def allow(database: Database, *platforms: str) -> None:
    for platform in platforms or ("slack", "discord"):
        authorise(database, platform=platform, authorised_by="Ana Ruiz", basis="consent", by="local:maria", now=NOW)


def trains(database: Database, scope: str, settings: LearningSettings = SETTINGS) -> set[str]:
    with database.read() as session:
        return {row.id for row in selection.training_pairs(session, scope, settings).pairs}


def left_out(database: Database, scope: str, settings: LearningSettings = SETTINGS) -> dict[str, int]:
    with database.read() as session:
        return selection.training_pairs(session, scope, settings).left_out


def measures(database: Database, scope: str, settings: LearningSettings = SETTINGS) -> Sequence[str]:
    with database.read() as session:
        return [row.id for row in selection.heldout_pairs(session, scope, settings)]


def ids(*pairs: PairRow) -> set[str]:
    return {row.id for row in pairs}


def test_each_scope_trains_on_its_own_and_on_nobody_elses(database: Database) -> None:
    file, hand = pair(), pair(origin="edited", seen_draft=True)
    public, other = chat_pair(), chat_pair(channel="C2")
    private = chat_pair(channel="P1", public=False)
    away = chat_pair(workspace="T2")
    discord = chat_pair(platform="discord")
    kept = {row.id: row for row in (file, hand, public, other, private, away, discord)}
    expected = {
        "default": ids(file, hand),
        "slack:T1": ids(public, other),
        "slack:T1/C1": ids(public),
        "slack:T1/C2": ids(other),
        "slack:T1/P1": ids(private),
        "slack:T2": ids(away),
        "discord:T1": ids(discord),
        "slack:T9": set(),
    }
    opened = ids(file, hand, public, other, away, discord)
    keep(database, *kept.values())
    allow(database)
    for scope, wanted in expected.items():
        assert trains(database, scope) == wanted, scope
    assert trains(database, "default", OPEN) == opened
    assert left_out(database, "slack:T1") == {"private": 1}
    assert left_out(database, "default", OPEN) == {}, "private ones are none of its business, not even in its counts"
    with database.read() as session:
        assert selection.trainable_scopes(session, SETTINGS) == [
            "default", "discord:T1", "slack:T1", "slack:T1/P1", "slack:T2",
        ]  # fmt: skip


@one_database
def test_direct_messages_train_nothing_in_any_scope(database: Database) -> None:
    made = [chat_pair(direct=True, public=public) for public in (True, False)]
    made.append(pair(direct=True))
    keep(database, *made)
    allow(database)
    for scope in ("slack:T1", "slack:T1/C1", "default"):
        for settings in (SETTINGS, OPEN):
            assert trains(database, scope, settings) == set()
    assert left_out(database, "slack:T1/C1") == {"direct": 2}
    with database.read() as session:
        assert selection.trainable_scopes(session, OPEN) == []
    assert corrected(database, conversation(direct=True, public=False)).pair is None


def test_nothing_of_a_platform_trains_before_it_is_authorised_nor_after_that_ends(database: Database) -> None:
    chat, brought = chat_pair(), chat_pair(origin="imported")
    held = chat_pair(split="heldout")
    made = ids(chat, brought)
    one, other, out = brought.id, chat.id, held.id
    keep(database, chat, brought, held, chat_pair(platform="discord"))
    assert trains(database, "slack:T1") == {one}, "its importer answers for it"
    assert left_out(database, "slack:T1") == {"unauthorised": 2}
    assert measures(database, "slack:T1") == []
    allow(database, "slack")
    assert trains(database, "slack:T1") == made == {one, other}
    assert left_out(database, "slack:T1") == {"heldout": 1}
    assert trains(database, "discord:T1") == set(), "that of one platform is none of another's"
    assert measures(database, "slack:T1") == [out]
    revoke(database, platform="slack", by="local:maria", now=NOW + timedelta(days=1))
    assert trains(database, "slack:T1") == {one}
    assert left_out(database, "slack:T1") == {"unauthorised": 2}
    with database.read() as session:
        assert selection.trainable_scopes(session, SETTINGS) == ["slack:T1"]


def test_what_is_replaced_waits_was_rejected_or_is_on_no_side_never_trains_and_is_counted(database: Database) -> None:
    good = pair()
    wanted = ids(good)
    keep(
        database, good, pair(superseded_by="x"), pair(state="pending", decided_at=None), pair(state="rejected"),
        pair(split="heldout"), pair(split="heldout"), pair(split="bridge"), pair(split="bridge", state="pending"),
    )  # fmt: skip
    assert trains(database, "default") == wanted
    assert left_out(database, "default") == {
        "superseded": 1, "rejected": 1, "pending": 2, "heldout": 2, "bridge": 1,
    }  # fmt: skip
    assert set(selection.REASONS) >= set(left_out(database, "default"))


def test_what_is_held_out_is_measured_on_newest_first_and_only_if_it_may_be_used(database: Database) -> None:
    old, new = (pair(split="heldout", created_at=NOW + timedelta(days=day)) for day in (0, 1))
    wanted = [new.id, old.id]
    keep(
        database, old, new, pair(), pair(split="bridge"), pair(split="heldout", state="pending"),
        pair(split="heldout", state="rejected"), pair(split="heldout", superseded_by="x"),
        chat_pair(split="heldout", public=False),
    )  # fmt: skip
    allow(database)
    assert measures(database, "default") == wanted
    assert measures(database, "slack:T1") == []
    assert len(measures(database, "slack:T1/C1")) == 1


@one_database
def test_the_order_and_the_hash_depend_on_what_is_in_the_pairs_alone(database: Database) -> None:
    made = [pair() for _ in range(9)]
    shuffled = random.Random(1).sample(made, 9)
    wanted = [row.id for row in sorted(made, key=lambda row: row.content_hash)]
    before = selection.data_hash(made)
    assert selection.data_hash(shuffled) == before and len(before) == 64
    keep(database, *shuffled)
    with database.read() as session:
        found = selection.training_pairs(session, "default", SETTINGS).pairs
    assert [row.id for row in found] == wanted
    assert selection.data_hash(found) == before
    for changed in (found[1:], [*found, pair()], [*found[1:], found[0].model_copy(update={"style": "brief"})]):
        assert selection.data_hash(changed) != before
    assert selection.data_hash([row.model_copy(update={"decided_by": "x"}) for row in found]) == before


def test_new_pairs_are_those_that_were_approved_since(database: Database) -> None:
    last = NOW - timedelta(days=1)
    keep(database, pair(decided_at=last), pair(), pair(split="heldout"), pair(state="rejected"), chat_pair())
    with database.read() as session:
        assert selection.new_pairs(session, "default", SETTINGS, None) == 2
        assert selection.new_pairs(session, "default", SETTINGS, last) == 1
        assert selection.new_pairs(session, "default", SETTINGS, NOW) == 0
        assert selection.new_pairs(session, "default", OPEN, None) == 2, "Slack is not authorised"
    allow(database)
    with database.read() as session:
        assert selection.new_pairs(session, "default", OPEN, None) == 3


def test_a_correction_that_was_approved_trains_its_workspace_and_what_it_replaced_does_not(database: Database) -> None:
    allow(database)
    made = [corrected(database).pair for _ in range(8)]
    pairs = [row for row in made if row]
    approve(database, pair_ids=[row.id for row in pairs], by="local:maria")
    sides = {row.id: row.split for row in pairs}
    assert trains(database, "slack:T1") == {name for name, side in sides.items() if side == "train"}
    assert set(measures(database, "slack:T1")) == {name for name, side in sides.items() if side == "heldout"}
    assert [line.action for line in show(database).lines].count("pair.approved") == 8


def test_a_run_loses_a_pair_to_a_decision_or_to_the_law_and_not_to_a_pair_that_replaced_it(database: Database) -> None:
    good, lost, away = chat_pair(), chat_pair(), chat_pair(platform="discord", channel="C9")
    mine = {row.id: row for row in (good, lost)}
    name, before = lost.id, lost.model_dump()
    keep(database, good, lost, away)
    allow(database)
    making.run(database, "run-1", scope="slack:T1")
    making.run(database, "run-2", scope="discord:T1")
    with database.write() as session:
        run_queries.add_run_pairs(session=session, run_id="run-1", roles=[(one, "train") for one in mine])
        run_queries.add_run_pairs(session=session, run_id="run-2", roles=[(away.id, "train")])

    def lost_to(**change: object) -> bool:
        with database.write() as session:
            row = session.get(PairRow, name)
            assert row is not None
            for column, value in (before | change).items():
                setattr(row, column, value)
            session.flush()
            return selection.taken_back(session, "run-1", "slack:T1", SETTINGS)

    assert not lost_to()
    assert not lost_to(superseded_by="x")
    for change in (
        {"state": "rejected"}, {"state": "pending"}, {"split": "heldout"}, {"public": False}, {"direct": True},
        {"superseded_by": "x", "state": "rejected"},
    ):  # fmt: skip
        assert lost_to(**change), change
    assert not lost_to()
    revoke(database, platform="discord", by="local:maria", now=NOW)
    with database.write() as session:
        assert not selection.taken_back(session, "run-1", "slack:T1", SETTINGS)
        assert selection.taken_back(session, "run-2", "discord:T1", SETTINGS)
        session.delete(session.get(PairRow, name))
        session.flush()
        assert selection.taken_back(session, "run-1", "slack:T1", SETTINGS)


@one_database
@pytest.mark.parametrize("scope", ["", "everywhere", "slack:", "slack:T1/", "mattermost:T1"])
def test_what_is_no_scope_is_refused(database: Database, scope: str) -> None:
    with database.read() as session, pytest.raises(InputError, match="is no scope"):
        selection.training_pairs(session, scope, SETTINGS)
