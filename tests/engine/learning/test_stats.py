"""What a scope's gate still lacks, when it can decide, and what trains and what does not."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import delete

from engine.learning import selection
from engine.learning.authorisation import authorise
from engine.learning.settings import LearningSettings
from engine.learning.stats import ScopeStats, stats
from storage.database import Database
from storage.learning_tables import AuthorisationRow, PairRow
from tests.engine.learning.pairing import NOW, SETTINGS, chat_pair, keep, one_database, pair

OPEN = LearningSettings(train_default_takes_workspaces=True)


def told(database: Database, settings: LearningSettings = SETTINGS) -> dict[str, ScopeStats]:
    with database.read() as session:
        return {one.scope: one for one in stats(session, settings, now=NOW)}


def held(days_ago: float, count: int = 1, **told: Any) -> list[PairRow]:
    return [pair(**({"split": "heldout", "created_at": NOW - timedelta(days=days_ago)} | told)) for _ in range(count)]


def allow(database: Database) -> None:
    authorise(database, platform="slack", authorised_by="Ana Ruiz", basis="consent", by="local:maria", now=NOW)


def test_an_empty_database_lacks_all_sixty_and_nothing_comes(database: Database) -> None:
    found = told(database)
    assert list(found) == ["default"]
    one = found["default"]
    assert (one.pairs, one.trainable, one.lacking, one.per_day, one.decides_on) == (0, 0, 60, 0, None)
    assert one.sentence == "The gate lacks 60 blind references of 60; none came in the last 30 days."


def test_at_the_present_rate_it_can_decide_on_a_day(database: Database) -> None:
    keep(database, *held(40, 6), *held(29, 10), *held(1, 20), *(pair(split="train") for _ in range(5)))
    one = told(database)["default"]
    assert (one.blind, one.lacking, one.per_day) == (36, 24, 1.0)
    assert one.decides_on == date(2026, 4, 22) == (NOW + timedelta(days=24)).date()
    assert one.sentence == "The gate lacks 24 blind references of 60; at 1.0 a day it can decide on 2026-04-22."


def test_in_a_young_scope_the_rate_is_that_of_its_own_days(database: Database) -> None:
    keep(database, pair(created_at=NOW - timedelta(days=4)), *held(2, 20))
    one = told(database)["default"]
    assert (one.per_day, one.decides_on) == (5.0, (NOW + timedelta(days=8)).date())


@one_database
def test_nobody_is_told_a_day_that_is_years_away(database: Database) -> None:
    keep(database, *held(400), *held(20, 1))
    one = told(database)["default"]
    assert one.per_day > 0 and one.decides_on == (NOW + timedelta(days=58 * 30)).date()
    keep(database, *(pair(split="train", created_at=NOW - timedelta(days=900)) for _ in range(3)))
    assert told(database)["default"].decides_on == one.decides_on, "only the last thirty days count"


def test_what_waits_is_enough_where_it_is_as_many(database: Database) -> None:
    keep(database, *held(9, 50), *held(3, 10, state="pending", decided_at=None))
    one = told(database)["default"]
    assert (one.blind, one.waiting, one.lacking) == (50, 10, 10)
    assert one.sentence == "The gate lacks 10 blind references of 60; as many wait for approval."


def test_with_sixty_it_can_decide_today(database: Database) -> None:
    keep(database, *held(50, 61))
    one = told(database)["default"]
    assert (one.lacking, one.decides_on) == (0, NOW.date())
    assert one.sentence == "The gate can decide: 61 held-out conversations have a blind reference."


def test_conversations_count_once_and_only_with_a_blind_reference_that_stands(database: Database) -> None:
    keep(
        database,
        *held(1, 3, conversation_key="same"),
        *held(1, 1, conversation_key="same", state="pending"),
        *held(1, 2, conversation_key="waits", state="pending"),
        *held(1, origin="edited", seen_draft=True),
        *held(1, state="rejected"),
        *held(1, superseded_by="x"),
        *held(1, split="bridge"),
        *held(1, origin="case"),
    )
    one = told(database)["default"]
    assert (one.blind, one.waiting) == (2, 1), "the one, and the case"
    assert one.per_day == 3.0


def test_every_scope_is_told_apart_with_what_it_leaves_out(database: Database) -> None:
    keep(
        database, pair(), chat_pair(), chat_pair(split="heldout"), chat_pair(channel="P", public=False),
        chat_pair(state="pending"), chat_pair(workspace="T2", superseded_by="x"),
    )  # fmt: skip
    found = told(database)
    assert list(found) == ["default", "slack:T1", "slack:T1/P", "slack:T2"]
    team = found["slack:T1"]
    assert (team.pairs, team.trainable, team.authorised) == (3, 0, False)
    assert team.left_out == {"unauthorised": 3, "private": 1}
    assert (team.blind, found["default"].trainable, found["default"].authorised) == (0, 1, True)
    allow(database)
    team = told(database)["slack:T1"]
    assert (team.trainable, team.blind, team.authorised) == (1, 1, True)
    assert (team.states, team.splits) == ({"approved": 2, "pending": 1}, {"train": 2, "heldout": 1})
    assert team.left_out == {"private": 1, "heldout": 1, "pending": 1}
    assert told(database, OPEN)["default"].pairs == 5


_ANY = st.fixed_dictionaries(
    {
        "platform": st.sampled_from(["file", "slack"]),
        "channel": st.sampled_from(["C1", "P1"]),
        "public": st.booleans(),
        "direct": st.booleans(),
        "state": st.sampled_from(["pending", "approved", "rejected"]),
        "split": st.sampled_from(["train", "heldout", "bridge"]),
        "origin": st.sampled_from(["edited", "blind", "imported", "case"]),
        "superseded_by": st.sampled_from(["", "", "x"]),
    }
)


@one_database
@examples(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=st.lists(_ANY, max_size=12), allowed=st.booleans(), opened=st.booleans())
def test_what_is_counted_is_what_a_run_and_a_gate_would_take(
    database: Database, made: list[dict[str, Any]], allowed: bool, opened: bool
) -> None:
    """The counts, which an index answers, and the rows, which queries of their own pick, never say different things."""
    with database.write() as session:
        for table in (PairRow, AuthorisationRow):
            session.execute(delete(table))
    keep(database, *(chat_pair(**one, workspace="T1" if one["platform"] == "slack" else "") for one in made))
    if allowed:
        allow(database)
    settings = OPEN if opened else SETTINGS
    for scope, one in told(database, settings).items():
        with database.read() as session:
            chosen = selection.training_pairs(session, scope, settings)
            measured = selection.heldout_pairs(session, scope, settings)
            assert one.trainable == len(chosen.pairs) == selection.new_pairs(session, scope, settings, None)
        assert one.left_out == chosen.left_out
        assert all(row.split == "train" and row.state == "approved" and not row.direct for row in chosen.pairs)
        assert not {row.id for row in chosen.pairs} & {row.id for row in measured}
        assert one.blind == len({row.conversation_key for row in measured if row.origin != "edited"})
        assert (scope in trainable(database, settings)) == bool(one.trainable)


def trainable(database: Database, settings: LearningSettings) -> list[str]:
    with database.read() as session:
        return selection.trainable_scopes(session, settings)
