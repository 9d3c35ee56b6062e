"""How summaries that an adapter wrote were received; no rule of the product lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, exists, func, insert, select
from sqlmodel import Session, col

from storage.learning_tables import CorrectionRow
from storage.tables import ConversationRow, FeedbackRow, ReceptionRow, SummaryRow


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


def keep_receptions(*, session: Session, conversations: Sequence[str]) -> None:
    """Note how the summaries of conversations that are about to be deleted were received; a few hundred at most."""
    channel = case((col(ConversationRow.direct), ""), else_=col(ConversationRow.channel))
    found = (
        select(
            col(SummaryRow.id), col(SummaryRow.adapter), col(ConversationRow.platform), col(ConversationRow.workspace),
            channel, col(SummaryRow.created_at), corrected(), thumbed("up"), thumbed("down"),
        )
        .select_from(SummaryRow)
        .join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        .where(col(SummaryRow.conversation_id).in_(conversations))
    )  # fmt: skip
    names = ["id", "adapter", "platform", "workspace", "channel", "at", "corrected", "thumb_up", "thumb_down"]
    session.execute(insert(ReceptionRow).from_select(names, found))


def receptions(
    *, session: Session, adapter: str, place: Place, since: datetime | None, newest: bool, limit: int
) -> list[Reception]:
    """How each of an adapter's summaries in a place was received: the first ones since a time, or the newest.

    Those that retention has deleted since are among them.
    """

    def ordered(query: Any, at: Any, key: Any) -> Any:
        if since is not None:
            query = query.where(at >= since)
        return query.order_by(*((at.desc(), key.desc()) if newest else (at, key))).limit(limit)

    at, key = col(SummaryRow.created_at), col(SummaryRow.id)
    stored = (
        select(at, key, corrected(), thumbed("down"))
        .select_from(SummaryRow)
        .join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        .where(col(SummaryRow.adapter) == adapter, *_within(place, ConversationRow))
    )
    kept_at, kept_key = col(ReceptionRow.at), col(ReceptionRow.id)
    kept = select(kept_at, kept_key, col(ReceptionRow.corrected), col(ReceptionRow.thumb_down)).where(
        col(ReceptionRow.adapter) == adapter, *_within(place, ReceptionRow)
    )
    rows = [tuple(row) for query in (ordered(stored, at, key), ordered(kept, kept_at, kept_key))
            for row in session.execute(query)]  # fmt: skip
    rows.sort(key=lambda row: row[:2], reverse=newest)
    return [Reception(bool(edited), bool(down)) for _, _, edited, down in rows[:limit]]


def totals(*, session: Session, place: Place | None = None, since: datetime | None = None) -> list[Totals]:
    """Figures of every adapter that wrote summaries, the base included, the one that wrote last first.

    Summaries that retention has deleted since are counted.
    """

    def how_many(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    def figures(adapter: Any, at: Any, *conditions: Any) -> Any:
        query = select(adapter, func.count(), *(how_many(one) for one in conditions), func.min(at), func.max(at))
        return (query if since is None else query.where(at >= since)).group_by(adapter)

    stored = figures(
        col(SummaryRow.adapter), col(SummaryRow.created_at), corrected(), thumbed("up"), thumbed("down")
    ).select_from(SummaryRow)
    kept = figures(
        col(ReceptionRow.adapter), col(ReceptionRow.at), col(ReceptionRow.corrected), col(ReceptionRow.thumb_up),
        col(ReceptionRow.thumb_down),
    )  # fmt: skip
    if place is not None:
        stored = stored.join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        stored = stored.where(*_within(place, ConversationRow))
        kept = kept.where(*_within(place, ReceptionRow))
    found: dict[str, Totals] = {}
    for query in (stored, kept):
        for name, count, edited, up, down, first, last in session.execute(query):
            one = Totals(str(name), int(count), int(edited), int(up), int(down), first, last)
            found[one.adapter] = _together(found[one.adapter], one) if one.adapter in found else one
    return sorted(found.values(), key=lambda one: (one.last is not None, one.last), reverse=True)


def _together(one: Totals, other: Totals) -> Totals:
    firsts = [at for at in (one.first, other.first) if at is not None]
    lasts = [at for at in (one.last, other.last) if at is not None]
    return Totals(
        one.adapter,
        one.summaries + other.summaries,
        one.corrected + other.corrected,
        one.thumbs_up + other.thumbs_up,
        one.thumbs_down + other.thumbs_down,
        min(firsts, default=None),
        max(lasts, default=None),
    )


def corrected() -> ColumnElement[bool]:
    """Whether somebody who had the summary before them changed it."""
    return exists().where(col(CorrectionRow.summary_id) == col(SummaryRow.id), col(CorrectionRow.kind) == "edited")


def thumbed(which: str) -> ColumnElement[bool]:
    """Whether somebody gave it such a thumb."""
    return exists().where(col(FeedbackRow.summary_id) == col(SummaryRow.id), col(FeedbackRow.thumb) == which)


def _within(place: Place, table: type[Any]) -> list[ColumnElement[bool]]:
    parts = ((name, getattr(place, name)) for name in Place.__dataclass_fields__)
    return [col(getattr(table, name)) == value for name, value in parts if value]
