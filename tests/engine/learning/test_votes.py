"""Votes are kept by system, name nobody, and are counted."""

from __future__ import annotations

import pytest

from engine.learning.votes import Tally, tally, vote
from storage.console_queries import votes
from storage.database import Database
from storage.errors import InputError


def test_votes_are_counted_for_each_system_that_was_compared(database: Database) -> None:
    for preferred, blind in (("a1", True), ("a1", False), ("base", True), ("", True)):
        vote(database, by="local:ana", scope="default", systems=["base", "a1"], preferred=preferred, blind=blind)
    vote(database, by="local:ben", scope="default", systems=["base", "a2"], preferred="a2", blind=True)
    with database.read() as session:
        assert tally(session) == [Tally("a1", 2, 4, 3), Tally("base", 1, 5, 4), Tally("a2", 1, 1, 1)]
        assert tally(session, among=["a2"]) == [Tally("a2", 1, 1, 1), Tally("base", 0, 1, 1)]
        voters = [row.voter for row in votes(session=session)]
    assert all(voter.startswith("p-") for voter in voters)


@pytest.mark.parametrize(("systems", "preferred"), [(["base"], "base"), (["base", "base"], ""), (["base", "a"], "b")])
def test_vote_for_nothing_that_was_compared_is_refused(database: Database, systems: list[str], preferred: str) -> None:
    with pytest.raises(InputError):
        vote(database, by="local:ana", scope="default", systems=systems, preferred=preferred, blind=True)
