"""Creating and upgrading the schema: under one lock, after a copy of the file, all or nothing.

Alembic is loaded here and nowhere else in the product. Migrations run in one transaction: on SQLite with foreign
keys off before it begins (a table is altered by building it anew, and dropping the old one would cascade) and
``foreign_key_check`` before it is committed; on PostgreSQL under an advisory lock, and without a copy, which is for
its administrator to make. A downgrade is not offered.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, text

from storage import connection as connections
from storage.errors import RedraftError, StorageError
from storage.failures import busy, meaning, told
from storage.home import Home
from storage.schema import MIGRATIONS, Upgrade, refuse, revision_of, revisions, state_of
from storage.settings import StorageSettings
from storage.turn import Turns

if TYPE_CHECKING:
    from alembic.config import Config

#: Any number of our own; PostgreSQL's advisory locks are named by one.
_ADVISORY_LOCK = 7_236_451_908
_COPIES_KEPT = 3


def create(settings: StorageSettings, *, migrations: Path = MIGRATIONS, revision: str = "head") -> None:
    """Make the schema of an empty database, by the same migrations that older ones go through.

    Harmless when another process has just done it.

    Raises:
        StorageError: the database cannot be used.
    """
    with _locked(settings) as connection:
        if state_of(connection, migrations) == "empty":
            _run(connection, migrations, revision)


def upgrade(settings: StorageSettings, *, migrations: Path = MIGRATIONS) -> Upgrade:
    """Bring the database to this program's schema, creating it where there is none.

    Raises:
        SchemaError: it is newer than this program, or not Redraft's.
        StorageError: it cannot be used, or a migration failed; then nothing was changed.
    """
    home = Home.create(settings)
    where = connections.where(settings)
    newest = revisions(migrations)[-1]
    if (before := _current(settings, home, migrations)) == newest:
        return Upgrade(before, newest, None)
    copy = None
    with _locked(settings) as connection:
        before, state = revision_of(connection), state_of(connection, migrations)
        if state not in ("empty", "older"):
            refuse(state, where)
            return Upgrade(before, newest, None)
        if state == "older" and settings.postgresql_url is None:
            copy = copy_database(home, f"before-{newest}")
        try:
            _run(connection, migrations, "head")
        except RedraftError:
            raise
        except Exception as error:
            raise meaning(error, where) or StorageError(
                f"The upgrade of {where} failed ({type(error).__name__}); it was left as it was.",
                "Install the version that made it, and report this.",
            ) from error
    return Upgrade(before, newest, copy)


def migrate_file(path: Path, *, migrations: Path = MIGRATIONS, revision: str = "head") -> None:
    """Create or upgrade the schema of an SQLite file that nobody else has open (a backup's, a test's).

    Raises:
        SchemaError: it is newer than this program, or not Redraft's.
        StorageError: it cannot be used.
    """
    where = f"the database {path}"
    engine = connections.engine_of_file(path)
    try:
        with told(where), engine.begin() as connection:
            state = state_of(connection, migrations)
            refuse("current" if state == "older" else state, where)
            _run(connection, migrations, revision)
    finally:
        engine.dispose()


def copy_database(home: Home, label: str) -> Path:
    """A consistent copy of the SQLite database in the data directory's ``copies/``; the oldest copies go.

    Raises:
        StorageError: the disk is full or the copy cannot be written.
    """
    with new_copy(home, label) as target:
        copy_file(home.database, target)
    return target


@contextmanager
def new_copy(home: Home, label: str) -> Iterator[Path]:
    """The path at which to write a copy; gone again if that fails, and the oldest copies go if it does not.

    Raises:
        StorageError: the disk is full or the copy cannot be written.
    """
    target = stamped(home, "redraft", f"-{label}")
    with told(f"the copy {target}"):
        try:
            yield target
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        for old in sorted(home.copies.glob("redraft-*.db"))[:-_COPIES_KEPT]:
            old.unlink()


def stamped(home: Home, kind: str, label: str = "") -> Path:
    """A free name in the data directory's ``copies/``, which is made; names of one kind sort by their time."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    with told(f"the data directory {home.root}"):
        home.copies.mkdir(mode=0o700, exist_ok=True)
    return home.copies / f"{kind}-{stamp}{label}.db"


def copy_file(source: Path, target: Path, *, wait_s: float = 30.0) -> None:
    """Copy an SQLite database that may be in use into another, in one transaction of the target; both are synced.

    The target is created with mode 0600 where it is missing, and replaced whole where it is a database.

    Raises:
        StorageError: the source or the target stayed locked for ``wait_s`` seconds.
        sqlite3.Error, OSError: either file cannot be used.
    """
    connections.make_private(target)
    deadline = time.monotonic() + wait_s

    def give_up(status: int, _remaining: int, _total: int) -> None:
        # sqlite3 goes on for ever while either side is locked; raising here is the way out.
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise busy(f"the database {source}")

    with (
        closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as old,
        closing(sqlite3.connect(target)) as new,
    ):
        new.execute("PRAGMA synchronous = FULL")
        old.backup(new, progress=give_up)
    sync(target)
    sync(target.parent)


def sync(path: Path) -> None:
    """Have a file's or a directory's content written to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _current(settings: StorageSettings, home: Home, migrations: Path) -> str | None:
    """The database's revision, read without the lock: a command with nothing to do waits for nobody."""
    where = connections.where(settings)
    engine = connections.make_engine(settings, home)
    try:
        with told(where), connections.for_reading(engine).begin() as connection:
            return revision_of(connection)
    finally:
        engine.dispose()


@contextmanager
def schema_lock(settings: StorageSettings) -> Iterator[None]:
    """The machine-wide lock under which an SQLite schema is made, upgraded or replaced; free when its holder dies.

    No other process writes meanwhile.

    Raises:
        StorageError: another process holds it for longer than ``DATABASE_WAIT_SECONDS``.
    """
    from filelock import FileLock, Timeout

    home = Home.create(settings)
    try:
        with (
            FileLock(home.schema_lock, timeout=settings.database_wait_seconds, mode=0o600),
            Turns(home.root, settings.database_wait_seconds, connections.where(settings)).take(),
        ):
            yield
    except Timeout as error:
        raise StorageError(
            f"Another process has been changing {connections.where(settings)} for too long.",
            "Wait for its upgrade or restore to end, then try again.",
        ) from error


@contextmanager
def _locked(settings: StorageSettings) -> Iterator[Connection]:
    """One connection in one writing transaction that nobody else's migration can overlap."""
    where = connections.where(settings)
    home = Home.create(settings)
    engine = connections.make_engine(settings, home, for_migration=True)
    try:
        if settings.postgresql_url is not None:
            with told(where), engine.begin() as connection:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                yield connection
        else:
            with schema_lock(settings), told(where), engine.begin() as connection:
                yield connection
    finally:
        engine.dispose()


def _run(connection: Connection, migrations: Path, revision: str) -> None:
    """Migrate through ``connection``, in its transaction."""
    from alembic import command

    command.upgrade(config(connection, migrations), revision)
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if broken:
            raise StorageError(
                f"The upgrade would leave {len(broken)} rows of {broken[0][0]} without what they belong to.",
                "Nothing was changed; report this.",
            )


def config(connection: Connection, migrations: Path = MIGRATIONS) -> Config:
    """Alembic's configuration, made in code: no ``alembic.ini`` is needed where the program runs."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(migrations).replace("%", "%%"))
    made.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made
