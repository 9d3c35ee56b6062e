"""What is asked of the tables when messages change on their platform, and nothing else; no rule lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, exists, select, update
from sqlmodel import Session, col

from storage.erasure_queries import messages_of as _by
from storage.learning_tables import PairRow
from storage.tables import ConversationRow, MessageRow


def messages_with_id(*, session: Session, platform: str, channel: str, message_id: str) -> Sequence[MessageRow]:
    """A message of a channel in every conversation that holds it."""
    return session.scalars(
        select(MessageRow)
        .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(
            col(ConversationRow.platform) == platform,
            col(ConversationRow.channel) == channel,
            col(MessageRow.id) == message_id,
        )
    ).all()


def messages_by(*, session: Session, platform: str, account: str) -> Sequence[MessageRow]:
    """A person's messages on a platform."""
    return session.scalars(select(MessageRow).where(_by(platform, account))).all()


def messages_holding(*, session: Session, platform: str, text: str) -> Sequence[MessageRow]:
    """A platform's messages with a piece of text in them, word for word."""
    return session.scalars(
        select(MessageRow)
        .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(col(ConversationRow.platform) == platform, col(MessageRow.text).contains(text, autoescape=True))
    ).all()


def pairs_of_conversation(*, session: Session, conversation_id: str) -> Sequence[PairRow]:
    """The pairs of a stored conversation."""
    return session.scalars(
        select(PairRow).where(col(PairRow.conversation_id) == conversation_id).order_by(col(PairRow.id))
    ).all()


def delete_empty_conversations(*, session: Session, ids: Collection[str]) -> None:
    """Delete those of the conversations that hold no message any more, with what is under them."""
    held = exists().where(col(MessageRow.conversation_id) == col(ConversationRow.id))
    for one in sorted(ids):
        session.execute(delete(ConversationRow).where(col(ConversationRow.id) == one, ~held))


def stored_conversations(
    *, session: Session, platform: str, after: str = "", limit: int = 100
) -> Sequence[tuple[str, str, str, datetime]]:
    """Conversations of a platform in order of their ids: id, channel, thread, and when each was last read."""
    rows = session.execute(
        select(
            col(ConversationRow.id), col(ConversationRow.channel), col(ConversationRow.thread),
            col(ConversationRow.read_at),
        )
        .where(col(ConversationRow.platform) == platform, col(ConversationRow.id) > after)
        .order_by(col(ConversationRow.id))
        .limit(limit)
    )  # fmt: skip
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def stored_messages(*, session: Session, platform: str, ids: Collection[str]) -> set[str]:
    """Which messages of a platform are stored, by ids that are their own in all of it."""
    return set(
        session.scalars(
            select(col(MessageRow.id))
            .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
            .where(col(MessageRow.id).in_(tuple(ids)), col(ConversationRow.platform) == platform)
        )
    )


def channels_with_message(*, session: Session, platform: str, message_id: str) -> Sequence[str]:
    """The channels of the stored conversations that hold a message."""
    return session.scalars(
        select(col(ConversationRow.channel))
        .join(MessageRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(col(MessageRow.id) == message_id, col(ConversationRow.platform) == platform)
        .distinct()
    ).all()


def messages_held(*, session: Session, platform: str, channel: str = "", thread: str = "") -> set[str]:
    """The messages of the stored conversations of a channel, its threads included, or of one thread."""
    where = col(ConversationRow.thread) == thread if thread else col(ConversationRow.channel) == channel
    return set(
        session.scalars(
            select(col(MessageRow.id))
            .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
            .where(col(ConversationRow.platform) == platform, where)
        )
    )


def stored_places(
    *, session: Session, platform: str, after: str = "", limit: int = 100
) -> Sequence[tuple[str, str, str, str, datetime]]:
    """As :func:`stored_conversations`, each with its workspace: id, workspace, channel, thread, when it was read."""
    rows = session.execute(
        select(
            col(ConversationRow.id), col(ConversationRow.workspace), col(ConversationRow.channel),
            col(ConversationRow.thread), col(ConversationRow.read_at),
        )
        .where(col(ConversationRow.platform) == platform, col(ConversationRow.id) > after)
        .order_by(col(ConversationRow.id))
        .limit(limit)
    )  # fmt: skip
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def close_channel(*, session: Session, platform: str, channel: str) -> int:
    """Take a channel's conversations and pairs for private ones; how many pairs were not."""
    here = (col(ConversationRow.platform) == platform, col(ConversationRow.channel) == channel)
    session.execute(update(ConversationRow).where(*here, col(ConversationRow.public)).values(public=False))
    done: Any = session.execute(
        update(PairRow)
        .where(col(PairRow.platform) == platform, col(PairRow.channel) == channel, col(PairRow.public))
        .values(public=False)
    )
    return int(done.rowcount)
