"""The ledger: who did what, in an append-only chain of hashes; its head is also kept outside the database.

A rule that changes something opens :func:`recorded` in place of ``Database.write`` and says there what was done: the
change and its line are one transaction. Lines hold ids, counts and reasons, never what people wrote in conversations.
Who did it stands there as a pseudonym, made with a key of that person's own; an erasure destroys the key. How the
chain is read and held against its heads is :mod:`engine.learning.ledger_check`'s business; ``docs/security.md`` says
what that finds and what it cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import text
from sqlmodel import Session

from engine.learning import heads
from storage import ledger_queries as queries
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import LedgerRow, PersonKeyRow
from storage.types import storable

#: What the first line's ``previous`` says.
GENESIS = "0" * 64
#: The program itself, where no person did it.
PROGRAM = "redraft"
#: Any number of our own; PostgreSQL's advisory locks are named by one.
_ADVISORY_LOCK = 7_236_451_909


class Ledger:
    """The ledger as one transaction may write it; see :func:`recorded`.

    Args:
        session: a writing transaction of the database.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._locked = False

    def append(
        self,
        action: str,
        *,
        by: str,
        subject: str = "",
        details: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> LedgerRow:
        """Add a line; it is there when the transaction is committed.

        Args:
            action: what was done, as ``adapter.promoted`` or ``pairs.imported``.
            by: who did it: ``local:maria``, ``slack:U01AB``, or ``redraft`` for the program itself.
            subject: the id of what it was done to; never a person's.
            details: JSON-serialisable; no text from conversations, summaries or corrections.

        Raises:
            StorageError: another process has been changing something for too long.
            ValueError: a figure in the details is not a number, which JSON has no word for.
        """
        self.serialise()
        last = queries.newest(session=self._session)
        row = LedgerRow(
            seq=last[0] + 1 if last else 1,
            at=(now or datetime.now(UTC)).astimezone(UTC),
            actor=pseudonym(self._session, by),
            # What is hashed is what will be read: as it comes back from the database.
            action=storable(action),
            subject=storable(subject),
            details=json.loads(json.dumps(dict(details or {}), allow_nan=False)),
            previous=last[1] if last else GENESIS,
            hash="",
        )
        row.hash = hash_of(row)
        self._session.add(row)
        self._session.flush()
        return row

    def serialise(self) -> None:
        """Let nobody else write lines until this transaction ends; SQLite's writers come one at a time anyhow."""
        if not self._locked and self._session.get_bind().dialect.name == "postgresql":
            self._session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        self._locked = True


@contextmanager
def recorded(database: Database) -> Iterator[tuple[Session, Ledger]]:
    """A writing transaction whose lines of the ledger are witnessed outside the database once it is committed.

    Such transactions come one at a time on both databases, from their beginning: what a rule has looked up in one
    stays so until its end, and two of them never wait for each other.

    Raises:
        StorageError: the database cannot be used or written; nothing was stored.
    """
    with database.write() as session:
        ledger = Ledger(session)
        ledger.serialise()
        yield session, ledger
    witness(database)


def opened(database: Database, *, conversation_id: str, by: str, why: str = "", now: datetime | None = None) -> None:
    """Record that a person opened a private conversation that they take no part in; call it before it is shown.

    Raises:
        StorageError: it could not be recorded; then it should not be shown.
    """
    with recorded(database) as (_session, ledger):
        details = {"why": why} if why else {}
        ledger.append("conversation.opened", by=by, subject=conversation_id, details=details, now=now)


def witness(database: Database) -> None:
    """Add the chain's head to ``ledger.heads`` unless it is there already; harmless when repeated.

    The rows are committed by now, so that nothing here fails: a head that could not be kept is kept with the next one,
    and until then the newest lines are told to be without a witness.
    """
    try:
        # The head is read while nobody else may add one, so that they stand in order.
        with heads.held(database.home):
            with database.read() as session:
                newest = queries.newest(session=session)
            if newest is not None:
                head = heads.Head(*newest)
                last = heads.last(database.home)
                if last is None or (last.seq, last.hash) != (head.seq, head.hash):
                    heads.add(database.home, head)
    except (OSError, StorageError) as error:
        structlog.get_logger("ledger").warning("head not kept", reason=type(error).__name__)


def hash_of(row: LedgerRow) -> str:
    """SHA-256 of a line's canonical JSON, the hash of the line before included."""
    return hash_of_values(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        action=row.action,
        subject=row.subject,
        details=row.details,
        previous=row.previous,
    )


def hash_of_values(*, at: datetime, **values: Any) -> str:
    """:func:`hash_of` for values that are in no row; ``at`` is aware."""
    document = {**values, "at": at.astimezone(UTC).isoformat(timespec="microseconds")}
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def pseudonym(session: Session, person: str) -> str:
    """The person's name in the ledger; their key is made when they first do something. ``redraft`` stands as it is."""
    if person == PROGRAM:
        return person
    person = storable(person)
    row = session.get(PersonKeyRow, person)
    if row is None:
        row = PersonKeyRow(person=person, key=secrets.token_hex(16))
        session.add(row)
        session.flush()
    return pseudonym_of(person, row.key)


def pseudonym_of(person: str, key: str) -> str:
    """``p-`` and 16 hexadecimal digits."""
    return "p-" + hmac.new(bytes.fromhex(key), person.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]


def person_of(session: Session, name: str) -> str:
    """Whom a pseudonym stands for; empty where their key was erased."""
    if name == PROGRAM:
        return name
    return next((row.person for row in queries.keys(session=session) if pseudonym_of(row.person, row.key) == name), "")
