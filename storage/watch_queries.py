"""How summaries that an adapter wrote were received; no rule of the product lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, case, exists, func, select
from sqlmodel import Session, col

from storage.learning_tables import CorrectionRow
from storage.tables import ConversationRow, FeedbackRow, SummaryRow


@dataclass(frozen=True, slots=True)
class Place:
    """Where conversations are; what is empty is not asked for."""

    platform: str = ""
    workspace: str = ""
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Reception:
    """What people made of one summary."""

    corrected: bool
    thumb_down: bool


@dataclass(frozen=True, slots=True)
class Totals:
    """Summaries of one adapter, and how many of them people corrected, praised and disliked."""

    adapter: str
    summaries: int
    corrected: int
    thumbs_up: int
    thumbs_down: int
    first: datetime | None
    last: datetime | None


def receptions(
    *, session: Session, adapter: str, place: Place, since: datetime | None, newest: bool, limit: int
) -> list[Reception]:
    """How each of an adapter's summaries in a place was received: the first ones since a time, or the newest."""
    order = (col(SummaryRow.created_at), col(SummaryRow.id))
    query = (
        select(corrected(), thumbed("down"))
        .select_from(SummaryRow)
        .join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        .where(col(SummaryRow.adapter) == adapter, *_within(place))
        .order_by(*(each.desc() for each in order) if newest else order)
        .limit(limit)
    )
    if since is not None:
        query = query.where(col(SummaryRow.created_at) >= since)
    return [Reception(bool(corrected), bool(down)) for corrected, down in session.execute(query)]


def totals(*, session: Session, place: Place | None = None, since: datetime | None = None) -> list[Totals]:
    """Figures of every adapter that wrote summaries, the base included, the one that wrote last first."""

    def how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    query = select(
        col(SummaryRow.adapter),
        func.count(),
        how_many(corrected()),
        how_many(thumbed("up")),
        how_many(thumbed("down")),
        func.min(SummaryRow.created_at),
        func.max(SummaryRow.created_at),
    )
    if place is not None:
        query = query.join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        query = query.where(*_within(place))
    if since is not None:
        query = query.where(col(SummaryRow.created_at) >= since)
    query = query.group_by(col(SummaryRow.adapter)).order_by(func.max(SummaryRow.created_at).desc())
    return [
        Totals(str(name), int(count), int(corrected), int(up), int(down), first, last)
        for name, count, corrected, up, down, first, last in session.execute(query)
    ]


def corrected() -> ColumnElement[bool]:
    """Whether somebody who had the summary before them changed it."""
    return exists().where(col(CorrectionRow.summary_id) == col(SummaryRow.id), col(CorrectionRow.kind) == "edited")


def thumbed(which: str) -> ColumnElement[bool]:
    """Whether somebody gave it such a thumb."""
    return exists().where(col(FeedbackRow.summary_id) == col(SummaryRow.id), col(FeedbackRow.thumb) == which)


def _within(place: Place) -> list[ColumnElement[bool]]:
    parts = (
        (ConversationRow.platform, place.platform),
        (ConversationRow.workspace, place.workspace),
        (ConversationRow.channel, place.channel),
    )
    return [col(column) == value for column, value in parts if value]
