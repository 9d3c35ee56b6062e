"""Retention: conversations go some days after they were last read, with everything under them.

What runs it and when is the scheduler's business. It knows only dates; what a training pair still needs is excepted
by :func:`storage.queries.delete_expired`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from storage import queries
from storage.database import Database
from storage.settings import StorageSettings

JOB = "retention"
#: Conversations in one transaction, so that nobody who writes waits for the whole of it.
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Retention:
    """What went: conversations, and copies of the database that still held such."""

    conversations: int
    copies: int


def enforce(database: Database, settings: StorageSettings, now: datetime) -> Retention:
    """Delete what is older than ``RETENTION_DAYS``; safe to repeat and to interrupt.

    Args:
        now: the present time (aware).

    Raises:
        StorageError: the database cannot be used; what went before that stays gone.
    """
    before = now - timedelta(days=settings.retention_days)
    gone = 0
    while True:
        with database.write() as session:
            batch = queries.delete_expired(session=session, before=before, limit=_BATCH)
        gone += batch
        if batch < _BATCH:
            break
    if gone:
        database.truncate_log()
    return Retention(gone, _delete_copies(database, before))


def enforce_slot(database: Database, settings: StorageSettings, *, slot: str, now: datetime) -> Retention | None:
    """:func:`enforce` once for a due time; None where it was worked off before, here or by another process.

    The due time is recorded at the end, so that a job that died on the way is done again. Two at once do no harm.

    Args:
        slot: which due time, as the scheduler names it.
    """
    with database.read() as session:
        if queries.job_recorded(session=session, job=JOB, slot=slot):
            return None
    done = enforce(database, settings, now)
    with database.write() as session:
        queries.record_job(session=session, job=JOB, slot=slot, started=now, finished=now)
        queries.delete_old_slots(session=session, job=JOB, before=now - timedelta(days=settings.retention_days))
    return done


def _delete_copies(database: Database, before: datetime) -> int:
    """Copies made before an upgrade hold the conversations of their day, and follow the same rule."""
    gone = 0
    for path in database.home.copies.glob("*.db"):
        try:
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                path.unlink()
                gone += 1
        except FileNotFoundError:
            continue
    return gone
