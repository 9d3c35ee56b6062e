"""Who has had a model's summary of a conversation before them, as far as the tables tell; no rule lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from sqlalchemy import or_, select
from sqlmodel import Session, col

from storage.chat_tables import ChatAnswerRow
from storage.learning_tables import CorrectionRow, LedgerRow, PairRow
from storage.tables import FeedbackRow, SummaryRow


def shown_in_answers(*, session: Session, conversation_id: str, person: str) -> bool:
    """Whether they asked for a summary of it, were shown one in a chat, or gave one a thumb or a correction."""
    mine = col(SummaryRow.conversation_id) == conversation_id
    asked = select(col(SummaryRow.id)).where(mine, col(SummaryRow.asked_by) == person)
    tables = (
        (ChatAnswerRow, ChatAnswerRow.person),
        (FeedbackRow, FeedbackRow.author_id),
        (CorrectionRow, CorrectionRow.author_id),
    )
    said = [
        select(col(SummaryRow.id))
        .join(table, col(table.summary_id) == col(SummaryRow.id))
        .where(mine, col(who) == person)
        for table, who in tables
    ]
    return any(session.scalars(query.limit(1)).first() is not None for query in (asked, *said))


def pair_with_draft(*, session: Session, conversation_id: str) -> bool:
    """Whether a pair of it was made from a model's draft, which stands beside it in the review queue."""
    drafted = or_(col(PairRow.seen_draft).is_(True), col(PairRow.draft_summary_id) != "")
    query = select(col(PairRow.id)).where(col(PairRow.conversation_id) == conversation_id, drafted).limit(1)
    return session.scalars(query).first() is not None


def in_ledger(*, session: Session, action: str, subject: str, actor: str) -> bool:
    """Whether the ledger has a line of that kind on that subject by that pseudonym."""
    query = select(col(LedgerRow.seq)).where(
        col(LedgerRow.actor) == actor, col(LedgerRow.action) == action, col(LedgerRow.subject) == subject
    )
    return session.scalars(query.limit(1)).first() is not None
