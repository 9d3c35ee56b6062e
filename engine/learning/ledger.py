"""The ledger: who did what, in an append-only chain of hashes; its head is also kept outside the database.

A rule that changes something opens :func:`recorded` in place of ``Database.write`` and says there what was done: the
change and its line are one transaction. Lines hold ids, counts and reasons, never what people wrote in conversations.
Who did it stands there as a pseudonym, made with a key of that person's own; an erasure destroys the key.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, text
from sqlmodel import Session, col

from storage.database import Database
from storage.home import Home
from storage.learning_tables import LedgerRow, PersonKeyRow

#: What the first line's ``previous`` says.
GENESIS = "0" * 64
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
        """
        self._serialise()
        last = self._session.scalars(select(LedgerRow).order_by(col(LedgerRow.seq).desc()).limit(1)).first()
        row = LedgerRow(
            seq=last.seq + 1 if last else 1,
            at=(now or datetime.now(UTC)).astimezone(UTC),
            actor=pseudonym(self._session, by),
            action=action,
            subject=subject,
            # As it comes back from the database: what is hashed is what will be read.
            details=json.loads(json.dumps(dict(details or {}))),
            previous=last.hash if last else GENESIS,
            hash="",
        )
        row.hash = hash_of(row)
        self._session.add(row)
        self._session.flush()
        return row

    def _serialise(self) -> None:
        """SQLite's writers come one at a time anyhow; PostgreSQL's wait here until the other has committed."""
        if not self._locked and self._session.get_bind().dialect.name == "postgresql":
            self._session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        self._locked = True


@contextmanager
def recorded(database: Database) -> Iterator[tuple[Session, Ledger]]:
    """A writing transaction whose lines of the ledger are witnessed outside the database once it is committed.

    Raises:
        StorageError: the database cannot be used or written; nothing was stored.
    """
    with database.write() as session:
        yield session, Ledger(session)
    witness(database)


def witness(database: Database) -> None:
    """Append the chain's head to ``ledger.heads`` unless it is there already; harmless when repeated."""
    with database.read() as session:
        head = session.scalars(select(LedgerRow).order_by(col(LedgerRow.seq).desc()).limit(1)).first()
    if head is None:
        return
    line = f"{head.seq} {head.hash}\n"
    handle = os.open(heads_file(database.home), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        size = os.fstat(handle).st_size
        if os.pread(handle, len(line), max(0, size - len(line))).decode("ascii", "replace") != line:
            os.write(handle, line.encode("ascii"))
            os.fsync(handle)
    finally:
        os.close(handle)


def heads_file(home: Home) -> Any:
    """Where the heads are kept: lines of ``seq hash``, oldest first."""
    return home.root / "ledger.heads"


def hash_of(row: LedgerRow) -> str:
    """SHA-256 of a line's canonical JSON, the hash of the line before included."""
    document = {
        "seq": row.seq,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "details": row.details,
        "previous": row.previous,
    }
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()


def pseudonym(session: Session, person: str) -> str:
    """The person's name in the ledger; their key is made when they first do something. ``redraft`` stands as it is."""
    if person == "redraft":
        return person
    row = session.get(PersonKeyRow, person)
    if row is None:
        row = PersonKeyRow(person=person, key=secrets.token_hex(16))
        session.add(row)
        session.flush()
    return pseudonym_of(person, row.key)


def pseudonym_of(person: str, key: str) -> str:
    """``p-`` and 16 hexadecimal digits."""
    return "p-" + hmac.new(bytes.fromhex(key), person.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:16]
