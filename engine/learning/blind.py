"""Whether a summary that somebody writes by hand counts as blind: what is stored decides, and not one screen's memory.

Only blind references decide a gate, so it is blind only where nothing tells that its author had a model's text of that
conversation before them: they asked for one, were shown one in a chat, judged or corrected one; the ledger has it that
they uncovered or compared some; or a pair of it was made from a draft, which everybody who reviews sees beside it.
Otherwise, and where it is nearly what a model wrote, it is an edit of the newest summary, by the rules of those.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.learning.arrivals import Arrival, Told, arrive
from engine.learning.corrections import clean, to_be_written_of
from engine.learning.differences import difference
from engine.learning.ledger import pseudonym, recorded
from engine.text.safety import visible
from storage import pair_queries, sighting_queries
from storage.errors import CorrectionRefused
from storage.queries import recent_summaries

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.learning.settings import LearningSettings
    from storage.database import Database

#: The line of the ledger for a person who had models' texts of a conversation shown to them.
SHOWN = "summaries.shown"
#: So many of the newest summaries are held against what was written by hand.
_MOST = 100


@dataclass(frozen=True, slots=True)
class ByHand:
    """What became of a summary by hand.

    Attributes:
        arrival: the pair, or None where it trains nothing.
        seen: why it does not count as blind, as a sentence; empty where it does.
    """

    arrival: Arrival
    seen: str


def shown(database: Database, *, conversation_id: str, by: str, why: str = "", now: datetime | None = None) -> None:
    """Record that a person is about to be shown what models wrote of a conversation; once is enough.

    Raises:
        StorageError: it could not be recorded; then it should not be shown.
    """
    with recorded(database) as (session, ledger):
        if not _in_ledger(session, conversation_id, by):
            details = {"why": why} if why else {}
            ledger.append(SHOWN, by=by, subject=conversation_id, details=details, now=now)


def was_shown(session: Session, conversation_id: str, by: str) -> bool:
    """Whether the ledger has it that they were shown what models wrote of it."""
    from storage.learning_tables import PersonKeyRow

    return session.get(PersonKeyRow, by) is not None and _in_ledger(session, conversation_id, by)


def why_not_blind(session: Session, conversation_id: str, by: str) -> str:
    """Why what a person writes of a conversation now would not be blind, as a sentence; empty where it would be."""
    if was_shown(session, conversation_id, by):
        return "You have been shown what the model wrote of it."
    if sighting_queries.shown_in_answers(session=session, conversation_id=conversation_id, person=by):
        return "You have asked for, judged or corrected a summary of it."
    if sighting_queries.pair_with_draft(session=session, conversation_id=conversation_id):
        return "The review queue shows what the model wrote of it, beside a correction."
    return ""


def write_by_hand(
    database: Database,
    settings: LearningSettings,
    *,
    conversation_id: str,
    text: str,
    by: str,
    author: str = "",
    now: datetime | None = None,
) -> ByHand:
    """Take a summary that a person wrote of a stored conversation: blind, or as an edit of what the model wrote.

    A later one by the same person takes the place of theirs before once it is approved.

    Args:
        by: who wrote it: ``local:maria``.
        author: the name that they go by.

    Raises:
        CorrectionRefused: there is no such conversation any more, its messages are direct ones, the text is empty or
            too long, or it is nearly what the model wrote.
        StorageError: it could not be stored.
    """
    cleaned = clean(text, settings)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        conversation = to_be_written_of(session, conversation_id)
        seen = why_not_blind(session, conversation_id, by)
        written = recent_summaries(session=session, conversation_id=conversation_id, limit=_MOST)
        distances = [difference(one.text, cleaned).distance for one in written]
        if distances and min(distances) < settings.pairs_min_change:
            raise CorrectionRefused(
                "That is nearly what the model wrote, and models are fine-tuned on people's texts only.",
                "Write it in your own words.",
            )
        draft = written[0] if seen and written else None
        told = Told(
            summary=cleaned,
            origin="edited" if seen else "blind",
            author_id=by,
            author=visible(author, keep_newlines=False).strip(),
            seen_draft=bool(seen),
            draft_summary_id=draft.id if draft else "",
            draft_adapter=draft.adapter if draft else "",
            distance=distances[0] if draft else None,
            supersedes=""
            if seen
            else pair_queries.own_blind(session=session, conversation_id=conversation_id, author_id=by, but=""),
        )
        people = [message for message in conversation.messages if message.kind == "person"]
        return ByHand(arrive(session, ledger, settings, conversation, people, told, now=moment), seen)


def _in_ledger(session: Session, conversation_id: str, by: str) -> bool:
    name = pseudonym(session, by)
    return sighting_queries.in_ledger(session=session, action=SHOWN, subject=conversation_id, actor=name)
