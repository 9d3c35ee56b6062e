"""Where the engine's dataclasses and the database's rows meet.

One of the few files of ``engine`` that read and write rows; it maps, in both directions, and decides nothing. It
knows nothing of models, prompts or platforms.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import cast

from sqlmodel import Session

from engine.conversation import Conversation, Kind, Message
from engine.requests import Coverage, Style, SummaryRequest, SummaryResult, SummarySentence
from storage import queries
from storage.database import Database
from storage.tables import ConversationRow, MessageRow, SentenceRow, SourceRow, SummaryRow


@dataclass(frozen=True, slots=True)
class StoredSummary:
    """A summary as it was stored.

    Attributes:
        id: the summary's id.
        created_at: when it was stored (aware, UTC).
        asked_by: who asked, or an empty string.
        request: what was asked, with the conversation as it is stored now.
        result: what the engine answered.
    """

    id: str
    created_at: datetime
    asked_by: str
    request: SummaryRequest
    result: SummaryResult


def store_conversation(session: Session, conversation: Conversation, *, now: datetime) -> None:
    """Store a conversation as it was just read, in the caller's transaction; reading it again replaces it."""
    queries.save_conversation(
        session=session,
        conversation=ConversationRow(
            id=conversation.id,
            platform=conversation.platform,
            title=conversation.title,
            workspace=conversation.workspace,
            channel=conversation.channel,
            thread=conversation.thread,
            public=conversation.public,
            direct=conversation.direct,
            first_read_at=now,
            read_at=now,
        ),
        messages=[
            MessageRow(
                conversation_id=conversation.id,
                id=message.id,
                position=position,
                author=message.author,
                author_id=message.author_id,
                text=message.text,
                time=message.time,
                permalink=message.permalink,
                thread=message.thread,
                kind=message.kind,
            )
            for position, message in enumerate(conversation.messages)
        ],
    )


def store_summary(
    database: Database,
    request: SummaryRequest,
    result: SummaryResult,
    *,
    asked_by: str = "",
    now: datetime | None = None,
    read_at: datetime | None = None,
) -> str:
    """Store a conversation and its summary in one transaction.

    Args:
        read_at: when reading the conversation began, where that was earlier than now.

    Returns:
        The summary's id.

    Raises:
        StorageError: they could not be stored; neither was.
    """
    now = now or datetime.now(UTC)
    summary_id = uuid.uuid4().hex
    conversation_id = request.conversation.id
    coverage = result.coverage
    summary = SummaryRow(
        id=summary_id,
        conversation_id=conversation_id,
        created_at=now,
        asked_by=asked_by,
        text=result.summary,
        style=result.style,
        focus=result.focus,
        output_language=request.output_language,
        include_bots=request.include_bots,
        adapter=result.adapter,
        model=result.model,
        prompt_version=result.prompt_version,
        demonstration=result.demonstration,
        covered=coverage.messages,
        left_out=coverage.left_out,
        authors=coverage.authors,
        first_covered=coverage.first,
        last_covered=coverage.last,
        parts=coverage.parts,
        input_tokens=result.input_tokens,
        output_tokens=result.output_tokens,
        seconds=result.seconds,
        notes=list(result.notes),
    )
    sentences = [
        SentenceRow(
            summary_id=summary_id,
            position=position,
            text=sentence.text,
            supported=sentence.supported,
            flagged=list(sentence.flagged),
        )
        for position, sentence in enumerate(result.sentences)
    ]
    sources = [
        SourceRow(
            summary_id=summary_id,
            sentence=position,
            rank=rank,
            conversation_id=conversation_id,
            message_id=message_id,
        )
        for position, sentence in enumerate(result.sentences)
        for rank, message_id in enumerate(sentence.sources)
    ]
    with database.write() as session:
        store_conversation(session, request.conversation, now=read_at or now)
        queries.save_summary(session=session, summary=summary, sentences=sentences, sources=sources)
    return summary_id


def load_conversation(session: Session, conversation_id: str) -> Conversation | None:
    """A stored conversation, or None where there is none of that id."""
    row = queries.get_conversation(session=session, conversation_id=conversation_id)
    if row is None:
        return None
    messages = queries.messages_of(session=session, conversation_id=conversation_id)
    return Conversation(
        id=row.id,
        messages=tuple(
            Message(
                id=message.id,
                author=message.author,
                text=message.text,
                time=message.time,
                author_id=message.author_id,
                permalink=message.permalink,
                thread=message.thread,
                kind=cast("Kind", message.kind),
            )
            for message in messages
        ),
        platform=row.platform,
        title=row.title,
        workspace=row.workspace,
        channel=row.channel,
        thread=row.thread,
        public=row.public,
        direct=row.direct,
    )


def load_summary(session: Session, summary_id: str) -> StoredSummary | None:
    """A stored summary with its conversation, or None where there is none of that id."""
    row = queries.get_summary(session=session, summary_id=summary_id)
    if row is None:
        return None
    conversation = load_conversation(session, row.conversation_id)
    assert conversation is not None, "a summary goes with its conversation"
    sources: dict[int, list[str]] = {}
    for source in queries.sources_of(session=session, summary_id=summary_id):
        sources.setdefault(source.sentence, []).append(source.message_id)
    sentences = tuple(
        SummarySentence(
            text=sentence.text,
            sources=tuple(sources.get(sentence.position, ())),
            supported=sentence.supported,
            flagged=tuple(sentence.flagged),
        )
        for sentence in queries.sentences_of(session=session, summary_id=summary_id)
    )
    style = cast("Style", row.style)
    request = SummaryRequest(
        conversation=conversation,
        style=style,
        focus=row.focus,
        output_language=row.output_language,
        adapter=row.adapter,
        include_bots=row.include_bots,
    )
    result = SummaryResult(
        summary=row.text,
        sentences=sentences,
        coverage=Coverage(
            messages=row.covered,
            left_out=row.left_out,
            authors=row.authors,
            first=row.first_covered,
            last=row.last_covered,
            parts=row.parts,
        ),
        model=row.model,
        adapter=row.adapter,
        prompt_version=row.prompt_version,
        style=style,
        focus=row.focus,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        seconds=row.seconds,
        demonstration=row.demonstration,
        notes=tuple(row.notes),
    )
    return StoredSummary(row.id, row.created_at, row.asked_by, request, result)
