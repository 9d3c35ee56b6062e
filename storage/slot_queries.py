"""Due times of jobs that several processes may want to work off, and that one of them shall.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlmodel import Session, col

from storage.learning_tables import RunRow
from storage.queries import _insert
from storage.tables import JobSlotRow


def claim(*, session: Session, job: str, slot: str, now: datetime, abandoned: datetime) -> bool:
    """Take a due time on oneself; False where somebody else has, or has worked it off.

    Args:
        abandoned: one that was taken before this time and never finished belongs to nobody any more.
    """
    row = {"job": job, "slot": slot, "started_at": now, "finished_at": None}
    first = session.scalars(
        _insert(session, JobSlotRow).on_conflict_do_nothing().returning(col(JobSlotRow.job)), [row]
    ).first()
    if first is not None:
        return True
    taken: Any = session.execute(
        update(JobSlotRow)
        .where(
            col(JobSlotRow.job) == job,
            col(JobSlotRow.slot) == slot,
            col(JobSlotRow.finished_at).is_(None),
            col(JobSlotRow.started_at) < abandoned,
        )
        .values(started_at=now)
    )
    return bool(taken.rowcount)


def finish(*, session: Session, job: str, slot: str, now: datetime) -> None:
    """Say that a due time was worked off."""
    session.execute(
        update(JobSlotRow).where(col(JobSlotRow.job) == job, col(JobSlotRow.slot) == slot).values(finished_at=now)
    )


def known_since(*, session: Session, job: str, slot: str, now: datetime) -> datetime:
    """When a slot of a job was first recorded, which is now where it was not; the job's other slots go."""
    session.execute(delete(JobSlotRow).where(col(JobSlotRow.job) == job, col(JobSlotRow.slot) != slot))
    row = {"job": job, "slot": slot, "started_at": now, "finished_at": now}
    session.execute(_insert(session, JobSlotRow).on_conflict_do_nothing(), [row])
    found = session.get(JobSlotRow, (job, slot), populate_existing=True)
    assert found is not None
    return found.started_at


def forget(*, session: Session, job: str, before: datetime, keep: str) -> None:
    """Delete the due times of a job, and of those named ``job:...``, that began before a time; but for one slot."""
    session.execute(
        delete(JobSlotRow).where(
            or_(col(JobSlotRow.job) == job, col(JobSlotRow.job).startswith(f"{job}:", autoescape=True)),
            col(JobSlotRow.started_at) < before,
            col(JobSlotRow.slot) != keep,
        )
    )


def run_exists(*, session: Session, scope: str, slot: str) -> bool:
    """Whether a slot has started a run in a scope."""
    query = select(col(RunRow.id)).where(col(RunRow.scope) == scope, col(RunRow.slot) == slot).limit(1)
    return session.scalars(query).first() is not None


def forget_known(*, session: Session, job: str) -> None:
    """Forget since when a job's slots are known: what came before the next look is then not owed."""
    session.execute(delete(JobSlotRow).where(col(JobSlotRow.job) == job))
