"""What only a console asks of the tables: counts at a glance, and how summaries were received day by day.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, select
from sqlmodel import Session, col

from storage.learning_tables import AlertRow, PairRow, VoteRow
from storage.tables import SummaryRow
from storage.watch_queries import corrected, thumbed


def waiting_pairs(*, session: Session) -> int:
    """Pairs that wait for a decision."""
    return session.scalar(select(func.count()).select_from(PairRow).where(col(PairRow.state) == "pending")) or 0


def standing_alerts(*, session: Session) -> int:
    """Alerts that were not cleared."""
    return session.scalar(select(func.count()).select_from(AlertRow).where(col(AlertRow.cleared_at).is_(None))) or 0


@dataclass(frozen=True, slots=True)
class Day:
    """How the summaries of one day (UTC) were received."""

    day: date
    summaries: int
    corrected: int
    thumbs_up: int
    thumbs_down: int


def by_day(*, session: Session, since: datetime) -> list[Day]:
    """Days since a time that have summaries, in order."""
    at: Any = col(SummaryRow.created_at)
    if session.get_bind().dialect.name == "postgresql":
        day = func.to_char(func.timezone("UTC", at), "YYYY-MM-DD")
    else:
        day = func.substr(at, 1, 10)

    def how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    query = (
        select(day, func.count(), how_many(corrected()), how_many(thumbed("up")), how_many(thumbed("down")))
        .where(col(SummaryRow.created_at) >= since)
        .group_by(day)
        .order_by(day)
    )
    return [
        Day(date.fromisoformat(str(name)), int(count), int(fixed), int(up), int(down))
        for name, count, fixed, up, down in session.execute(query)
    ]


def votes(*, session: Session) -> Sequence[VoteRow]:
    """All votes, oldest first."""
    return session.scalars(select(VoteRow).order_by(col(VoteRow.at), col(VoteRow.id))).all()
