"""Retention: conversations go some days after they were last read, with everything under them.

What runs it and when is the scheduler's business. It spares the conversations that a training pair needs, waiting or
approved, held out or not. Those of rejected pairs go, but for pairs that an adapter learnt from whose files are still
there: by these an erasure finds the adapter. Summaries with their thumbs and corrections go where nothing became a
pair. Copies of the database, and what a killed restore left, go as many days after they were made: a conversation can
so be in a copy, which holds those of its day, for up to twice as long as in the database.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from storage import queries
from storage.database import Database
from storage.errors import StorageError
from storage.home import Home
from storage.settings import StorageSettings

JOB = "retention"
#: Conversations in one transaction, so that nobody who writes waits for the whole of it.
_BATCH = 200


@dataclass(frozen=True, slots=True)
class Retention:
    """What went: conversations, and copies of the database that held such (with each file that belongs to one)."""

    conversations: int
    copies: int


def enforce(database: Database, settings: StorageSettings, now: datetime) -> Retention:
    """Delete what is older than ``RETENTION_DAYS``; safe to repeat and to interrupt.

    Args:
        now: the present time (aware).

    Raises:
        StorageError: the database cannot be used, or a copy cannot be deleted; what went before that stays gone.
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
    return Retention(gone, _delete_copies(database.home, before))


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


def _delete_copies(home: Home, before: datetime) -> int:
    """Delete what was copied before a moment; one that cannot be deleted keeps no other from going."""
    gone = 0
    failed: tuple[Path, OSError] | None = None
    for path in _copies(home):
        try:
            if datetime.fromtimestamp(path.lstat().st_mtime, UTC) >= before:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
            gone += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            failed = path, error
    if failed is not None:
        kept, cause = failed
        raise StorageError(
            f"The old copy {kept} of the database cannot be deleted ({cause.strerror or type(cause).__name__}).",
            "Correct its owner or permissions, or delete it by hand.",
        ) from cause
    return gone


def _copies(home: Home) -> Iterator[Path]:
    """Everything in ``copies/``, and the directories of restores, which remove them unless they are killed."""
    yield from home.copies.glob("*")
    yield from home.root.glob(".restore-*")
