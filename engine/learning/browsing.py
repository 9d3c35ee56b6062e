"""Looking at stored conversations: lists and searches show no private word, and opening what is private is recorded.

A conversation is private that no file brought and that is from no public channel. Whoever wrote in it opens it without
a line of the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from engine.learning.ledger import opened
from engine.records import load_conversation
from storage import console_queries as queries
from storage.console_queries import ConversationLine
from storage.errors import InputError, NotPermitted
from storage.queries import feedback_of, recent_summaries
from storage.tables import FeedbackRow, SummaryRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.conversation import Conversation
    from storage.database import Database
    from storage.search import SearchIndex


@dataclass(frozen=True, slots=True)
class Opened:
    """A conversation with its summaries, the newest first, and the thumbs on each."""

    conversation: Conversation
    summaries: Sequence[SummaryRow]
    feedback: dict[str, Sequence[FeedbackRow]]


def find_conversations(
    session: Session, index: SearchIndex, words: str, *, limit: int = 200
) -> Sequence[ConversationLine]:
    """Conversations that have these words, or whose title, channel or id has them; without words the newest ones.

    Private ones are found by title, channel and id alone.
    """
    if not words.strip():
        return queries.conversation_lines(session=session, limit=limit)
    ids = index.find(session, words, limit=limit)
    return queries.conversation_lines(session=session, limit=limit, ids=ids, named=words.strip())


def is_private(conversation: Conversation) -> bool:
    """Whether opening it is recorded."""
    return conversation.platform != "file" and not conversation.public


def open_conversation(
    database: Database, *, conversation_id: str, by: str, asked: bool = True, now: datetime | None = None
) -> Opened:
    """A conversation for a person; a private one that they take no part in is recorded as opened first.

    Args:
        asked: whether the person asked for just this one. What is only read ahead of them opens nothing.

    Raises:
        InputError: it is not stored any more.
        NotPermitted: it is private, and they did not ask for it.
        StorageError: it could not be recorded; then it is not shown.
    """
    with database.read() as session:
        conversation = load_conversation(session, conversation_id)
        summaries = recent_summaries(session=session, conversation_id=conversation_id, limit=100)
        feedback = {row.id: feedback_of(session=session, summary_id=row.id) for row in summaries}
    if conversation is None:
        raise InputError("That conversation is no longer stored.", "Retention or an erasure has taken it.")
    if is_private(conversation) and by not in {message.author_id for message in conversation.messages}:
        if not asked:
            raise NotPermitted("That conversation is private.", "Open it to read it.")
        opened(database, conversation_id=conversation_id, by=by, why="console", now=now)
    return Opened(conversation, summaries, feedback)
