"""Corrections and thumbs: what people say to a summary, and whether their text becomes a training pair.

A correction is kept whole, with the words it changed, and replaces no other. It makes a pair when a person made the
text: written without the draft, or with at least ``PAIRS_MIN_CHANGE`` of the draft's words changed, by all who had a
hand in it together. Below that it counts as feedback, because models are fine-tuned on human-made text only; so do
corrections of direct messages, which train nothing. An author who had an earlier correction before them builds on it:
their distance is counted from there, and their pair takes the earlier one's place once it is approved.

Who may read and correct a conversation is for the platforms to say.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.learning.arrivals import Arrival, Told, arrive
from engine.learning.dialogues import covered
from engine.learning.differences import Difference, difference, same_words
from engine.learning.ledger import recorded
from engine.records import load_conversation
from engine.text.safety import visible
from storage import pair_queries
from storage import queries as summaries
from storage.errors import CorrectionRefused
from storage.learning_tables import CorrectionRow, PairRow
from storage.tables import FeedbackRow, SummaryRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.conversation import Conversation
    from engine.learning.ledger import Ledger
    from engine.learning.settings import LearningSettings
    from storage.database import Database

#: What may be wrong with a draft, in the author's choice.
ABOUT = ("missing", "wrong", "too long", "tone")
#: Longest reason of a thumb that is kept, in characters.
LONGEST_REASON = 2_000


@dataclass(frozen=True, slots=True)
class Corrected:
    """What became of a correction.

    Attributes:
        correction: as it is stored.
        pair: the training pair that it made (or that was there already), or None where it is feedback.
        sentence: fit to show to its author.
    """

    correction: CorrectionRow
    pair: PairRow | None
    sentence: str


def correct(
    database: Database,
    settings: LearningSettings,
    *,
    summary_id: str,
    author_id: str,
    author: str,
    text: str,
    blind: bool,
    about: str = "",
    builds_on: str = "",
    now: datetime | None = None,
) -> Corrected:
    """Take a person's own text in place of a summary.

    Args:
        author_id: ``slack:U01AB``, ``local:maria``.
        author: the name that they go by.
        text: theirs, whole; characters that cannot be seen are taken out.
        blind: whether they wrote without having seen the draft.
        about: one of :data:`ABOUT`, or empty.
        builds_on: the id of the correction that they had before them in place of the draft, or empty.

    Raises:
        CorrectionRefused: there is no such summary any more, or the text is empty, unchanged or too long.
        StorageError: it could not be stored.
    """
    if about and about not in ABOUT:
        raise CorrectionRefused(f"{about[:40]!r} says nothing about a draft.", f"Say one of {', '.join(ABOUT)}.")
    cleaned = clean(text, settings)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        summary = _summary(session, summary_id)
        base = _base(session, summary_id, builds_on)
        for before in (summary.text, *((base.text,) if base else ())):
            if same_words(cleaned, before):
                raise CorrectionRefused(
                    "That is the text as it was; nothing was changed.", "Change it, or give it a thumb instead."
                )
        row = CorrectionRow(
            id=uuid.uuid4().hex,
            summary_id=summary_id,
            author_id=author_id,
            author=visible(author, keep_newlines=False).strip(),
            created_at=moment,
            kind="blind" if blind and (base is None or base.kind == "blind") else "edited",
            text=cleaned,
            distance=0.0,
            about=about,
            builds_on=builds_on,
        )
        from_draft = difference(summary.text, cleaned)
        from_base = difference(base.text, cleaned) if base else from_draft
        row.distance, row.diff = from_base.distance, from_base.diff
        arrival = Arrival(None, False)
        if row.kind == "blind" or from_draft.distance >= settings.pairs_min_change:
            arrival = _pair(session, ledger, settings, summary, row, from_draft, base)
        row.pair_id = arrival.pair.id if arrival.pair else ""
        session.add(row)
    return Corrected(row, arrival.pair, _sentence(row, arrival, from_draft, settings))


def thumb(
    database: Database,
    *,
    summary_id: str,
    author_id: str,
    thumb: str,
    reason: str = "",
    now: datetime | None = None,
) -> FeedbackRow:
    """Take a thumb, ``up`` or ``down``, in place of the one that the same person gave before.

    The same thumb without a reason leaves the reason as it is: a click and its reason may arrive in any order.

    Raises:
        CorrectionRefused: there is no such summary any more, or it is neither up nor down.
        StorageError: it could not be stored.
    """
    if thumb not in ("up", "down"):
        raise CorrectionRefused("A thumb is up or down.", "Give one of the two.")
    row = FeedbackRow(
        summary_id=summary_id,
        author_id=author_id,
        thumb=thumb,
        reason=visible(reason[: 2 * LONGEST_REASON]).strip()[:LONGEST_REASON],
        given_at=(now or datetime.now(UTC)).astimezone(UTC),
    )
    with database.write() as session:
        _summary(session, summary_id)
        there = session.get(FeedbackRow, (summary_id, author_id))
        if there is not None and there.thumb == thumb and not row.reason:
            row.reason = there.reason
        summaries.save_feedback(session=session, feedback=row)
    return row


def write_blind(
    database: Database,
    settings: LearningSettings,
    *,
    conversation_id: str,
    text: str,
    by: str,
    author: str = "",
    origin: str = "blind",
    now: datetime | None = None,
) -> Arrival:
    """Take a summary that a person wrote of a stored conversation, with no draft of it before them.

    A later one by the same person takes the place of theirs before once it is approved.

    Args:
        by: who wrote it.
        author: the name that they go by.
        origin: ``blind``, or ``case`` where it is the agent's summary of a resolved support case.

    Raises:
        CorrectionRefused: there is no such conversation any more, its messages are direct ones, or the text is empty
            or too long.
        StorageError: it could not be stored.
    """
    cleaned = clean(text, settings)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        conversation = to_be_written_of(session, conversation_id)
        told = Told(
            summary=cleaned,
            origin=origin,
            author_id=by,
            author=visible(author, keep_newlines=False).strip(),
            supersedes=pair_queries.own_blind(session=session, conversation_id=conversation_id, author_id=by, but=""),
        )
        people = [message for message in conversation.messages if message.kind == "person"]
        return arrive(session, ledger, settings, conversation, people, told, now=moment)


def to_be_written_of(session: Session, conversation_id: str) -> Conversation:
    """A stored conversation of which a person may write a summary that trains.

    Raises:
        CorrectionRefused: there is none any more, or its messages are direct ones.
    """
    conversation = load_conversation(session, conversation_id)
    if conversation is None:
        raise CorrectionRefused("That conversation is no longer stored.", "Have it summarised again.")
    if conversation.direct:
        raise CorrectionRefused("Direct messages train nothing.", "Choose a conversation of a channel.")
    return conversation


def corrections(session: Session, summary_id: str) -> list[CorrectionRow]:
    """The corrections of a summary, oldest first; feedback ones among them."""
    return list(pair_queries.corrections_of(session=session, summary_id=summary_id))


def clean(text: str, settings: LearningSettings) -> str:
    """A person's text as it is kept.

    Raises:
        CorrectionRefused: nothing can be seen of it, or it is too long.
    """
    limit = settings.pairs_max_characters
    if len(text) > limit:
        raise CorrectionRefused(
            f"The text is {len(text):,} characters long; at most {limit:,} are taken.", "Write a shorter summary."
        )
    cleaned = visible(text).strip()
    if not any(character.isalnum() for character in cleaned):
        raise CorrectionRefused("There are no words in that text.", "Write what the summary should say.")
    return cleaned


def _summary(session: Session, summary_id: str) -> SummaryRow:
    found = summaries.get_summary(session=session, summary_id=summary_id)
    if found is None:
        raise CorrectionRefused(
            "That summary is no longer stored.", "Have the conversation summarised again and correct the new one."
        )
    return found


def _base(session: Session, summary_id: str, builds_on: str) -> CorrectionRow | None:
    if not builds_on:
        return None
    found = session.get(CorrectionRow, builds_on)
    if found is None or found.summary_id != summary_id:
        raise CorrectionRefused(
            "The correction that this one builds on is no longer stored.", "Look at the summary again and correct that."
        )
    return found


def _pair(
    session: Session,
    ledger: Ledger,
    settings: LearningSettings,
    summary: SummaryRow,
    row: CorrectionRow,
    from_draft: Difference,
    base: CorrectionRow | None,
) -> Arrival:
    conversation = load_conversation(session, summary.conversation_id)
    assert conversation is not None, "a summary goes with its conversation"
    messages = covered(
        conversation,
        include_bots=summary.include_bots,
        focus=summary.focus,
        first=summary.first_covered,
        last=summary.last_covered,
        written_at=summary.created_at,
    )
    edited = row.kind == "edited"
    told = Told(
        summary=row.text,
        origin=row.kind,
        author_id=row.author_id,
        author=row.author,
        style=summary.style,
        focus=summary.focus,
        output_language=summary.output_language,
        seen_draft=edited,
        draft_summary_id=summary.id if edited else "",
        draft_adapter=summary.adapter if edited else "",
        distance=from_draft.distance if edited else None,
        supersedes=_superseded(session, row, base),
    )
    return arrive(session, ledger, settings, conversation, messages, told, now=row.created_at)


def _superseded(session: Session, row: CorrectionRow, base: CorrectionRow | None) -> str:
    """The pair whose place a correction takes: that of what it builds on, else its author's own of this summary."""
    while base is not None and not base.pair_id and base.builds_on:
        base = session.get(CorrectionRow, base.builds_on)
    if base is not None and base.pair_id:
        return base.pair_id
    own = [
        before.pair_id
        for before in pair_queries.corrections_of(session=session, summary_id=row.summary_id)
        if before.author_id == row.author_id and before.kind == row.kind and before.pair_id
    ]
    return own[-1] if own else ""


def _sentence(row: CorrectionRow, arrival: Arrival, from_draft: Difference, settings: LearningSettings) -> str:
    if arrival.pair is not None and not arrival.new:
        return "Thank you. Just this summary of the conversation is there already."
    if arrival.pair is not None and arrival.pair.state == "approved":
        return "Thank you. Your text is approved; the next fine-tune can learn from it."
    if arrival.pair is not None:
        return "Thank you. Once an administrator has approved your text, the next fine-tune can learn from it."
    if row.kind == "blind" or from_draft.distance >= settings.pairs_min_change:
        return "Thank you. Your text is kept as feedback; direct messages train nothing."
    return (
        f"Thank you. That changes {_percent(from_draft.distance)} of the draft's words and counts as feedback; from "
        f"{_percent(settings.pairs_min_change)} on, a fine-tune can learn from it."
    )


def _percent(share: float) -> str:
    return f"{max(1, int(100 * share))}%"
