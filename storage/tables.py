"""The tables: what is kept, and what goes with what.

Keys are natural or made by us (no database sequence anywhere, so that rows move between SQLite and PostgreSQL as they
are). Everything under a conversation goes with it (``ON DELETE CASCADE``), which is what retention and erasure stand
on. Tables know nothing of the engine's dataclasses; :mod:`engine.records` maps between the two.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, false
from sqlalchemy.types import JSON
from sqlmodel import Field

from storage import chat_tables as chat_tables  # these two register further tables in the same metadata
from storage import learning_tables as learning_tables
from storage.base import Base as Base  # whoever takes it from here has every table registered
from storage.types import CleanText, UtcDateTime


class ConversationRow(Base, table=True):
    """A conversation as it was last read.

    Attributes:
        id: the conversation's own id, the same whenever it is read, so that reading it again changes this row.
        direct: whether it is a direct message between people; those train nothing.
        first_read_at: when it first arrived here.
        read_at: when it was last read; retention counts from here.
    """

    __tablename__ = "conversations"
    __table_args__ = (Index(None, "platform", "workspace", "channel", "thread"),)

    id: str = Field(primary_key=True, sa_type=CleanText)
    platform: str = Field(sa_type=CleanText)
    title: str = Field(default="", sa_type=CleanText)
    workspace: str = Field(default="", sa_type=CleanText)
    channel: str = Field(default="", sa_type=CleanText)
    thread: str = Field(default="", sa_type=CleanText)
    public: bool = False
    direct: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    first_read_at: datetime = Field(sa_type=UtcDateTime)
    read_at: datetime = Field(sa_type=UtcDateTime, index=True)


class MessageRow(Base, table=True):
    """One message of a conversation; ``position`` counts from 0 in the order of the conversation."""

    __tablename__ = "messages"
    __table_args__ = (
        ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),
        Index(None, "conversation_id", "position"),
    )

    conversation_id: str = Field(primary_key=True, sa_type=CleanText)
    id: str = Field(primary_key=True, sa_type=CleanText)
    position: int
    author: str = Field(sa_type=CleanText)
    author_id: str = Field(default="", sa_type=CleanText, index=True)
    text: str = Field(sa_type=CleanText)
    time: datetime | None = Field(default=None, sa_type=UtcDateTime)
    permalink: str = Field(default="", sa_type=CleanText)
    thread: str = Field(default="", sa_type=CleanText)
    kind: str = Field(default="person", sa_type=CleanText)


class SummaryRow(Base, table=True):
    """A summary, with what was asked, what wrote it and what it covers.

    Attributes:
        id: 32 hexadecimal digits.
        asked_by: the platform's user id or the login name of who asked, or an empty string.
        covered: messages that went into the prompt; ``left_out`` did not; ``parts`` is how often it was cut.
        first_covered, last_covered: ISO 8601 times of the first and last covered message, or empty strings.
        notes: sentences on what code did to the model's text.
    """

    __tablename__ = "summaries"
    __table_args__ = (ForeignKeyConstraint(["conversation_id"], ["conversations.id"], ondelete="CASCADE"),)

    id: str = Field(primary_key=True, sa_type=CleanText)
    conversation_id: str = Field(sa_type=CleanText, index=True)
    created_at: datetime = Field(sa_type=UtcDateTime, index=True)
    asked_by: str = Field(default="", sa_type=CleanText, index=True)
    text: str = Field(sa_type=CleanText)
    style: str = Field(sa_type=CleanText)
    focus: str = Field(default="", sa_type=CleanText)
    output_language: str = Field(default="", sa_type=CleanText)
    include_bots: bool = False
    adapter: str = Field(sa_type=CleanText, index=True)
    model: str = Field(sa_type=CleanText)
    prompt_version: str = Field(sa_type=CleanText)
    demonstration: bool = False
    covered: int
    left_out: int
    authors: int
    first_covered: str = Field(default="", sa_type=CleanText)
    last_covered: str = Field(default="", sa_type=CleanText)
    parts: int
    input_tokens: int
    output_tokens: int
    seconds: float
    notes: list[Any] = Field(default_factory=list, sa_type=JSON)


class SentenceRow(Base, table=True):
    """One sentence of a summary; ``flagged`` is a list of the numbers and names that its conversation lacks."""

    __tablename__ = "summary_sentences"
    __table_args__ = (ForeignKeyConstraint(["summary_id"], ["summaries.id"], ondelete="CASCADE"),)

    summary_id: str = Field(primary_key=True, sa_type=CleanText)
    position: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    text: str = Field(sa_type=CleanText)
    supported: bool
    flagged: list[Any] = Field(default_factory=list, sa_type=JSON)


class SourceRow(Base, table=True):
    """One message that a sentence rests on; rank 0 supports it most. It goes when the sentence or the message goes."""

    __tablename__ = "summary_sources"
    __table_args__ = (
        ForeignKeyConstraint(
            ["summary_id", "sentence"],
            ["summary_sentences.summary_id", "summary_sentences.position"],
            ondelete="CASCADE",
        ),
        ForeignKeyConstraint(
            ["conversation_id", "message_id"], ["messages.conversation_id", "messages.id"], ondelete="CASCADE"
        ),
        Index(None, "conversation_id", "message_id"),
    )

    summary_id: str = Field(primary_key=True, sa_type=CleanText)
    sentence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    rank: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    conversation_id: str = Field(sa_type=CleanText)
    message_id: str = Field(sa_type=CleanText)


class FeedbackRow(Base, table=True):
    """A thumb, ``up`` or ``down``, with an optional reason; one for each person and summary, the last one counting."""

    __tablename__ = "feedback"
    __table_args__ = (
        ForeignKeyConstraint(["summary_id"], ["summaries.id"], ondelete="CASCADE"),
        CheckConstraint("thumb IN ('up', 'down')", name="thumb"),
    )

    summary_id: str = Field(primary_key=True, sa_type=CleanText)
    author_id: str = Field(primary_key=True, sa_type=CleanText, index=True)
    thumb: str = Field(sa_type=CleanText)
    reason: str = Field(default="", sa_type=CleanText)
    given_at: datetime = Field(sa_type=UtcDateTime)


class ReceptionRow(Base, table=True):
    """What people made of a summary that retention has deleted since: figures in service outlive the texts.

    It holds no text and names nobody; of a direct message not even the channel.

    Attributes:
        id: the summary's.
        at: when it was written.
        corrected: whether somebody who had it before them changed it.
    """

    __tablename__ = "receptions"
    __table_args__ = (Index(None, "adapter", "at"),)

    id: str = Field(primary_key=True, sa_type=CleanText)
    adapter: str = Field(sa_type=CleanText)
    platform: str = Field(sa_type=CleanText)
    workspace: str = Field(default="", sa_type=CleanText)
    channel: str = Field(default="", sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)
    corrected: bool
    thumb_up: bool
    thumb_down: bool


class JobSlotRow(Base, table=True):
    """One due time of a job that runs by the clock or by hand.

    Attributes:
        slot: which one, as the job names it: a date for a daily job, a time for one that is run by hand.
        finished_at: None where it has not ended well.
    """

    __tablename__ = "job_slots"

    job: str = Field(primary_key=True, sa_type=CleanText)
    slot: str = Field(primary_key=True, sa_type=CleanText)
    started_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
