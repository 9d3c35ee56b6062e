"""What is asked of the chat platforms' tables, and nothing else: no rule of the product lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, false, func, or_, select, update
from sqlmodel import Session, col

from storage.chat_tables import ChatAnswerRow, ChatJobRow, ChatMarkRow, ChatOptOutRow, ChatSeenRow
from storage.learning_tables import CorrectionRow, RunPairRow, RunRow
from storage.queries import _insert, _upsert
from storage.tables import ConversationRow, SummaryRow


def insert_jobs(*, session: Session, jobs: Sequence[ChatJobRow]) -> set[str]:
    """Store jobs; the keys of those that were not there before."""
    # In one statement: deliveries come by hundreds at once, and each waits for all of its batch.
    statement = _insert(session, ChatJobRow).on_conflict_do_nothing().returning(col(ChatJobRow.key))
    return set(session.scalars(statement, [job.model_dump() for job in jobs])) if jobs else set()


def count_before(*, session: Session, lane: str, platform: str = "") -> int:
    """How many jobs of a lane wait or are worked at, of one platform or of all."""
    query = (
        select(func.count())
        .select_from(ChatJobRow)
        .where(col(ChatJobRow.state).in_(("waiting", "running")), col(ChatJobRow.lane) == lane)
    )
    if platform:
        query = query.where(col(ChatJobRow.platform) == platform)
    return session.scalar(query) or 0


@dataclass(frozen=True, slots=True)
class Line:
    """Jobs that are worked off beside others: those of a lane, of some kinds only, or of all but some."""

    lane: str
    only: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()


def claim_jobs(
    *,
    session: Session,
    line: Line,
    platforms: Collection[str],
    limit: int,
    owner: str,
    dead: Collection[str],
    now: datetime,
    lease_until: datetime,
    but: Collection[str] = (),
) -> list[ChatJobRow]:
    """Take the oldest jobs of a line on oneself: those that wait, and those whose process is gone.

    Args:
        dead: owners that are known to have ended.
        but: keys of jobs that are not to be taken.
    """
    query = (
        select(ChatJobRow)
        .where(_claimable(line, platforms, dead, now, but))
        .order_by(col(ChatJobRow.accepted_at), col(ChatJobRow.key))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = list(session.scalars(query))
    for row in rows:
        row.state, row.owner, row.lease_until, row.attempts = "running", owner, lease_until, row.attempts + 1
        session.add(row)
    return rows


def any_claimable(
    *,
    session: Session,
    lines: Collection[Line],
    platforms: Collection[str],
    dead: Collection[str],
    now: datetime,
    but: Collection[str] = (),
) -> bool:
    """Whether :func:`claim_jobs` would find something in one of the lines."""
    wanted = or_(false(), *(_claimable(line, platforms, dead, now, but) for line in lines))
    return session.scalars(select(col(ChatJobRow.key)).where(wanted).limit(1)).first() is not None


def _claimable(
    line: Line, platforms: Collection[str], dead: Collection[str], now: datetime, but: Collection[str]
) -> ColumnElement[bool]:
    abandoned = and_(
        col(ChatJobRow.state) == "running",
        or_(col(ChatJobRow.lease_until) < now, col(ChatJobRow.owner).in_(tuple(dead))),
    )
    kind = col(ChatJobRow.kind)
    return and_(
        col(ChatJobRow.lane) == line.lane,
        kind.in_(tuple(line.only)) if line.only else kind.not_in(tuple(line.without)),
        col(ChatJobRow.platform).in_(tuple(platforms)),
        col(ChatJobRow.key).not_in(tuple(but)),
        or_(and_(col(ChatJobRow.state) == "waiting", col(ChatJobRow.due_at) <= now), abandoned),
    )


def get_job(*, session: Session, key: str) -> ChatJobRow | None:
    """A job by its key."""
    return session.get(ChatJobRow, key)


def renew_leases(*, session: Session, owner: str, keys: Collection[str], lease_until: datetime) -> frozenset[str]:
    """Say that jobs are still worked at by a process; the keys of those that still are its own."""
    renewed = (
        update(ChatJobRow)
        .where(col(ChatJobRow.key).in_(tuple(keys)), col(ChatJobRow.owner) == owner, col(ChatJobRow.state) == "running")
        .values(lease_until=lease_until)
        .returning(col(ChatJobRow.key))
    )
    return frozenset(session.scalars(renewed))


def other_owners(*, session: Session, owner: str) -> Sequence[str]:
    """The other processes that work, or worked, at jobs which have not ended."""
    return session.scalars(
        select(col(ChatJobRow.owner))
        .where(col(ChatJobRow.state) == "running", col(ChatJobRow.owner) != owner)
        .distinct()
    ).all()


def change_job(*, session: Session, key: str, owner: str, values: dict[str, Any]) -> bool:
    """Change a job that a process works at; False where it is no longer its own."""
    done: Any = session.execute(
        update(ChatJobRow).where(col(ChatJobRow.key) == key, col(ChatJobRow.owner) == owner).values(values)
    )
    return bool(done.rowcount)


def delete_ended_jobs(*, session: Session, before: datetime) -> None:
    """Forget jobs that ended before a time."""
    session.execute(
        delete(ChatJobRow).where(col(ChatJobRow.state).in_(("done", "failed")), col(ChatJobRow.finished_at) < before)
    )


def save_answer(*, session: Session, answer: ChatAnswerRow) -> None:
    """Store where a summary is shown."""
    _upsert(session, ChatAnswerRow, [answer.model_dump()])


def answers_of(*, session: Session, summary_id: str) -> Sequence[ChatAnswerRow]:
    """Where a summary is shown, oldest first."""
    return session.scalars(
        select(ChatAnswerRow)
        .where(col(ChatAnswerRow.summary_id) == summary_id)
        .order_by(col(ChatAnswerRow.created_at), col(ChatAnswerRow.id))
    ).all()


def asked_by(
    *, session: Session, platform: str, person: str, limit: int
) -> Sequence[tuple[SummaryRow, ConversationRow]]:
    """The newest summaries of a platform's conversations that a person asked for, with their conversations."""
    rows = session.execute(
        select(SummaryRow, ConversationRow)
        .join(ConversationRow, col(ConversationRow.id) == col(SummaryRow.conversation_id))
        .where(col(SummaryRow.asked_by) == person, col(ConversationRow.platform) == platform)
        .order_by(col(SummaryRow.created_at).desc(), col(SummaryRow.id))
        .limit(limit)
    )
    return [(row[0], row[1]) for row in rows]


def last_seen(*, session: Session, person: str, channel: str) -> datetime | None:
    """When a person last used Redraft in a channel, or None."""
    row = session.get(ChatSeenRow, (person, channel))
    return row.at if row is not None else None


def save_seen(*, session: Session, person: str, channel: str, at: datetime) -> None:
    """Remember when a person used Redraft in a channel."""
    _upsert(session, ChatSeenRow, [{"person": person, "channel": channel, "at": at}])


def opted_out(*, session: Session, platform: str) -> frozenset[str]:
    """Everybody of a platform who opted out, as ``platform:account``."""
    return frozenset(
        session.scalars(
            select(col(ChatOptOutRow.person)).where(
                col(ChatOptOutRow.person).startswith(f"{platform}:", autoescape=True)
            )
        )
    )


def save_opt_out(*, session: Session, person: str, at: datetime) -> bool:
    """Remember that a person opted out; False where they had."""
    statement = _insert(session, ChatOptOutRow).on_conflict_do_nothing().returning(col(ChatOptOutRow.person))
    return session.scalars(statement, [{"person": person, "at": at}]).first() is not None


def delete_opt_out(*, session: Session, person: str) -> bool:
    """Forget that a person opted out; False where they had not."""
    done: Any = session.execute(delete(ChatOptOutRow).where(col(ChatOptOutRow.person) == person))
    return bool(done.rowcount)


def mark(*, session: Session, name: str) -> ChatMarkRow | None:
    """A remembered value."""
    return session.get(ChatMarkRow, name)


def save_mark(*, session: Session, name: str, value: str, at: datetime) -> None:
    """Remember a value in place of the one before."""
    _upsert(session, ChatMarkRow, [{"name": name, "value": value, "at": at}])


def claim_mark(*, session: Session, name: str, value: str, at: datetime) -> str:
    """Remember a value unless there is one; the one that stands now, which nobody else changes before the commit."""
    row = {"name": name, "value": value, "at": at}
    session.execute(_insert(session, ChatMarkRow).on_conflict_do_nothing(), [row])
    return session.scalars(
        select(col(ChatMarkRow.value)).where(col(ChatMarkRow.name) == name).with_for_update()
    ).one()  # fmt: skip


def delete_mark(*, session: Session, name: str) -> None:
    """Forget a value."""
    session.execute(delete(ChatMarkRow).where(col(ChatMarkRow.name) == name))


def marks(*, session: Session, beginning: str) -> Sequence[ChatMarkRow]:
    """The remembered values whose names begin so."""
    return session.scalars(
        select(ChatMarkRow).where(col(ChatMarkRow.name).startswith(beginning, autoescape=True))
    ).all()


def corrections_by(*, session: Session, person: str, limit: int) -> Sequence[CorrectionRow]:
    """A person's newest corrections, newest first."""
    return session.scalars(
        select(CorrectionRow)
        .where(col(CorrectionRow.author_id) == person)
        .order_by(col(CorrectionRow.created_at).desc(), col(CorrectionRow.id))
        .limit(limit)
    ).all()


def conversation_of(*, session: Session, summary_id: str) -> ConversationRow:
    """The conversation of a stored summary."""
    return session.scalars(
        select(ConversationRow)
        .join(SummaryRow, col(SummaryRow.conversation_id) == col(ConversationRow.id))
        .where(col(SummaryRow.id) == summary_id)
    ).one()


def used_in_a_run(*, session: Session, pair_id: str) -> bool:
    """Whether a fine-tune that has finished was made of a pair."""
    return (
        session.scalars(
            select(col(RunPairRow.run_id))
            .join(RunRow, col(RunRow.id) == col(RunPairRow.run_id))
            .where(col(RunPairRow.pair_id) == pair_id, col(RunPairRow.role) == "train", col(RunRow.state) == "finished")
            .limit(1)
        ).first()
        is not None
    )


def delete_person(*, session: Session, person: str) -> None:
    """Delete what is kept of a person but their wish to be left out: requests, answers shown to them, their use."""
    for table in (ChatJobRow, ChatAnswerRow, ChatSeenRow):
        session.execute(delete(table).where(col(table.person) == person))
