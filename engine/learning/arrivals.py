"""How a pair comes in: known already or new, on its side of the split, waiting or approved.

Every way to a pair but a whole file's import (:mod:`engine.learning.importing`) ends here, so that there is one rule.
It runs inside the caller's transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from engine.conversation import Conversation, Message
from engine.learning import near, splits, succession
from engine.learning.dialogues import content_hash, dialogue_of
from engine.learning.ledger import PROGRAM, Ledger
from storage import pair_queries as queries
from storage.errors import CorrectionRefused
from storage.learning_tables import PairRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.learning.settings import LearningSettings


@dataclass(frozen=True, slots=True)
class Arrival:
    """Whether a text became a pair.

    Attributes:
        pair: the pair, or None where it trains nothing.
        new: False where just this pair was there already.
    """

    pair: PairRow | None
    new: bool


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of a pair to come; the fields are those of :class:`storage.learning_tables.PairRow`."""

    summary: str
    origin: str
    author_id: str
    author: str = ""
    style: str = "standard"
    focus: str = ""
    output_language: str = ""
    seen_draft: bool = False
    draft_summary_id: str = ""
    draft_adapter: str = ""
    distance: float | None = None
    supersedes: str = ""
    source: str = ""
    licence: str = ""
    name: str = ""


def arrive(
    session: Session,
    ledger: Ledger,
    settings: LearningSettings,
    conversation: Conversation,
    messages: Sequence[Message],
    told: Told,
    *,
    now: datetime,
) -> Arrival:
    """Make a pair of a stored conversation and a person's summary of the given messages of it.

    Direct messages make none. A pair that is there already stays as it is.

    Raises:
        CorrectionRefused: none of the messages has any text.
        StorageError: another process has been changing something for too long.
    """
    if conversation.direct:
        return Arrival(None, False)
    dialogue = dialogue_of(messages)
    if not dialogue:
        raise CorrectionRefused(
            "Nothing of that conversation is stored any more that a summary could be about.", "Summarise it again."
        )
    digest = content_hash(dialogue, told.summary)
    there = queries.pair_of_content(session=session, content_hash=digest)
    if there is not None:
        succession.back_to(session, there, told.supersedes)
        return Arrival(there, False)
    place = (conversation.platform, conversation.workspace, conversation.channel)
    marks = [near.mark(*place, message.id) for message in messages] if conversation.platform != "file" else []
    split = splits.side_of(
        session,
        key=conversation.id,
        home=splits.home_scope(conversation, public=conversation.public),
        dialogue=dialogue,
        messages=marks,
        now=now,
    )
    pair = PairRow(
        id=uuid.uuid4().hex,
        content_hash=digest,
        conversation_key=conversation.id,
        conversation_id=conversation.id,
        platform=conversation.platform,
        workspace=conversation.workspace,
        channel=conversation.channel,
        public=conversation.public,
        dialogue=dialogue,
        state="pending",
        split=split,
        created_at=now,
        **{name: getattr(told, name) for name in Told.__dataclass_fields__},
    )
    enter(session, ledger, settings, pair, now=now)
    return Arrival(pair, True)


def enter(session: Session, ledger: Ledger, settings: LearningSettings, pair: PairRow, *, now: datetime) -> None:
    """Store a new pair: approved where the policy trusts its authors, and then used in place of what it builds on."""
    authors = {author for author in (pair.author_id, pair.editor_id) if author}
    if settings.pairs_policy == "trusted-authors" and authors and authors <= settings.trusted_authors:
        pair.state, pair.decided_at, pair.decided_by = "approved", now, PROGRAM
    session.add(pair)
    session.flush()
    if pair.state == "approved":
        succession.settle(session, pair.id)
        ledger.append("pair.approved", by=PROGRAM, subject=pair.id, details={"policy": "trusted-authors"}, now=now)
