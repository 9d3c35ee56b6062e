"""Votes: which of several summaries a person preferred, kept by adapter. They decide nothing; the gate does.

A vote holds neither the conversation nor a text, and its voter as the ledger calls them: an erasure of a person or of a
conversation finds nothing in it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.learning.ledger import pseudonym
from storage import console_queries as queries
from storage.errors import InputError
from storage.learning_tables import VoteRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from storage.database import Database


@dataclass(frozen=True, slots=True)
class Tally:
    """How often a system was preferred, of the votes that it was in; ``blind`` counts the blind ones of those."""

    system: str
    preferred: int
    votes: int
    blind: int


def vote(
    database: Database,
    *,
    by: str,
    scope: str,
    systems: Sequence[str],
    preferred: str,
    blind: bool,
    now: datetime | None = None,
) -> VoteRow:
    """Keep a vote.

    Args:
        systems: what was compared: adapters' ids, and ``base``.
        preferred: one of them, or empty where none was better.

    Raises:
        InputError: fewer than two were compared, or what is preferred was not among them.
        StorageError: it could not be stored.
    """
    if len(set(systems)) < 2:
        raise InputError("There is nothing to choose between.", "Compare two systems that are not the same.")
    if preferred and preferred not in systems:
        raise InputError(f"{preferred[:40]} was not compared.")
    with database.write() as session:
        row = VoteRow(
            id=uuid.uuid4().hex,
            at=(now or datetime.now(UTC)).astimezone(UTC),
            voter=pseudonym(session, by),
            scope=scope,
            blind=blind,
            systems=list(dict.fromkeys(systems)),
            preferred=preferred,
        )
        session.add(row)
    return row


def tally(session: Session, *, among: Sequence[str] = ()) -> list[Tally]:
    """How systems fared, the one that was preferred most often first.

    Args:
        among: only votes in which all of these were compared.
    """
    found: dict[str, list[int]] = {}
    for row in queries.votes(session=session):
        if not set(among) <= set(row.systems):
            continue
        for system in row.systems:
            counts = found.setdefault(str(system), [0, 0, 0])
            counts[0] += row.preferred == system
            counts[1] += 1
            counts[2] += row.blind
    tallied = [Tally(system, *counts) for system, counts in found.items()]
    return sorted(tallied, key=lambda one: (-one.preferred, -one.votes, one.system))
