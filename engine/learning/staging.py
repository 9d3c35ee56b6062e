"""Where an import's rows wait until the file has been read to its end: a private SQLite file that has no name.

It lies on the data directory's disk and is unlinked the moment it exists, so that nothing of it is left however the
process ends. It holds rows and what near-duplicates among them are found by; what becomes of them is decided in
:mod:`engine.learning.importing`.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.learning.near import Likeness, Side
from engine.learning.pair_rows import PairText
from storage.errors import StorageError

_TABLES = """
CREATE TABLE rows (
    number INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, key TEXT NOT NULL, split TEXT NOT NULL DEFAULT '',
    fresh INTEGER NOT NULL DEFAULT 0, name TEXT, origin TEXT, source TEXT, licence TEXT, style TEXT, focus TEXT,
    output_language TEXT, summaries TEXT, summary TEXT, dialogue TEXT
);
CREATE INDEX rows_by_key ON rows (key);
CREATE TABLE near (band BLOB, number INTEGER, PRIMARY KEY (band, number)) WITHOUT ROWID;
"""
_COLUMNS = (
    "number", "hash", "key", "name", "origin", "source", "licence", "style", "focus", "output_language", "summaries",
    "summary", "dialogue",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Waiting:
    """One row that waits; ``key`` is its conversation's."""

    number: int
    hash: str
    key: str
    text: PairText


class Staging:
    """The rows of one import; see :func:`staging`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[Waiting]) -> int:
        """Keep rows whose content is not here yet; how many those are."""
        before = self._connection.total_changes
        marks = ", ".join("?" * len(_COLUMNS))
        self._connection.executemany(
            f"INSERT OR IGNORE INTO rows ({', '.join(_COLUMNS)}) VALUES ({marks})",  # noqa: S608 - our own names
            (_values(row) for row in rows),
        )
        return self._connection.total_changes - before

    def batches(self, size: int) -> Iterator[list[Waiting]]:
        """All rows in the order of the file."""
        names = ", ".join(_COLUMNS)
        last = -1
        while True:
            found = self._connection.execute(
                f"SELECT {names} FROM rows WHERE number > ? ORDER BY number LIMIT ?",  # noqa: S608
                (last, size),
            ).fetchall()
            if not found:
                return
            last = found[-1][0]
            yield [_waiting(row) for row in found]

    def forget_sides(self) -> None:
        """As if no side had been decided."""
        self._connection.execute("UPDATE rows SET split = '', fresh = 0")
        self._connection.execute("DELETE FROM near")

    def set_side(self, row: Waiting, split: str, *, fresh: bool) -> None:
        """Say which side a row is on; ``fresh`` where its conversation had none before it."""
        self._connection.execute("UPDATE rows SET split = ?, fresh = ? WHERE number = ?", (split, fresh, row.number))

    def side_of(self, key: str) -> str:
        """The side of a conversation that is here already, or an empty string."""
        found = self._connection.execute("SELECT split FROM rows WHERE key = ? AND split <> '' LIMIT 1", (key,))
        row = found.fetchone()
        return row[0] if row else ""

    def keep_near(self, row: Waiting, found: Likeness, side: Side) -> None:
        """Keep what near-duplicates of a row's conversation are found by."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO near VALUES (?, ?)", ((_band(key), row.number) for key in found.band_keys(side))
        )

    def sharing(self, keys: Sequence[str], *, but: str, most: int) -> list[str]:
        """Conversations that have one of the keys; see :class:`engine.learning.near.Known`."""
        marks = ", ".join("?" * len(keys))
        found = self._connection.execute(
            f"SELECT DISTINCT number FROM near WHERE band IN ({marks}) LIMIT ?",  # noqa: S608 - question marks
            (*map(_band, keys), most + 1),
        ).fetchall()
        named = (self._connection.execute("SELECT key FROM rows WHERE number = ?", row).fetchone()[0] for row in found)
        return [key for key in named if key != but][:most]

    def dialogues(self, key: str) -> list[str]:
        """The dialogue of a conversation; all rows of one have the same."""
        found = self._connection.execute("SELECT dialogue FROM rows WHERE key = ? AND split <> '' LIMIT 1", (key,))
        return [row[0] for row in found]

    def decided(self, size: int) -> Iterator[list[tuple[Waiting, str, bool]]]:
        """The rows that are to be stored, in the order of the file, with their split and whether they are fresh."""
        names = ", ".join(_COLUMNS)
        last = -1
        while True:
            found = self._connection.execute(
                f"SELECT {names}, split, fresh FROM rows WHERE number > ? AND split <> '' ORDER BY number LIMIT ?",  # noqa: S608
                (last, size),
            ).fetchall()
            if not found:
                return
            last = found[-1][0]
            yield [(_waiting(row), row[-2], bool(row[-1])) for row in found]

    def near_keys(self, size: int) -> Iterator[list[tuple[str, str]]]:
        """Bands with their conversations, in order of the bands."""
        found = self._connection.execute("SELECT band, key FROM near JOIN rows USING (number) ORDER BY band, number")
        while rows := found.fetchmany(size):
            yield [(_key(band), key) for band, key in rows]


@contextmanager
def staging(directory: Path) -> Iterator[Staging]:
    """Rows that wait, on the disk of a directory, for the block.

    Raises:
        StorageError: that disk is full or cannot be written.
    """
    try:
        connection = _nameless(directory)
        try:
            yield Staging(connection)
        finally:
            connection.close()
    except (OSError, sqlite3.OperationalError, sqlite3.DatabaseError) as error:
        raise StorageError(
            f"The rows could not be kept in {directory} while the file was read; its disk may be full.",
            "Free some space and import the file again; nothing was imported.",
        ) from error


def _nameless(directory: Path) -> sqlite3.Connection:
    handle, name = tempfile.mkstemp(prefix=".import-", dir=directory)
    os.close(handle)
    try:
        connection = sqlite3.connect(name, isolation_level=None)
        # Nothing of it has to survive anything, so there is no journal that would need a name.
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE", "cache_size = -32768"):
            connection.execute(f"PRAGMA {pragma}")
        connection.executescript(_TABLES)
        connection.execute("BEGIN")
    finally:
        Path(name).unlink()
    return connection


def _values(row: Waiting) -> tuple[Any, ...]:
    text = row.text
    return (
        row.number, row.hash, row.key, text.name, text.origin, text.source, text.licence, text.style, text.focus,
        text.output_language, json.dumps(text.summaries), text.summary, text.dialogue,
    )  # fmt: skip


def _waiting(values: Sequence[Any]) -> Waiting:
    found = dict(zip(_COLUMNS, values, strict=False))
    number, digest, key = found.pop("number"), found.pop("hash"), found.pop("key")
    return Waiting(number, digest, key, PairText(**found | {"summaries": tuple(json.loads(found["summaries"]))}))


def _band(key: str) -> bytes:
    """A band's key in 9 bytes: its side, and its digits."""
    return key[:1].encode() + bytes.fromhex(key[2:])


def _key(band: bytes) -> str:
    return f"{band[:1].decode()}b{band[1:].hex()}"
