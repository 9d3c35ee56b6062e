"""What the screen of conversations shows and does: search, one conversation with its summaries, writing, forgetting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from admin.console.store import Store
from engine.learning.blind import ByHand
from engine.learning.browsing import Opened
from engine.learning.erasure import Erased, Preview
from storage.console_queries import ConversationLine

PAGE = 200


@dataclass(frozen=True, slots=True)
class Asked:
    """Which words, and how many conversations."""

    words: str = ""
    rows: int = PAGE


@dataclass(frozen=True, slots=True)
class Found:
    """What was found, how many conversations there are in all, and what was asked."""

    lines: Sequence[ConversationLine]
    total: int
    asked: Asked


def find(store: Store, asked: Asked) -> Found:
    """The first so many."""
    from engine.learning.browsing import find_conversations
    from storage.console_queries import count_conversations

    with store.database().read() as session:
        lines = find_conversations(session, store.index, asked.words, limit=asked.rows)
        return Found(lines, count_conversations(session=session), asked)


def open_one(store: Store, conversation_id: str, *, asked: bool) -> Opened:
    """A conversation.

    Args:
        asked: whether a person asked for it; otherwise one that is private, by now perhaps, is refused. The opening is
            recorded, which a console that only reads cannot do.
    """
    from engine.learning.browsing import open_conversation

    database = store.writable() if asked else store.database()
    return open_conversation(database, conversation_id=conversation_id, by=store.by, asked=asked, now=store.clock)


def uncover(store: Store, conversation_id: str) -> None:
    """Record that what the model wrote of it is about to be shown: nobody who has seen that writes blind."""
    from engine.learning import blind

    blind.shown(store.writable(), conversation_id=conversation_id, by=store.by, why="console", now=store.clock)


def why_not_blind(store: Store, conversation_id: str) -> str:
    """Why a summary by whoever sits here would not be blind; empty where it would be."""
    from engine.learning import blind

    with store.database().read() as session:
        return blind.why_not_blind(session, conversation_id, store.by)


def write(store: Store, conversation_id: str, text: str) -> ByHand:
    """A summary by whoever sits here."""
    from admin.person import login_name
    from engine.learning.blind import write_by_hand

    return write_by_hand(
        store.writable(),
        store.learning(),
        conversation_id=conversation_id,
        text=text,
        by=store.by,
        author=login_name(),
        now=store.clock,
    )


def preview(store: Store, conversation_id: str) -> Preview:
    """What forgetting it would take."""
    from engine.learning import erasure

    database = store.database()
    return erasure.preview(database, database.home, conversation=conversation_id)


def forget(store: Store, seen: Preview) -> Erased:
    """Erase what a person was told of; refused where it is not that any more."""
    from engine.learning import erasure

    database = store.writable()
    done = erasure.forget(
        database,
        database.home,
        store.learning(),
        conversation=seen.subject,
        by=store.by,
        expected=seen,
        now=store.clock,
    )
    # What the index had of it goes now, and not at the next search.
    store.index.close()
    return done
