"""What people edit and delete on their platform, and who wants to be left out: it reaches what is stored here.

The message is changed or goes, in every conversation that holds it; pairs whose dialogue has its line are rewritten and
rejected, so that the next run trains on none of them (an administrator may open one again). It rolls nothing back:
adapters that have learnt from it serve on, and what was summarised stays until retention; whoever wants more asks for
an erasure (:mod:`engine.learning.erasure`). It knows no platform but by name.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlmodel import Session

from engine.conversation import Message
from engine.formats.slack_text import shared_from, without_shared
from engine.learning.dialogues import content_hash, dialogue_of
from engine.learning.ledger import PROGRAM, Ledger, recorded
from storage import change_queries as queries
from storage import erasure_removal as removal
from storage import pair_queries
from storage.database import Database
from storage.learning_tables import PairRow
from storage.tables import MessageRow

EDITED = "A message of its conversation was edited since."
DELETED = "A message of its conversation was deleted since."
OPTED_OUT = "Somebody who wrote in its conversation opted out."


def message_changed(
    database: Database,
    *,
    platform: str,
    channel: str,
    message_id: str,
    text: str | None,
    now: datetime,
) -> int:
    """Bring what is stored of a message to what it says now; None where it was deleted. Harmless when repeated.

    Args:
        text: as people read it, like :attr:`engine.conversation.Message.text`.

    Returns:
        How many pairs were taken back.

    Raises:
        StorageError: nothing could be stored.
    """
    with database.read() as session:
        rows = queries.messages_with_id(session=session, platform=platform, channel=channel, message_id=message_id)
    if not any(row.text != text for row in rows):
        return 0
    with recorded(database) as (session, ledger):
        rows = queries.messages_with_id(session=session, platform=platform, channel=channel, message_id=message_id)
        changed = 0
        for row in rows:
            if row.text == text:
                continue
            old, new = _line(row, row.text), _line(row, text) if text is not None else ""
            changed += _take_back(session, ledger, row.conversation_id, {old: new}, DELETED if not new else EDITED, now)
            if text is None:
                session.delete(row)
            else:
                row.text = text
                session.add(row)
            session.flush()
        if text is None:
            queries.delete_empty_conversations(session=session, ids={row.conversation_id for row in rows})
    return changed


def channel_closed(database: Database, *, platform: str, channel: str, now: datetime) -> int:
    """Take a channel that was made private for one: from now on its pairs train no adapter but its own.

    Returns:
        How many pairs that concerns.

    Raises:
        StorageError: nothing could be stored.
    """
    with recorded(database) as (session, ledger):
        count = queries.close_channel(session=session, platform=platform, channel=channel)
        if count:
            details = {"platform": platform, "pairs": count}
            ledger.append("channel.closed", by=PROGRAM, subject=channel, details=details, now=now)
    return count


def take_out_author(database: Database, *, person: str, now: datetime, names: Collection[str] = ()) -> int:
    """Take a person's messages out of what is stored, as if each had been deleted. Harmless when repeated.

    Where others share them, those others' messages lose them too; of people of the same name as well.

    Args:
        person: ``slack:U01AB``.
        names: what the person is called, beside the names that their stored messages have.

    Returns:
        How many pairs were taken back.

    Raises:
        StorageError: nothing could be stored.
    """
    platform, _, account = person.partition(":")
    with recorded(database) as (session, ledger):
        rows = queries.messages_by(session=session, platform=platform, account=account)
        by_conversation: dict[str, dict[str, str]] = {}
        for row in rows:
            by_conversation.setdefault(row.conversation_id, {})[_line(row, row.text)] = ""
        called = {*names, *(row.author for row in rows)} - {""}
        for row in _sharing(session, platform, called):
            if row.author_id == account:
                continue
            text = without_shared(row.text, called)
            by_conversation.setdefault(row.conversation_id, {})[_line(row, row.text)] = _line(row, text) if text else ""
            row.text = text
            session.add(row)
        changed = sum(
            _take_back(session, ledger, conversation, lines, OPTED_OUT, now)
            for conversation, lines in by_conversation.items()
        )
        removal.delete_messages(session=session, platform=platform, account=account)
        queries.delete_empty_conversations(session=session, ids=set(by_conversation))
        ledger.append("person.opted-out", by=person, details={"pairs": changed}, now=now)
    return changed


def _sharing(session: Session, platform: str, names: Collection[str]) -> list[MessageRow]:
    """The messages in which one of somebody's messages is shared."""
    found: dict[tuple[str, str], MessageRow] = {}
    for name in sorted(names):
        for row in queries.messages_holding(session=session, platform=platform, text=shared_from(name)):
            found[row.conversation_id, row.id] = row
    return list(found.values())


def _take_back(
    session: Session, ledger: Ledger, conversation_id: str, lines: dict[str, str], reason: str, now: datetime
) -> int:
    """Rewrite lines in the dialogues of a conversation's pairs, and reject those pairs; how many there were."""
    count = 0
    for pair in queries.pairs_of_conversation(session=session, conversation_id=conversation_id):
        before = pair.dialogue.split("\n")
        if not any(line in lines for line in before):
            continue
        after = [lines.get(line, line) for line in before]
        _rewrite(session, pair, [line for line in after if line])
        if pair.state != "rejected":
            pair.state, pair.decided_at, pair.decided_by, pair.reject_reason = "rejected", now, PROGRAM, reason
            details = {"origin": pair.origin, "platform": pair.platform, "split": pair.split, "reason": reason}
            ledger.append("pair.rejected", by=PROGRAM, subject=pair.id, details=details, now=now)
            count += 1
        session.add(pair)
        session.flush()
    return count


def _rewrite(session: Session, pair: PairRow, lines: Sequence[str]) -> None:
    pair.dialogue = "\n".join(lines)
    digest = content_hash(pair.dialogue, pair.summary)
    there = pair_queries.pair_of_content(session=session, content_hash=digest)
    # The same pair may be there from a reading after the change; the unique hash is then its own.
    pair.content_hash = digest if there is None or there.id == pair.id else content_hash(pair.id, digest)


def _line(row: MessageRow, text: str) -> str:
    return dialogue_of([Message(id=row.id, author=row.author, text=text)])
