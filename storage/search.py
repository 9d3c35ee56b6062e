"""Full-text search over what is stored: SQLite's FTS5 in an index without a name, PostgreSQL's own where that serves.

The index of an SQLite database is not in it and has no file that anybody could find: it lives as long as whoever
searches holds it, and is brought up to date before every search from what was read again, came, or went since. So
nothing of it is left for an erasure or a retention to forget. Only public conversations and files are in it: what is
private is found by its title and channel, never by its words.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import func, or_, select
from sqlmodel import Session, col

from storage.tables import ConversationRow, MessageRow

_WORD = re.compile(r"\w+", re.UNICODE)
_CHUNK = 200


class SearchIndex:
    """An index for one database; safe to share between threads, one of which uses it at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index: sqlite3.Connection | None = None
        self._known: dict[str, tuple[datetime, int]] = {}

    def find(self, session: Session, words: str, *, limit: int = 1000) -> list[str]:
        """Ids of the conversations in which all of the words are, the last one perhaps only begun; the best first.

        Args:
            session: of the database that is searched.
        """
        terms = _WORD.findall(words)
        if not terms:
            return []
        if session.get_bind().dialect.name == "postgresql":
            return _in_postgresql(session, terms, limit)
        with self._lock:
            index = self._refreshed(session)
            # Every term in quotes: FTS5 knows operators by name, and people write AND, OR and NEAR.
            asked = " ".join(f'"{term}"' for term in terms) + "*"
            rows = index.execute(
                "SELECT conversation_id FROM words WHERE words MATCH ? ORDER BY rank LIMIT ?",
                (asked, limit),
            ).fetchall()
        return [str(row[0]) for row in rows]

    def close(self) -> None:
        """Let go of the index; the next search makes another."""
        with self._lock:
            if self._index is not None:
                self._index.close()
            self._index, self._known = None, {}

    def _refreshed(self, session: Session) -> sqlite3.Connection:
        if self._index is None:
            # An empty name is a private file of SQLite's own that is deleted as soon as it is made.
            self._index = sqlite3.connect("", check_same_thread=False, isolation_level=None)
            self._index.execute("PRAGMA secure_delete = ON")
            self._index.execute(
                "CREATE VIRTUAL TABLE words USING fts5(text, conversation_id UNINDEXED, "
                "tokenize = 'unicode61 remove_diacritics 2')"
            )
        index = self._index
        shown = or_(col(ConversationRow.public).is_(True), col(ConversationRow.platform) == "file")
        query = select(col(ConversationRow.id), col(ConversationRow.read_at)).where(
            shown, col(ConversationRow.direct).is_(False)
        )
        there = {str(key): at for key, at in session.execute(query)}
        stale = [key for key, known in self._known.items() if there.get(key) != known[0]]
        fresh = [key for key, at in there.items() if key not in self._known or self._known[key][0] != at]
        if not stale and not fresh:
            return index
        index.execute("BEGIN")
        for key in stale:
            index.execute("DELETE FROM words WHERE rowid = ?", (self._known.pop(key)[1],))
        for start in range(0, len(fresh), _CHUNK):
            self._add(index, session, fresh[start : start + _CHUNK], there)
        index.execute("COMMIT")
        return index

    def _add(
        self, index: sqlite3.Connection, session: Session, keys: Sequence[str], there: dict[str, datetime]
    ) -> None:
        texts: dict[str, list[str]] = {key: [] for key in keys}
        query = select(col(MessageRow.conversation_id), col(MessageRow.author), col(MessageRow.text))
        for key, author, text in session.execute(query.where(col(MessageRow.conversation_id).in_(keys))):
            texts[str(key)].append(f"{author} {text}")
        for key, lines in texts.items():
            # One row a conversation: its words may stand in different messages.
            done = index.execute("INSERT INTO words (text, conversation_id) VALUES (?, ?)", ("\n".join(lines), key))
            self._known[key] = (there[key], int(done.lastrowid or 0))


def _in_postgresql(session: Session, terms: Sequence[str], limit: int) -> list[str]:
    text = func.string_agg(MessageRow.author + " " + MessageRow.text, "\n")
    query = func.to_tsquery("simple", " & ".join(terms) + ":*")
    vector = func.to_tsvector("simple", text)
    shown = or_(col(ConversationRow.public).is_(True), col(ConversationRow.platform) == "file")
    found = (
        select(col(MessageRow.conversation_id))
        .join(ConversationRow, col(ConversationRow.id) == col(MessageRow.conversation_id))
        .where(shown, col(ConversationRow.direct).is_(False))
        .group_by(col(MessageRow.conversation_id))
        .having(vector.op("@@")(query))
        .order_by(func.ts_rank(vector, query).desc(), col(MessageRow.conversation_id))
        .limit(limit)
    )
    return [str(key) for key in session.scalars(found)]
