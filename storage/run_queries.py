"""Queries on fine-tunes: runs, their progress, their pairs. They know no rule and take the caller's session."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import exists, func, insert, select
from sqlmodel import Session, col

from storage.learning_tables import AdapterRow, PairRow, RunPairRow, RunProgressRow, RunRow
from storage.pair_filters import Within, permitted

#: A run in one of these has not ended.
OPEN = ("queued", "running")
_PARTS = 500


def runs(*, session: Session, scope: str | None = None, limit: int | None = None) -> Sequence[RunRow]:
    """Runs, the newest first."""
    query = select(RunRow).order_by(col(RunRow.created_at).desc(), col(RunRow.id).desc())
    if scope is not None:
        query = query.where(col(RunRow.scope) == scope)
    return session.scalars(query.limit(limit) if limit is not None else query).all()


def run_named(*, session: Session, name: str) -> Sequence[RunRow]:
    """The runs whose id begins with ``name``, two at most."""
    escaped = name.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    query = select(RunRow).where(col(RunRow.id).like(f"{escaped}%", escape="\\")).order_by(col(RunRow.id)).limit(2)
    return session.scalars(query).all()


def open_runs(*, session: Session, scope: str | None = None) -> Sequence[RunRow]:
    """Runs that have not ended, the oldest first."""
    query = select(RunRow).where(col(RunRow.state).in_(OPEN)).order_by(col(RunRow.created_at), col(RunRow.id))
    if scope is not None:
        query = query.where(col(RunRow.scope) == scope)
    return session.scalars(query).all()


def last_finished(*, session: Session, scope: str) -> datetime | None:
    """When the newest finished run of a scope was begun, whose pairs are those up to then."""
    query = select(func.max(RunRow.created_at)).where(col(RunRow.scope) == scope, col(RunRow.state) == "finished")
    found: datetime | None = session.scalars(query).one()
    return found


def adapter_of(*, session: Session, data_hash: str, settings_hash: str) -> AdapterRow | None:
    """The newest adapter that was made of these pairs with these settings."""
    query = (
        select(AdapterRow)
        .where(col(AdapterRow.data_hash) == data_hash, col(AdapterRow.settings_hash) == settings_hash)
        .order_by(col(AdapterRow.created_at).desc())
        .limit(1)
    )
    return session.scalars(query).first()


def add_run_pairs(*, session: Session, run_id: str, roles: Iterable[tuple[str, str]]) -> None:
    """Record which pairs a run is made of: ``(pair id, role)``."""
    rows = [{"run_id": run_id, "pair_id": pair, "role": role} for pair, role in roles]
    for at in range(0, len(rows), _PARTS):
        session.execute(insert(RunPairRow), rows[at : at + _PARTS])


def pairs_of_run(*, session: Session, run_id: str) -> list[tuple[PairRow, str]]:
    """The pairs of a run that are still there, with their roles, in a fixed order."""
    query = (
        select(PairRow, col(RunPairRow.role))
        .join(RunPairRow, col(RunPairRow.pair_id) == col(PairRow.id))
        .where(col(RunPairRow.run_id) == run_id)
        .order_by(col(PairRow.content_hash))
    )
    return [(row, role) for row, role in session.execute(query)]


def pairs_taken_back(*, session: Session, run_id: str, place: Within, authorised: Collection[str]) -> int:
    """How many pairs of a run its scope may not train on any more: gone, unapproved, held out, or not permitted.

    One that another pair has replaced since is none of them.
    """
    allowed = (
        permitted(place, authorised=authorised), col(PairRow.state) == "approved", col(PairRow.split) == "train",
    )  # fmt: skip
    still = exists().where(col(PairRow.id) == col(RunPairRow.pair_id), *allowed)
    query = select(func.count()).select_from(RunPairRow).where(col(RunPairRow.run_id) == run_id, ~still)
    return session.scalar(query) or 0


def add_progress(*, session: Session, rows: Iterable[RunProgressRow]) -> None:
    """Store points of a run's curves; a step that was done again after a resumption takes the place of the first."""
    for row in rows:
        session.merge(row)


def progress(*, session: Session, run_id: str, kind: str | None = None, after: int = -1) -> Sequence[RunProgressRow]:
    """Points of a run's curves beyond a step, in the order of the steps."""
    query = select(RunProgressRow).where(col(RunProgressRow.run_id) == run_id, col(RunProgressRow.step) > after)
    if kind is not None:
        query = query.where(col(RunProgressRow.kind) == kind)
    return session.scalars(query.order_by(col(RunProgressRow.step), col(RunProgressRow.kind))).all()


def adapters_in_use(*, session: Session) -> set[str]:
    """Ids of the adapters that serve or wait, whose runs' reports somebody may still want to read."""
    query = select(col(AdapterRow.id)).where(col(AdapterRow.state).in_(("active", "candidate")))
    return set(session.scalars(query))


def newest_loss(*, session: Session, run_id: str) -> float | None:
    """The loss of the newest step of a run."""
    query = (
        select(col(RunProgressRow.loss))
        .where(col(RunProgressRow.run_id) == run_id, col(RunProgressRow.kind) == "train")
        .order_by(col(RunProgressRow.step).desc())
        .limit(1)
    )
    return session.scalars(query).first()
