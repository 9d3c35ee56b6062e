"""Training pairs: listing and showing them, approving and rejecting, and an approver's own edit.

A decision is taken on what was seen: whoever decides hands in the mark of the pair as it was shown to them
(:func:`mark_of`), and is told where it has changed since. Reviewers never approve their own pairs; an administrator on
the command line or the console may, and the ledger says who did. Every decision is a line of the ledger, one for a
whole filter.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.learning.arrivals import enter
from engine.learning.corrections import clean
from engine.learning.dialogues import content_hash
from engine.learning.differences import difference, same_words
from engine.learning.heldout import is_private
from engine.learning.ledger import opened, pseudonym, recorded
from engine.learning.succession import settle, settle_decided
from engine.text.safety import visible
from storage import pair_queries as queries
from storage import queries as summaries
from storage.errors import NotPermitted, PairRefused
from storage.learning_tables import PairRow
from storage.pair_filters import PairFilter
from storage.pair_queries import PairLine

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.learning.settings import LearningSettings
    from storage.database import Database

#: Most pairs on one page of a list.
PAGE = 500
_LONGEST_REASON = 2_000


@dataclass(frozen=True, slots=True)
class Many:
    """The pairs of a filter that wait: how many they are, and a mark of just which."""

    count: int
    mark: str


def list_pairs(session: Session, wanted: PairFilter, *, limit: int = 50, after: str = "") -> Sequence[PairLine]:
    """Pairs without their texts but for the beginnings of summaries, newest first.

    Args:
        limit: how many, at most :data:`PAGE`.
        after: the id of the last pair of the page before, or empty.

    Raises:
        PairRefused: there is no pair of that id any more.
    """
    last = None
    if after:
        row = find(session, after)
        last = (row.created_at, row.id)
    return queries.pair_lines(session=session, wanted=wanted, limit=min(limit, PAGE), after=last)


def find(session: Session, pair_id: str) -> PairRow:
    """The pair of an id, or of the beginning of one.

    Raises:
        PairRefused: there is none, or several begin so.
    """
    row = queries.get_pair(session=session, pair_id=pair_id)
    if row is not None:
        return row
    named = queries.pairs_named(session=session, beginning=pair_id) if len(pair_id) >= 4 else []
    if len(named) == 1:
        row = queries.get_pair(session=session, pair_id=named[0])
        assert row is not None
        return row
    shown = visible(pair_id, keep_newlines=False)[:40]
    if named:
        raise PairRefused(f"Several pairs have ids that begin with {shown!r}.", "Write more of the id.")
    raise PairRefused(f"There is no pair {shown!r}.", "`redraft pairs list` shows the ids.")


def open_pair(database: Database, *, pair_id: str, by: str, asked: bool = True, now: datetime | None = None) -> PairRow:
    """A pair with its texts, for a person; a private conversation that is not theirs is recorded as opened first.

    Args:
        asked: whether the person asked for just this one. What is only read ahead of them opens nothing.

    Raises:
        PairRefused: there is none.
        NotPermitted: its conversation is private, and they did not ask for it.
        StorageError: it could not be recorded; then it is not shown.
    """
    with database.read() as session:
        row = find(session, pair_id)
    if is_private(row) and row.author_id != by:
        if not asked:
            raise NotPermitted(f"The conversation of the pair {row.id[:12]} is private.", "Open it to read it.")
        opened(database, conversation_id=row.conversation_id or row.conversation_key, by=by, why="pair", now=now)
    return row


def mark_of(pair: PairRow) -> str:
    """What a person saw of a pair, as 16 hexadecimal digits: its text, its state, and who decided when."""
    seen = (pair.content_hash, pair.state, pair.decided_by, str(pair.decided_at), pair.superseded_by, pair.split)
    return hashlib.sha256("\x00".join(seen).encode("utf-8", "replace")).hexdigest()[:16]


def approve(
    database: Database,
    *,
    pair_ids: Sequence[str],
    by: str,
    administrator: bool = False,
    seen: str = "",
    now: datetime | None = None,
) -> list[PairRow]:
    """Approve pairs that wait, all of them or none; each is used from now on in place of what it builds on.

    Args:
        administrator: whether they may approve their own.
        seen: of a single pair, its :func:`mark_of` as it was shown; empty where nothing was.

    Raises:
        PairRefused: there is no such pair, it does not wait any more, or it has changed since it was seen.
        NotPermitted: it is their own.
        StorageError: it could not be stored.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        rows = [_as_seen(find(session, pair_id), seen) for pair_id in dict.fromkeys(pair_ids)]
        for row in rows:
            if row.state != "pending":
                raise PairRefused(
                    f"The pair {row.id[:12]} does not wait for a decision: it is {_decided(row)}.",
                    "Take that decision back first if it was wrong." if row.state == "rejected" else "",
                )
            if not administrator and by in (row.author_id, ""):
                raise NotPermitted("You wrote this pair, so somebody else has to approve it.", "Ask another reviewer.")
            _decide(row, "approved", by, moment)
            session.add(row)
            session.flush()
            settle(session, row.id)
            ledger.append("pair.approved", by=by, subject=row.id, details=_where(row), now=moment)
    return rows


def reject(
    database: Database, *, pair_ids: Sequence[str], by: str, reason: str, seen: str = "", now: datetime | None = None
) -> list[PairRow]:
    """Reject pairs that wait or were approved, all of them or none; what they took the place of stands again.

    Raises:
        PairRefused: there is no such pair, it is rejected, it has changed since it was seen, or there is no reason.
        StorageError: it could not be stored.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    why = _reason(reason)
    with recorded(database) as (session, ledger):
        rows = [_as_seen(find(session, pair_id), seen) for pair_id in dict.fromkeys(pair_ids)]
        for row in rows:
            if row.state == "rejected":
                raise PairRefused(f"The pair {row.id[:12]} is {_decided(row)} already.")
            _decide(row, "rejected", by, moment, why)
            session.add(row)
            session.flush()
            settle(session, row.id)
            ledger.append("pair.rejected", by=by, subject=row.id, details=_where(row) | {"reason": why}, now=moment)
    return rows


def reopen(database: Database, *, pair_id: str, by: str, seen: str = "", now: datetime | None = None) -> PairRow:
    """Take a decision back: the pair waits again, and until it is approved, what it took the place of stands.

    Raises:
        PairRefused: there is no such pair, it waits already, or it has changed since it was seen.
        StorageError: it could not be stored.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        row = _as_seen(find(session, pair_id), seen)
        if row.state == "pending":
            raise PairRefused(f"The pair {row.id[:12]} waits for a decision already.")
        before = row.state
        row.state, row.decided_at, row.decided_by, row.reject_reason = "pending", None, "", ""
        session.add(row)
        session.flush()
        settle(session, row.id)
        ledger.append("pair.reopened", by=by, subject=row.id, details=_where(row) | {"was": before}, now=moment)
    return row


def waiting(session: Session, wanted: PairFilter) -> Many:
    """Which pairs of a filter wait for a decision; what :func:`decide_matching` is held against."""
    ids = queries.waiting_ids(session=session, wanted=wanted)
    return Many(len(ids), hashlib.sha256("\n".join(ids).encode("ascii", "replace")).hexdigest())


def decide_matching(
    database: Database,
    *,
    wanted: PairFilter,
    to: str,
    by: str,
    reason: str = "",
    administrator: bool = False,
    expected: Many | None = None,
    now: datetime | None = None,
) -> int:
    """Approve or reject every pair that waits and that a filter finds; one line of the ledger says how many.

    Args:
        to: ``approved`` or ``rejected``.
        reason: needed for rejecting.
        administrator: whether their own are approved too; otherwise those go on waiting.
        expected: which they were when the person was told how many; refused when they are others now.

    Returns:
        How many.

    Raises:
        PairRefused: they are to be rejected and there is no reason, or they are not those that were expected.
        StorageError: nothing could be stored.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    why = _reason(reason) if to == "rejected" else ""
    own = by if to == "approved" and not administrator else None
    with recorded(database) as (session, ledger):
        values = {"state": to, "decided_at": moment, "decided_by": by, "reject_reason": why}
        found = waiting(session, wanted) if expected is not None else None
        if expected is not None and found is not None and found != expected:
            others = f"{found.count:,}" if found.count != expected.count else "others, though as many,"
            raise PairRefused(
                f"They were {expected.count:,} when you were asked, and are {others} now; none was {to}.", "Look again."
            )
        count = queries.decide(session=session, wanted=wanted, but_author=own, values=values)
        settle_decided(session)
        if count:
            chosen = {name: value for name, value in asdict(wanted).items() if value is not None}
            if wanted.text is not None:
                # What somebody looked for may be words of a conversation, which no line of the ledger holds.
                chosen["text"] = "(a text)"
            if wanted.author_id is not None:
                chosen["author_id"] = pseudonym(session, wanted.author_id)
            details: dict[str, Any] = {"count": count, "filter": chosen}
            ledger.append(f"pairs.{to}", by=by, details=details | ({"reason": why} if why else {}), now=moment)
    return count


def edit_pair(
    database: Database,
    settings: LearningSettings,
    *,
    pair_id: str,
    text: str,
    by: str,
    seen: str = "",
    now: datetime | None = None,
) -> PairRow:
    """An approver's own version of a pair's summary: a new pair that keeps both authors and waits for approval.

    The one before stays as it was, because runs may have been made of it, and is used until the new one is approved. On
    which side it is does not change.

    Args:
        by: the approver; they may approve it afterwards unless they are the author as well.

    Raises:
        PairRefused: there is no such pair, it has changed since it was seen, been replaced or edited before, nothing
            was changed, just this summary is there already, or too little of the draft would be changed any more for
            a person's text.
        CorrectionRefused: the text is empty or too long.
        StorageError: it could not be stored.
    """
    cleaned = clean(text, settings)
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        before = _as_seen(find(session, pair_id), seen)
        if before.superseded_by:
            raise PairRefused("A later pair has taken the place of this one.", "Edit that one.")
        if queries.waits_in_place_of(session=session, pair_id=before.id):
            raise PairRefused("A later version of this pair waits for a decision.", "Edit that one, or reject it.")
        if same_words(cleaned, before.summary):
            raise PairRefused("That is the text as it was; nothing was changed.")
        digest = content_hash(before.dialogue, cleaned)
        there = queries.pair_of_content(session=session, content_hash=digest)
        if there is not None:
            raise PairRefused("Just this summary of the conversation is there already.", f"It is {there.id[:12]}.")
        kept = before.model_dump(exclude={"superseded_by", "decided_at", "decided_by", "reject_reason"})
        changed: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "summary": cleaned,
            "content_hash": digest,
            "editor_id": by,
            "supersedes": before.id,
            "state": "pending",
            "created_at": moment,
            "distance": _distance(session, settings, before, cleaned),
        }
        pair = PairRow(**(kept | changed))
        enter(session, ledger, settings, pair, now=moment)
        ledger.append("pair.edited", by=by, subject=pair.id, details=_where(pair) | {"was": before.id}, now=moment)
    return pair


def _distance(session: Session, settings: LearningSettings, before: PairRow, text: str) -> float | None:
    """How far an edit of a pair is from the draft, where there was one.

    Raises:
        PairRefused: it is nearly the draft again.
    """
    if not before.seen_draft or not before.draft_summary_id:
        return before.distance
    draft = summaries.get_summary(session=session, summary_id=before.draft_summary_id)
    if draft is None:
        return before.distance
    distance = difference(draft.text, text).distance
    if distance < settings.pairs_min_change:
        raise PairRefused(
            "That is nearly what the model wrote, and models are fine-tuned on people's texts only.",
            "Reject the pair, or change more of it.",
        )
    return distance


def _as_seen(row: PairRow, seen: str) -> PairRow:
    if seen and seen != mark_of(row):
        raise PairRefused(
            f"The pair {row.id[:12]} has changed since you saw it: it is now {_decided(row)}.", "Look at it again."
        )
    return row


def _decided(row: PairRow) -> str:
    if row.superseded_by:
        return f"{row.state} and replaced by a later one"
    if row.state == "pending":
        return "waiting for a decision"
    return f"{row.state} by {row.decided_by}" if row.decided_by else row.state


def _decide(row: PairRow, state: str, by: str, moment: datetime, reason: str = "") -> None:
    row.state, row.decided_at, row.decided_by, row.reject_reason = state, moment, by, reason


def _where(row: PairRow) -> dict[str, str]:
    """What a line of the ledger says of a pair: where it is from and on which side it is, never its text."""
    return {"origin": row.origin, "platform": row.platform, "split": row.split}


def _reason(reason: str) -> str:
    line = " ".join(visible(reason, keep_newlines=False).split())[:_LONGEST_REASON]
    if not line:
        raise PairRefused("A rejection needs a reason.", "Say in a few words what is wrong with it.")
    return line
