"""A pair is used until one that builds on it is approved, however that comes about and however it is undone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import delete, select

from engine.learning import selection
from engine.learning.erasure import forget
from engine.learning.pairs import approve, decide_matching, edit_pair, reject, reopen
from engine.learning.settings import LearningSettings
from engine.learning.stats import stats
from storage.database import Database
from storage.learning_tables import PairRow
from storage.pair_filters import PairFilter
from tests.engine.learning.pairing import BETTER, NOW, SETTINGS, chat_pair, corrected, keep, one_database
from tests.engine.learning.test_selection import allow, measures, trains

TRUSTING = LearningSettings(pairs_policy="trusted-authors", pairs_trusted_authors="slack:U7, slack:U8, slack:U9")
TEXTS = (
    BETTER,
    "Imke's deploy broke billing; Tariq put the old one back and wrote a ticket about it.",
    "An index was missing, so billing stood still until the release was undone. It is added on Monday.",
)


class Chain:
    """Corrections of one summary, each building on the one before."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.ids: list[str] = []
        self.last = ""
        self.summary = ""

    def add(self, *, settings: LearningSettings = SETTINGS, text: str = "", **told: Any) -> str:
        at = len(self.ids)
        done = corrected(
            self.database, summary_id=self.summary, builds_on=self.last, text=text or TEXTS[at],
            author_id=f"slack:U{7 + at}", now=NOW + timedelta(minutes=at), settings=settings, **told,
        )  # fmt: skip
        assert done.pair is not None
        self.last, self.summary = done.correction.id, done.correction.summary_id
        self.ids.append(done.pair.id)
        return done.pair.id

    def approve(self, *pairs: str) -> None:
        approve(self.database, pair_ids=pairs, by="local:ana", administrator=True)

    def reject(self, *pairs: str) -> None:
        reject(self.database, pair_ids=pairs, by="local:ana", reason="not so")

    @property
    def replaced(self) -> dict[str, str]:
        """Which pair is used in the place of which."""
        return replaced(self.database)


def replaced(database: Database) -> dict[str, str]:
    with database.read() as session:
        rows = session.scalars(select(PairRow)).all()
    return {row.id: row.superseded_by for row in rows if row.superseded_by}


@pytest.fixture
def chain(database: Database) -> Chain:
    return Chain(database)


@pytest.mark.parametrize("side", ["train", "heldout"])
def test_what_waits_takes_nothing_out_of_training_or_of_the_gate(database: Database, chain: Chain, side: str) -> None:
    allow(database)

    def used() -> set[str]:
        return trains(database, "slack:T1") if side == "train" else set(measures(database, "slack:T1"))

    first = chain.add()
    with database.write() as session:
        for row in session.scalars(select(PairRow)):
            row.split = side
        session.flush()
        session.connection().exec_driver_sql(f"UPDATE splits SET side = '{side}'")
    chain.approve(first)
    second = chain.add()
    assert used() == {first} and chain.replaced == {}
    with database.read() as session:
        told = {one.scope: one for one in stats(session, SETTINGS, now=NOW)}["slack:T1"]
    assert told.left_out.get("superseded", 0) == 0 and told.states == {"approved": 1, "pending": 1}
    chain.approve(second)
    assert used() == {second} and chain.replaced == {first: second}
    with database.read() as session:
        assert selection.training_pairs(session, "slack:T1", SETTINGS).left_out["superseded"] == 1


def test_a_rejected_newcomer_leaves_the_old_one_and_so_does_taking_its_approval_back(
    database: Database, chain: Chain
) -> None:
    first = chain.add()
    chain.approve(first)
    second = chain.add()
    chain.reject(second)
    assert chain.replaced == {}
    reopen(database, pair_id=second, by="local:ana")
    assert chain.replaced == {}
    chain.approve(second)
    assert chain.replaced == {first: second}
    reopen(database, pair_id=second, by="local:ana")
    assert chain.replaced == {}
    chain.approve(second)
    chain.reject(second)
    assert chain.replaced == {}


def test_of_two_that_wait_in_a_chain_the_last_one_approved_is_used_whichever_is_decided_first(chain: Chain) -> None:
    first = chain.add()
    chain.approve(first)
    second, third = chain.add(), chain.add()
    assert chain.replaced == {}
    chain.approve(third)
    assert chain.replaced == {first: third, second: third}
    chain.approve(second)
    assert chain.replaced == {first: third, second: third}
    chain.reject(third)
    assert chain.replaced == {first: second}
    chain.reject(second)
    assert chain.replaced == {}
    reopen(chain.database, pair_id=third, by="local:ana")
    chain.approve(third)
    assert chain.replaced == {first: third, second: third}, "over one that was rejected"


def _bulk(database: Database, first: str) -> str:
    second = edit_pair(database, SETTINGS, pair_id=first, text=TEXTS[1], by="slack:U2").id
    assert replaced(database) == {}
    assert decide_matching(database, wanted=PairFilter(), to="approved", by="local:ana", administrator=True) == 1
    return second


def _edited(database: Database, first: str) -> str:
    second = edit_pair(database, SETTINGS, pair_id=first, text=TEXTS[1], by="slack:U2").id
    assert replaced(database) == {}
    approve(database, pair_ids=[second], by="slack:U3")
    return second


def _trusted_edit(database: Database, first: str) -> str:
    return edit_pair(database, TRUSTING, pair_id=first, text=TEXTS[1], by="slack:U8").id


@pytest.mark.parametrize("how", [_bulk, _edited, _trusted_edit], ids=["bulk", "edit", "trusted edit"])
def test_an_approvers_edit_takes_the_place_once_it_is_approved(
    database: Database, chain: Chain, how: Callable[[Database, str], str]
) -> None:
    first = chain.add()
    chain.approve(first)
    assert chain.replaced == {}
    second = how(database, first)
    assert chain.replaced == {first: second}


def test_a_trusted_authors_correction_takes_the_place_at_once_over_one_that_waits(chain: Chain) -> None:
    first = chain.add()
    chain.approve(first)
    second = chain.add()
    third = chain.add(settings=TRUSTING)
    assert chain.replaced == {first: third, second: third}


def test_a_whole_filter_rejected_leaves_what_it_would_have_replaced(database: Database, chain: Chain) -> None:
    first = chain.add()
    chain.approve(first)
    chain.add()
    assert decide_matching(database, wanted=PairFilter(), to="rejected", by="local:ana", reason="all of it") == 1
    assert chain.replaced == {}


def test_whoever_goes_back_over_two_texts_to_the_first_has_that_one_used(chain: Chain) -> None:
    first, second, third = chain.add(), chain.add(), chain.add()
    chain.approve(first, second, third)
    assert chain.replaced == {first: third, second: third}
    assert chain.add(text=TEXTS[0]) == first
    assert chain.replaced == {second: first, third: first}
    chain.reject(first)
    assert chain.replaced == {second: third}


def test_where_an_erasure_takes_the_one_in_use_another_that_builds_on_the_same_is(
    database: Database, chain: Chain
) -> None:
    first = chain.add()
    begun = chain.last
    second = chain.add()
    chain.last = begun
    third = chain.add()
    chain.approve(first, second, third)
    assert chain.replaced == {first: third}
    forget(database, database.home, SETTINGS, user="slack:U9", by="local:ana")
    assert chain.replaced == {first: second}


@one_database
@examples(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    parents=st.lists(st.integers(0, 5), min_size=1, max_size=7),
    decisions=st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["approve", "reject", "bulk"])), max_size=10),
)
def test_after_any_decisions_just_those_with_an_approved_one_built_on_them_are_replaced(
    database: Database, parents: list[int], decisions: list[tuple[int, str]]
) -> None:
    with database.write() as session:
        session.execute(delete(PairRow))
    made: list[PairRow] = []
    for at, parent in enumerate(parents):
        before = made[parent].id if at and parent < at else ""
        moment = NOW + timedelta(minutes=at)
        made.append(chat_pair(state="pending", decided_at=None, supersedes=before, created_at=moment))
    above = {row.id: row.supersedes for row in made}
    names = list(above)
    keep(database, *made)
    for which, decision in decisions:
        name = names[which % len(names)]
        with database.read() as session:
            row = session.get(PairRow, name)
            assert row is not None
        if decision == "bulk":
            decide_matching(database, wanted=PairFilter(), to="approved", by="local:ana", administrator=True)
        elif row.state == "pending":
            if decision == "approve":
                approve(database, pair_ids=[name], by="local:ana", administrator=True)
            else:
                reject(database, pair_ids=[name], by="local:ana", reason="no")
        else:
            reopen(database, pair_id=name, by="local:ana")
        with database.read() as session:
            state = {row.id: row.state for row in session.scalars(select(PairRow))}
        expected: dict[str, str] = {}
        for late in names:
            at = above[late]
            while state[late] == "approved" and at:
                expected[at] = late
                at = above[at]
        # Of several in a family the last one that nothing approved builds on; `names` is in order of time.
        standing = {one for one in expected.values() if one not in expected}
        for early in expected:
            heirs = [one for one in names if one in standing and early in _before(one, above)]
            expected[early] = heirs[-1]
        assert replaced(database) == expected


def _before(name: str, above: dict[str, str]) -> set[str]:
    found = set()
    while name := above[name]:
        found.add(name)
    return found
