"""The database as the rest of the program holds it: opened once, then read and written in transactions.

    database = Database.open(settings)
    with database.write() as session: ...
    with database.read() as session: ...

It refuses a schema that is not this program's; only :func:`storage.migrate.upgrade` changes one. A database that does
not exist yet is made at the newest schema by whoever opens it first. Errors of the database itself come out as
sentences (:class:`StorageError`). It knows nothing of what the tables mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Engine, text
from sqlmodel import Session

from storage import connection as connections
from storage.failures import busy, told
from storage.home import Home
from storage.schema import MIGRATIONS, refuse, state_of
from storage.settings import StorageSettings
from storage.turn import Turns


class Database:
    """An open database; safe to share between threads, not between processes.

    Attributes:
        home: the data directory that belongs to it.
        where: what a person would call it, without a password.
        kind: ``sqlite`` or ``postgresql``.
    """

    def __init__(self, engine: Engine, home: Home, where: str, wait_s: float) -> None:
        self.home = home
        self._turns = Turns(home.root, wait_s, where)
        self.where = where
        self.kind = engine.dialect.name
        self._engine = engine
        self._reading = connections.for_reading(engine)
        self._writing = connections.for_writing(engine)

    @classmethod
    def open(cls, settings: StorageSettings, *, migrations: Path = MIGRATIONS) -> Database:
        """Open the configured database, creating it where there is none.

        Raises:
            SchemaError: its schema is older or newer than this program's, or not Redraft's.
            StorageError: the data directory or the database cannot be used.
        """
        home = Home.create(settings)
        where = connections.where(settings)
        engine = connections.make_engine(settings, home)
        database = cls(engine, home, where, settings.database_wait_seconds)
        try:
            with told(where):
                with connections.for_reading(engine).begin() as connection:
                    state = state_of(connection, migrations)
                if state == "empty":
                    from storage.migrate import create

                    engine.dispose()
                    create(settings, migrations=migrations)
                refuse(state, where)
                connections.choose_journal(engine)
        except BaseException:
            engine.dispose()
            raise
        return database

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that sees one state of the database and cannot change it.

        Keep it short, and open no ``write`` of the same thread inside it: without a write-ahead log a reader keeps
        every writer from committing.

        Raises:
            StorageError: the database cannot be used, as a sentence.
        """
        with told(self.where), Session(self._reading, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session whose transaction is committed at the end, and rolled back whole when anything is raised.

        Waits at the beginning, for ``DATABASE_WAIT_SECONDS`` at most, for another process that writes.

        Raises:
            StorageError: the database cannot be used or written, as a sentence; nothing was stored.
        """
        with told(self.where), self._turn(), Session(self._writing, expire_on_commit=False) as session:
            session.connection()
            yield session
            session.commit()

    def _turn(self) -> AbstractContextManager[None]:
        if self.kind != "sqlite":
            return nullcontext()
        return self._turns.take()

    def check(self) -> str:
        """An empty string when the database is whole, otherwise what is wrong with it, in its own words."""
        with self.read() as session:
            if self.kind != "sqlite":
                session.execute(text("SELECT 1"))
                return ""
            found = [str(row[0]) for row in session.execute(text("PRAGMA integrity_check"))]
            broken = session.execute(text("PRAGMA foreign_key_check")).all()
        problems = [line for line in found if line != "ok"]
        problems += [f"a row of {row[0]} refers to a missing row of {row[2]}" for row in broken]
        return "; ".join(problems[:5])

    def journal_mode(self) -> str:
        """SQLite's journal mode (``wal``, ``delete``), or an empty string on PostgreSQL."""
        if self.kind != "sqlite":
            return ""
        with self.read() as session:
            return str(session.execute(text("PRAGMA journal_mode")).scalar())

    def truncate_log(self) -> None:
        """Empty SQLite's write-ahead log into the file, so that deleted text is not left in it; nothing elsewhere."""
        if self.journal_mode() != "wal":
            return
        raw = self._engine.raw_connection()
        try:
            with told(self.where):
                raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()

    def rewrite(self) -> None:
        """Write everything anew, so that nothing which was deleted is left in free space, journals or dead rows.

        What a page held before its rows moved to another one is not overwritten by ``secure_delete``. PostgreSQL's own
        log, its backups and its replicas are its administrator's business.

        Raises:
            StorageError: somebody reads or writes for longer than the wait, or the disk has no room for a second copy.
        """
        with told(self.where), self._turn():
            if self.kind == "sqlite":
                self._vacuum_sqlite()
                return
            with self._engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
                connection.execute(text("VACUUM (FULL)"))

    def _vacuum_sqlite(self) -> None:
        raw = self._engine.raw_connection()
        try:
            driver = raw.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            driver.execute("PRAGMA query_only = OFF")
            driver.execute("VACUUM")
            if driver.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                in_the_way, _, _ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                if in_the_way:
                    raise busy(self.where)
        finally:
            raw.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._engine.dispose()
