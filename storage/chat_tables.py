"""The tables of the chat platforms: accepted jobs, shown answers, when people last asked, who opted out, alerts told.

As in :mod:`storage.tables`, keys are natural. What a job was accepted with is kept until it has ended, because it may
hold what somebody wrote; its key is kept for some days more, so that a late delivery finds it. No rule of the product
is here: :mod:`bot` decides what is written.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index
from sqlalchemy.types import JSON
from sqlmodel import Field

from storage.base import Base
from storage.types import CleanText, UtcDateTime


class ChatJobRow(Base, table=True):
    """Something that a person or a platform asked for and that was acknowledged: it is done once, whatever happens.

    Attributes:
        key: names the delivery, the same however often it is delivered (an event's id, an interaction's).
        platform: ``slack`` or ``discord``; ``kind`` is what is to be done, as the platform's code names it.
        lane: ``summary`` for what waits for the model, ``light`` for the rest, so that neither waits for the other.
        person: who asked (``slack:U01AB``), or empty.
        payload: what it was accepted with; emptied once it has ended.
        progress: what was done of it so far, so that doing it again begins from there.
        state: ``waiting``, ``running``, ``done`` or ``failed``.
        due_at: it is not begun before.
        owner: the process that works at it; ``lease_until`` is when it belongs to nobody any more.
        attempts: how often it was begun.
    """

    __tablename__ = "chat_jobs"
    __table_args__ = (
        CheckConstraint("state IN ('waiting', 'running', 'done', 'failed')", name="state"),
        CheckConstraint("lane IN ('summary', 'light')", name="lane"),
        Index(None, "state", "lane", "accepted_at"),
        Index(None, "person"),
    )

    key: str = Field(primary_key=True, sa_type=CleanText)
    platform: str = Field(sa_type=CleanText)
    kind: str = Field(sa_type=CleanText)
    lane: str = Field(sa_type=CleanText)
    person: str = Field(default="", sa_type=CleanText)
    payload: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    progress: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    state: str = Field(default="waiting", sa_type=CleanText)
    accepted_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    owner: str = Field(default="", sa_type=CleanText)
    lease_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    attempts: int = 0


class ChatAnswerRow(Base, table=True):
    """One place where a summary is or was shown; it goes with the summary.

    Attributes:
        person: whom it was shown to where it is private, else who asked for it or shared it.
        channel, thread, message: the platform's ids of where it stands; empty where it cannot be changed from here.
        older: how many of the oldest messages were left out for the sake of the limit; ``more``: or more.
    """

    __tablename__ = "chat_answers"
    __table_args__ = (
        ForeignKeyConstraint(["summary_id"], ["summaries.id"], ondelete="CASCADE"),
        Index(None, "person", "created_at"),
    )

    id: str = Field(primary_key=True, sa_type=CleanText)
    summary_id: str = Field(sa_type=CleanText, index=True)
    platform: str = Field(sa_type=CleanText)
    person: str = Field(sa_type=CleanText)
    private: bool = True
    channel: str = Field(default="", sa_type=CleanText)
    thread: str = Field(default="", sa_type=CleanText)
    message: str = Field(default="", sa_type=CleanText)
    older: int = 0
    more: bool = False
    created_at: datetime = Field(sa_type=UtcDateTime)


class ChatSeenRow(Base, table=True):
    """When a person last used Redraft in a channel: where ``new`` begins."""

    __tablename__ = "chat_seen"

    person: str = Field(primary_key=True, sa_type=CleanText)
    channel: str = Field(primary_key=True, sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)


class ChatOptOutRow(Base, table=True):
    """A person whose messages are neither stored nor read."""

    __tablename__ = "chat_optouts"

    person: str = Field(primary_key=True, sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)


class ChatMarkRow(Base, table=True):
    """A value that a platform's code remembers by name: an alert that was told, what was last swept, known commands."""

    __tablename__ = "chat_marks"

    name: str = Field(primary_key=True, sa_type=CleanText)
    value: str = Field(default="", sa_type=CleanText)
    at: datetime = Field(sa_type=UtcDateTime)
