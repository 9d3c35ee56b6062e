"""Restoring a backup so that the ledger tells of it and nobody who was erased since comes back.

The copy of the backup's database is made ready before it takes the place of the present one: the erasures that it is
too old to know are done on it again, and its chain goes on with a line that says what was restored. So nothing of that
is ever seen in force, whenever the process is killed. In ``ledger.heads`` a line is added first that names the
restore's own line by its hash: with it, and only with it, heads of the chain that was replaced are no sign of
tampering.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlmodel import Session

from engine.learning import erasure, heads
from engine.learning import erasure_journal as journal
from engine.learning.erasure_journal import Mark
from engine.learning.ledger import Ledger, witness
from engine.learning.ledger_check import RESTORED
from engine.learning.settings import LearningSettings
from storage import erasure_queries
from storage import ledger_queries as queries
from storage import restore as mechanism
from storage.backup import DATABASE, HEADS, Manifest
from storage.connection import engine_of_file
from storage.database import Database
from storage.errors import StorageError
from storage.files import append_line
from storage.home import Home
from storage.learning_tables import ErasureRow
from storage.settings import StorageSettings

#: How long a restore waits for an erasure, in seconds.
_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        manifest: of the backup.
        replaced: where the database that it replaced is kept, or None.
        erasures: how many erasures the backup did not know of, and that were done on it again.
        tidied: whether the files of what is erased are gone too; if not, the daily job sees to it.
    """

    manifest: Manifest
    replaced: Path | None
    erasures: int
    tidied: bool


def restore(
    settings: StorageSettings,
    directory: Path,
    *,
    learning: LearningSettings,
    by: str,
    force: bool = False,
    now: datetime | None = None,
) -> Restored:
    """Bring up the data directory and the database from a backup; see :func:`storage.restore.restore`.

    Args:
        learning: says by when tainted adapters go.
        by: who does it, for the ledger.
        force: replace a database that holds something.

    Raises:
        SchemaError: the backup was made by a newer Redraft.
        StorageError: as there, or an erasure is under way. Nothing was changed.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    home = Home.at(settings)
    steward = _Steward(home, learning, by, moment)
    with _alone(home):
        done = mechanism.restore(settings, directory, force=force, steward=steward)
    return Restored(done.manifest, done.replaced, steward.repeated, _tidied(settings, learning, moment))


def _alone(home: Home) -> AbstractContextManager[None]:
    """No erasure meanwhile; where there is no data directory yet, there can be none."""
    return journal.alone(home, _WAIT_S) if home.root.is_dir() else nullcontext()


def _tidied(settings: StorageSettings, learning: LearningSettings, now: datetime) -> bool:
    """The files' part of the erasures, once the restored database is in force."""
    with suppress(StorageError):
        database = Database.open(settings)
        try:
            witness(database)
            erasure.retire_overdue(database, database.home, learning, now=now)
            return True
        finally:
            database.close()
    return False


class _Steward:
    """See :class:`storage.restore.Steward`; ``repeated`` is how many erasures were done again."""

    def __init__(self, home: Home, learning: LearningSettings, by: str, now: datetime) -> None:
        self._home = home
        self._learning = learning
        self._by = by
        self._now = now
        self.repeated = 0

    @contextmanager
    def __call__(self, staged: Path, manifest: Manifest, on_record: Sequence[ErasureRow]) -> Iterator[None]:
        try:
            # Until the database is replaced nobody keeps the head of the one that goes.
            with heads.held(self._home):
                size = self._home.ledger_heads.stat().st_size
                try:
                    self._take_over_heads(staged / HEADS)
                    heads.add(self._home, self._made_ready(staged / DATABASE, manifest, on_record))
                    yield
                except BaseException:
                    # With the database as it was, heads of another one would accuse it.
                    self._shorten(size)
                    raise
        except TimeoutError as error:
            raise StorageError("The ledger's heads are held by another process for too long.", "Try again.") from error

    def _take_over_heads(self, carried: Path) -> None:
        """On a machine that has kept none, those of the backup speak for its chain."""
        if heads.last(self._home) is None and carried.exists() and (lines := heads.parse(carried.read_text()).lines):
            append_line(self._home.ledger_heads, "\n".join(map(str, lines)))

    def _shorten(self, size: int) -> None:
        # Where the administrator lets nobody shorten it, what was added says nothing by itself.
        with suppress(OSError), self._home.ledger_heads.open("r+b") as file:
            file.truncate(size)

    def _made_ready(self, path: Path, manifest: Manifest, on_record: Sequence[ErasureRow]) -> heads.Head:
        """Let the backup's chain go on with this restore, and do on its rows what it is too old to know."""
        last = heads.last(self._home)
        engine = engine_of_file(path, enforced=True)
        try:
            with Session(engine) as session:
                known = {row.id for row in erasure_queries.erasures(session=session)}
                marks = self._marks(session, on_record)
                missing = [mark for mark in marks if mark.id not in known]
                newest = queries.newest(session=session)
                before = newest[0] if newest else 0
                ledger = Ledger(session)
                line = ledger.append(
                    RESTORED,
                    by=self._by,
                    details={
                        "backup": manifest.created_at,
                        "lines_replaced": max(0, last.seq - before) if last else 0,
                        "erasures_repeated": len(missing),
                    },
                    now=self._now,
                )
                head = heads.Head(line.seq, line.hash, restored=True)
                self.repeated = erasure.repeat(session, ledger, missing, self._learning, by=self._by, now=self._now)
                session.commit()
        finally:
            engine.dispose()
        if self.repeated:
            # The file is copied page by page, free space included.
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("VACUUM")
        # What the database that goes knew is known here from now on, whichever backup comes next.
        journal.remember(self._home, marks)
        return head

    def _marks(self, session: Session, on_record: Sequence[ErasureRow]) -> list[Mark]:
        """Every erasure that this machine, the present database or the backup knows of, oldest first."""
        begun = journal.pending(self._home)
        found = {
            mark.id: mark
            for mark in (
                *erasure.marks_of(erasure_queries.erasures(session=session)),
                *erasure.marks_of(on_record),
                *([begun.mark] if begun else []),
                # Last: these say whether adapters went at once.
                *journal.remembered(self._home),
            )
        }
        return sorted(found.values(), key=lambda mark: (mark.at, mark.id))
