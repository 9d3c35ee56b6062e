"""What only a console asks of the tables: counts at a glance, and how summaries were received day by day.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlmodel import Session, col

from storage.learning_tables import AlertRow, PairRow, VoteRow
from storage.pair_filters import last_version
from storage.tables import ConversationRow, MessageRow, SummaryRow
from storage.watch_queries import corrected, thumbed


def waiting_pairs(*, session: Session) -> int:
    """Pairs that wait for a decision; of those that were edited meanwhile, the last version."""
    waits = (col(PairRow.state) == "pending", last_version())
    return session.scalar(select(func.count()).select_from(PairRow).where(*waits)) or 0


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


@dataclass(frozen=True, slots=True)
class ConversationLine:
    """A conversation as a list shows it."""

    id: str
    platform: str
    title: str
    workspace: str
    channel: str
    public: bool
    direct: bool
    read_at: datetime
    messages: int
    summaries: int
    pairs: int

    @property
    def private(self) -> bool:
        """Whether its text is covered until somebody opens it."""
        return self.platform != "file" and not self.public


def conversation_lines(
    *, session: Session, limit: int, ids: Sequence[str] | None = None, named: str = ""
) -> Sequence[ConversationLine]:
    """Conversations, the one that was read last first.

    Args:
        ids: only these.
        named: or those whose title or channel has this in it, whatever the case.
    """

    def how_many(table: Any) -> Any:
        mine = table.conversation_id == col(ConversationRow.id)
        return select(func.count()).select_from(table).where(mine).correlate(ConversationRow).scalar_subquery()

    columns = ("id", "platform", "title", "workspace", "channel", "public", "direct", "read_at")
    query = select(
        *(col(getattr(ConversationRow, name)) for name in columns),
        how_many(MessageRow),
        how_many(SummaryRow),
        how_many(PairRow),
    )
    if ids is not None or named:
        begins = [
            func.lower(column).contains(named.lower(), autoescape=True)
            for column in (col(ConversationRow.title), col(ConversationRow.channel), col(ConversationRow.id))
        ]
        query = query.where(or_(col(ConversationRow.id).in_(ids or ()), *(begins if named else ())))
    query = query.order_by(col(ConversationRow.read_at).desc(), col(ConversationRow.id)).limit(limit)
    return [ConversationLine(*row) for row in session.execute(query)]


def count_conversations(*, session: Session) -> int:
    """How many conversations are stored."""
    return session.scalar(select(func.count()).select_from(ConversationRow)) or 0
