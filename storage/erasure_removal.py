"""What an erasure takes from the tables; what that is was found with :mod:`storage.erasure_queries`.

Every function takes the session of the caller's writing transaction and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import delete, false, or_, select, update
from sqlmodel import Session, col

from storage.erasure_queries import DOERS, chunks, messages_of, named
from storage.learning_tables import CorrectionRow, NearKeyRow, PairRow, SplitRow
from storage.tables import ConversationRow, FeedbackRow, MessageRow, SummaryRow


def delete_messages(*, session: Session, platform: str, account: str) -> None:
    """Delete a person's messages, and with them their mention as a source."""
    session.execute(delete(MessageRow).where(messages_of(platform, account)))


def deletenamed(*, session: Session, table: type[Any], column: Any, values: Collection[str]) -> None:
    """Delete the rows of a table in which a column has one of the values, with what is under them."""
    for chunk in chunks(values):
        session.execute(delete(table).where(column.in_(chunk)))


def delete_conversations(*, session: Session, conversations: Collection[str]) -> None:
    """Delete conversations with everything under them."""
    deletenamed(session=session, table=ConversationRow, column=col(ConversationRow.id), values=conversations)


def delete_summaries(*, session: Session, summaries: Collection[str]) -> None:
    """Delete summaries with their sentences, sources, thumbs and corrections."""
    deletenamed(session=session, table=SummaryRow, column=col(SummaryRow.id), values=summaries)


def delete_corrections(*, session: Session, corrections: Collection[str]) -> None:
    """Delete corrections."""
    deletenamed(session=session, table=CorrectionRow, column=col(CorrectionRow.id), values=corrections)


def delete_pairs(*, session: Session, pairs: Collection[str]) -> None:
    """Delete pairs; what they took the place of stands again, and corrections that made them make none any more."""
    for chunk in chunks(pairs):
        session.execute(delete(PairRow).where(col(PairRow.id).in_(chunk)))
        session.execute(update(PairRow).where(col(PairRow.superseded_by).in_(chunk)).values(superseded_by=""))
        session.execute(update(PairRow).where(col(PairRow.supersedes).in_(chunk)).values(supersedes=""))
        session.execute(update(CorrectionRow).where(col(CorrectionRow.pair_id).in_(chunk)).values(pair_id=""))


def delete_thumbs(*, session: Session, thumbs: Iterable[tuple[str, str]]) -> None:
    """Delete feedback by its keys."""
    for summary_id, author_id in thumbs:
        session.execute(
            delete(FeedbackRow).where(
                col(FeedbackRow.summary_id) == summary_id, col(FeedbackRow.author_id) == author_id
            )
        )


def delete_near_keys(*, session: Session, keys: Collection[str]) -> None:
    """Delete the fingerprints of conversations."""
    deletenamed(session=session, table=NearKeyRow, column=col(NearKeyRow.conversation_key), values=keys)


def delete_splits_of_what_is_gone(*, session: Session, keys: Collection[str]) -> None:
    """Delete the sides of those conversations that are neither stored nor in a pair any more.

    One that is still there keeps its side: what was held out is never trained on.
    """
    for chunk in chunks(keys):
        session.execute(
            delete(SplitRow).where(
                col(SplitRow.conversation_key).in_(chunk),
                col(SplitRow.conversation_key).not_in(select(col(ConversationRow.id))),
                col(SplitRow.conversation_key).not_in(select(col(PairRow.conversation_key))),
            )
        )


def blank_titles(*, session: Session, conversations: Collection[str]) -> None:
    """Take the titles that people may have written: those of direct messages and threads, not a channel's name."""
    for chunk in chunks(conversations):
        session.execute(
            update(ConversationRow)
            .where(
                col(ConversationRow.id).in_(chunk),
                or_(col(ConversationRow.direct), ~col(ConversationRow.title).startswith("#")),
            )
            .values(title="")
        )


def blank_asked(*, session: Session, summaries: Collection[str]) -> None:
    """Forget who asked for summaries, and what they asked about."""
    for chunk in chunks(summaries):
        session.execute(update(SummaryRow).where(col(SummaryRow.id).in_(chunk)).values(asked_by="", focus=""))


def rename_doer(*, session: Session, platform: str, account: str, name: str) -> None:
    """Put another name in place of a person's where they are named as who decided, asked or authorised."""
    for table, column in DOERS:
        who = named(getattr(table, column), false(), platform=platform, account=account)
        session.execute(update(table).where(who).values({column: name}))
