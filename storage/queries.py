"""What is asked of the tables, and nothing else: no rule of the product lives here.

Every function takes the session of the caller's transaction and keyword arguments only. Those that write need one
from :meth:`Database.write`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, func, or_, select
from sqlmodel import Session, SQLModel, col

from storage.learning_tables import AdapterRow, CorrectionRow, PairRow, RunPairRow, RunRow
from storage.tables import (
    ConversationRow,
    FeedbackRow,
    JobSlotRow,
    MessageRow,
    SentenceRow,
    SourceRow,
    SummaryRow,
)
from storage.watch_queries import keep_receptions

#: Rows in one statement; SQLite takes 32,766 parameters in one, PostgreSQL 65,535.
_CHUNK = 500


def save_conversation(*, session: Session, conversation: ConversationRow, messages: Sequence[MessageRow]) -> None:
    """Store a conversation as it was just read, in place of what was stored under its id.

    Messages that are gone from it go here too, and with them their mention as a source; ``first_read_at`` stays.
    """
    _upsert(session, ConversationRow, [conversation.model_dump()], keep=("first_read_at",))
    stored = {
        row.id: row.model_dump()
        for row in session.scalars(select(MessageRow).where(col(MessageRow.conversation_id) == conversation.id))
    }
    incoming = {row.id: row.model_dump() for row in messages}
    gone = [message_id for message_id in stored if message_id not in incoming]
    for chunk in _chunks(gone):
        session.execute(
            delete(MessageRow).where(col(MessageRow.conversation_id) == conversation.id, col(MessageRow.id).in_(chunk))
        )
    _upsert(session, MessageRow, [row for key, row in incoming.items() if stored.get(key) != row])


def save_summary(
    *, session: Session, summary: SummaryRow, sentences: Sequence[SentenceRow], sources: Sequence[SourceRow]
) -> None:
    """Store a summary with its sentences and what they rest on; its conversation must be stored."""
    for rows in ([summary], sentences, sources):
        session.add_all(rows)
        session.flush()


def get_conversation(*, session: Session, conversation_id: str) -> ConversationRow | None:
    """One conversation, without its messages."""
    return session.get(ConversationRow, conversation_id)


def messages_of(*, session: Session, conversation_id: str) -> Sequence[MessageRow]:
    """Its messages, in order."""
    return session.scalars(
        select(MessageRow).where(col(MessageRow.conversation_id) == conversation_id).order_by(col(MessageRow.position))
    ).all()


def get_summary(*, session: Session, summary_id: str) -> SummaryRow | None:
    """One summary, without its sentences."""
    return session.get(SummaryRow, summary_id)


def sentences_of(*, session: Session, summary_id: str) -> Sequence[SentenceRow]:
    """Its sentences, in order."""
    return session.scalars(
        select(SentenceRow).where(col(SentenceRow.summary_id) == summary_id).order_by(col(SentenceRow.position))
    ).all()


def sources_of(*, session: Session, summary_id: str) -> Sequence[SourceRow]:
    """What its sentences rest on: sentence by sentence, strongest first."""
    return session.scalars(
        select(SourceRow)
        .where(col(SourceRow.summary_id) == summary_id)
        .order_by(col(SourceRow.sentence), col(SourceRow.rank))
    ).all()


def recent_summaries(
    *,
    session: Session,
    limit: int = 20,
    before: datetime | None = None,
    conversation_id: str | None = None,
    asked_by: str | None = None,
) -> Sequence[SummaryRow]:
    """The newest summaries, newest first; ``before`` pages on from the last one's ``created_at``."""
    query = select(SummaryRow).order_by(col(SummaryRow.created_at).desc(), col(SummaryRow.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(SummaryRow.created_at) < before)
    if conversation_id is not None:
        query = query.where(col(SummaryRow.conversation_id) == conversation_id)
    if asked_by is not None:
        query = query.where(col(SummaryRow.asked_by) == asked_by)
    return session.scalars(query).all()


def save_feedback(*, session: Session, feedback: FeedbackRow) -> None:
    """Store a thumb, in place of the one that the same person gave the same summary before."""
    _upsert(session, FeedbackRow, [feedback.model_dump()])


def feedback_of(*, session: Session, summary_id: str) -> Sequence[FeedbackRow]:
    """The thumbs on a summary, oldest first."""
    return session.scalars(
        select(FeedbackRow).where(col(FeedbackRow.summary_id) == summary_id).order_by(col(FeedbackRow.given_at))
    ).all()


def delete_expired(*, session: Session, before: datetime, limit: int = 500) -> int:
    """Delete conversations last read before a time, with everything under them; at most ``limit``, oldest first.

    Those that a pair needs stay: one that waits or is approved, on whichever side of the split, and a rejected one that
    an adapter was trained on before, until that adapter's files have gone. Any other rejected pair goes with its
    conversation. How their summaries were received is kept: what goes is not the same by chance, for a summary that
    was corrected is more often one that a pair needs.

    Returns:
        How many conversations went.
    """
    of_it = col(PairRow.conversation_id) == col(ConversationRow.id)
    # The files of an adapter that is tainted and out have gone, see `engine.learning.erasure_files`.
    has_files = or_(col(AdapterRow.state).in_(("active", "candidate")), col(AdapterRow.tainted_at).is_(None))
    learnt = (
        select(1)
        .select_from(PairRow)
        .join(RunPairRow, col(RunPairRow.pair_id) == col(PairRow.id))
        .join(AdapterRow, col(AdapterRow.run_id) == col(RunPairRow.run_id))
        .where(of_it, has_files)
        .correlate(ConversationRow)
    )
    needed = or_(exists().where(of_it, col(PairRow.state) != "rejected"), exists(learnt))
    expired = session.scalars(
        select(col(ConversationRow.id))
        .where(col(ConversationRow.read_at) < before, ~needed)
        .order_by(col(ConversationRow.read_at))
        .limit(limit)
    ).all()
    for chunk in _chunks(expired):
        keep_receptions(session=session, conversations=chunk)
        session.execute(delete(ConversationRow).where(col(ConversationRow.id).in_(chunk)))
    return len(expired)


def counts(*, session: Session) -> dict[str, int]:
    """Rows in each table that people count, by table name."""
    tables = (ConversationRow, MessageRow, SummaryRow, FeedbackRow, CorrectionRow, PairRow, RunRow, AdapterRow)
    return {str(table.__tablename__): session.scalar(select(func.count()).select_from(table)) or 0 for table in tables}


def record_job(*, session: Session, job: str, slot: str, started: datetime, finished: datetime) -> None:
    """Record that a due time of a job was worked off; a second time changes its times."""
    _upsert(session, JobSlotRow, [{"job": job, "slot": slot, "started_at": started, "finished_at": finished}])


def job_recorded(*, session: Session, job: str, slot: str) -> bool:
    """Whether a due time of a job was worked off."""
    row = session.get(JobSlotRow, (job, slot))
    return row is not None and row.finished_at is not None


def last_finished(*, session: Session, job: str) -> datetime | None:
    """When a job last ended well, or None where it never did."""
    return session.scalar(
        select(col(JobSlotRow.finished_at))
        .where(col(JobSlotRow.job) == job, col(JobSlotRow.finished_at).is_not(None))
        .order_by(col(JobSlotRow.finished_at).desc())
        .limit(1)
    )


def delete_old_slots(*, session: Session, before: datetime, job: str) -> None:
    """Forget a job's due times that began before a time."""
    session.execute(delete(JobSlotRow).where(col(JobSlotRow.job) == job, col(JobSlotRow.started_at) < before))


def _insert(session: Session, table: type[SQLModel]) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT."""
    if session.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)


def _upsert(
    session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]], keep: tuple[str, ...] = ()
) -> None:
    """Insert rows, or bring those whose key exists to what they say, but for the columns to ``keep``."""
    if not rows:
        return
    columns = table.__table__.columns  # type: ignore[attr-defined]
    keys = [column.name for column in columns if column.primary_key]
    statement = _insert(session, table)
    changed = {
        column.name: statement.excluded[column.name]
        for column in columns
        if column.name not in keys and column.name not in keep
    }
    session.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed), rows)


def _chunks(items: Sequence[str]) -> Iterable[Sequence[str]]:
    return (items[start : start + _CHUNK] for start in range(0, len(items), _CHUNK))
