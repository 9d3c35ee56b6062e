"""What is asked of the ledger's tables, and nothing else; see :mod:`engine.learning.ledger` for what it means.

Every function takes the session of the caller's transaction and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select, text
from sqlmodel import Session, col

from storage.learning_tables import LedgerRow, PersonKeyRow

_CHUNK = 1000


def newest(*, session: Session) -> tuple[int, str] | None:
    """Number and hash of the newest line, or None where there is none."""
    found = session.execute(
        select(col(LedgerRow.seq), col(LedgerRow.hash)).order_by(col(LedgerRow.seq).desc()).limit(1)
    ).first()
    return (int(found[0]), str(found[1])) if found else None


def as_stored(*, session: Session) -> Iterator[dict[str, Any]]:
    """Every line in order, as the database's driver gives it: who altered a row may have left no time and no JSON."""
    names = ", ".join(column.name for column in LedgerRow.__table__.columns)  # type: ignore[attr-defined]
    statement = text(f"SELECT {names} FROM ledger ORDER BY seq")  # noqa: S608 - the columns' own names
    for row in session.execute(statement, execution_options={"yield_per": _CHUNK}).mappings():
        yield dict(row)


def lines(
    *,
    session: Session,
    actions: Collection[str] = (),
    actor: str | None = None,
    subject: str | None = None,
    since: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Sequence[LedgerRow]:
    """Lines, newest first.

    Args:
        actions: whole names (``adapter.promoted``) or what stands before the point (``adapter``); none is all.
        before: only lines with a smaller number; pages on from the last one's.
    """
    query = select(LedgerRow).order_by(col(LedgerRow.seq).desc()).limit(limit)
    if actions:
        name = col(LedgerRow.action)
        query = query.where(or_(*(or_(name == one, name.startswith(f"{one}.", autoescape=True)) for one in actions)))
    if actor is not None:
        query = query.where(col(LedgerRow.actor) == actor)
    if subject is not None:
        query = query.where(col(LedgerRow.subject) == subject)
    if since is not None:
        query = query.where(col(LedgerRow.at) >= since)
    if before is not None:
        query = query.where(col(LedgerRow.seq) < before)
    return session.scalars(query).all()


def count(*, session: Session) -> int:
    """How many lines there are."""
    return session.scalar(select(func.count()).select_from(LedgerRow)) or 0


def keys(*, session: Session) -> Sequence[PersonKeyRow]:
    """The keys of everybody who has one."""
    return session.scalars(select(PersonKeyRow)).all()
