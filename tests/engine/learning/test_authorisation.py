"""Training on a platform's messages: who answers for it, on what basis, and until when."""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.learning.authorisation import authorisations, authorise, authorised, revoke
from engine.learning.ledger_check import show
from storage.database import Database
from storage.errors import InputError
from tests.engine.learning.pairing import NOW, one_database

ANA = {"authorised_by": "Ana Ruiz", "basis": "data agreement of 3 May"}


def in_force(database: Database) -> frozenset[str]:
    with database.read() as session:
        return authorised(session)


def test_an_authorisation_holds_for_its_platform_until_it_is_revoked_and_stays_on_record(database: Database) -> None:
    assert in_force(database) == frozenset()
    authorise(database, platform="slack", by="local:maria", now=NOW, **ANA)
    assert in_force(database) == {"slack"}
    ended = revoke(database, platform="slack", by="local:omar", now=NOW + timedelta(days=1))
    assert in_force(database) == frozenset()
    assert (ended.revoked_by, ended.revoked_at) == ("local:omar", NOW + timedelta(days=1))
    authorise(database, platform="slack", by="local:maria", now=NOW + timedelta(days=2), **ANA | {"basis": "a new one"})
    assert in_force(database) == {"slack"}
    with database.read() as session:
        rows = authorisations(session)
    assert [(row.basis, row.revoked_at is None) for row in rows] == [
        ("a new one", True), ("data agreement of 3 May", False),
    ]  # fmt: skip


def test_the_ledger_says_who_recorded_it_and_on_what_basis(database: Database) -> None:
    authorise(database, platform="discord", by="local:maria", now=NOW, **ANA)
    revoke(database, platform="discord", by="local:omar", now=NOW)
    lines = {line.action: line for line in show(database).lines}
    given, taken = lines["training.authorised"], lines["training.revoked"]
    assert (given.person, given.subject, given.details["basis"]) == ("local:maria", "discord", ANA["basis"])
    assert (taken.person, taken.subject) == ("local:omar", "discord")
    assert "Ruiz" not in str(given.details), "whose name can be erased stands there as a pseudonym"


@one_database
def test_what_says_nothing_is_refused_and_nothing_is_recorded(database: Database) -> None:
    for changed, sentence in (
        ({"platform": "teams"}, "no chat platform"),
        ({"authorised_by": " \u200b"}, "Who authorises it is missing"),
        ({"basis": "\n"}, "The basis is missing"),
        ({"basis": "x" * 2_001}, "longer than 2,000 characters"),
    ):
        with pytest.raises(InputError, match=sentence):
            authorise(database, **{"platform": "slack", "by": "local:maria", **ANA, **changed})
    with pytest.raises(InputError, match="is not authorised"):
        revoke(database, platform="slack", by="local:maria")
    assert not show(database).lines
    authorise(database, platform="slack", by="local:maria", **ANA)
    with pytest.raises(InputError, match="authorised already"):
        authorise(database, platform="slack", by="local:maria", **ANA)
    assert len(show(database).lines) == 1
