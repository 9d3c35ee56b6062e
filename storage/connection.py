"""How a connection is made and set up, on SQLite and on PostgreSQL.

It knows journal modes, locks and pragmas. It knows nothing of tables or of what a schema should be.

SQLite: Python's own transaction handling is off and every transaction is begun here, a writer's with ``BEGIN
IMMEDIATE``, so that whoever waits for the write lock waits at the beginning, before it has read anything that could
be out of date, and a wait can never end in a deadlock. ``synchronous=FULL`` in every mode: what was acknowledged
survives a power cut. A transaction that only reads cannot write, on either database.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.pool import NullPool

from storage.failures import cannot_open, meaning
from storage.home import Home
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

#: Releases with the fix for the race between a checkpoint and a restart of the log, which can lose committed data
#: under WAL: first fixed version of each series, and everything from the last one on.
_WAL_FIXED_SERIES = ((3, 44, 6), (3, 50, 7))
_WAL_FIXED_SINCE = (3, 51, 3)


def wal_is_safe(version: tuple[int, int, int] = sqlite3.sqlite_version_info) -> bool:
    """Whether an SQLite of this version may be trusted with a write-ahead log."""
    return version >= _WAL_FIXED_SINCE or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in _WAL_FIXED_SERIES
    )


def where(settings: StorageSettings) -> str:
    """The database as a person would call it, without its password."""
    if settings.postgresql_url is None:
        return f"the database {Home.at(settings).database}"
    from sqlalchemy import make_url

    url = make_url(settings.postgresql_url)
    return f"the PostgreSQL database {url.database or ''} on {url.host or url.query.get('host') or 'this machine'}"


def make_engine(settings: StorageSettings, home: Home, *, for_migration: bool = False) -> Engine:
    """An engine on the configured database; an SQLite file is created empty, with mode 0600, where it is missing.

    Args:
        for_migration: one connection at a time, foreign keys not enforced (SQLite cannot rebuild a table with them).

    Raises:
        StorageError: the file cannot be created.
    """
    if settings.postgresql_url is not None:
        return _make_postgresql(settings, settings.postgresql_url, for_migration)
    try:
        make_private(home.database)
    except OSError as error:
        raise meaning(error, where(settings)) or cannot_open(where(settings)) from error
    return _make_sqlite(home.database, settings.database_wait_seconds, for_migration)


def engine_of_file(path: Path, *, enforced: bool = False) -> Engine:
    """An engine for migrating and reading one SQLite file that nobody else has open.

    Args:
        enforced: with foreign keys, so that what is under a deleted row goes with it.
    """
    return _make_sqlite(path, 5.0, for_migration=True, enforced=enforced)


def make_private(path: Path) -> None:
    """Create an empty file that only its owner may read, or take others' rights from one that exists."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def _make_sqlite(path: Path, wait_s: float, for_migration: bool, *, enforced: bool | None = None) -> Engine:
    foreign_keys = not for_migration if enforced is None else enforced
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        connect_args={"timeout": wait_s, "check_same_thread": False},
        **({"poolclass": NullPool} if for_migration else {"pool_timeout": wait_s, "max_overflow": 20}),
    )

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        connection.isolation_level = None
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        connection.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten with zeros: erasure and retention mean the bytes too.
        connection.execute("PRAGMA secure_delete = ON")

    @event.listens_for(engine, "checkin")
    def end_transaction(connection: Any, _entry: ConnectionPoolEntry) -> None:
        # A COMMIT that fails because a reader is in the way leaves the transaction open and the write lock held,
        # while SQLAlchemy takes it for ended.
        if connection is not None and connection.in_transaction:
            connection.rollback()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = for_migration or connection.get_execution_options().get("redraft_write", False)
        connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _make_postgresql(settings: StorageSettings, url: str, for_migration: bool) -> Engine:
    wait_ms = int(settings.database_wait_seconds * 1000)
    options: dict[str, Any] = {"poolclass": NullPool} if for_migration else {"pool_pre_ping": True, "max_overflow": 20}
    return create_engine(
        url,
        connect_args={"connect_timeout": 10, "options": f"-c lock_timeout={wait_ms} -c timezone=UTC"},
        **options,
    )


def for_reading(engine: Engine) -> Engine:
    """The same pool, for transactions that see one state of the database and cannot write."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def for_writing(engine: Engine) -> Engine:
    """The same pool, for transactions that write."""
    return engine.execution_options(redraft_write=True)


def choose_journal(engine: Engine) -> None:
    """Bring an SQLite file to the journal mode that the linked SQLite may be trusted with.

    Towards WAL it is tried and left for another time if the file is in use; away from WAL it must succeed.

    Raises:
        StorageError: the file uses WAL, this SQLite may not, and another process has it open.
    """
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        driver = connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        mode = driver.execute("PRAGMA journal_mode").fetchone()[0]
        if wal_is_safe() and mode != "wal":
            driver.execute("PRAGMA busy_timeout = 0")
            try:
                driver.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
        elif not wal_is_safe() and mode == "wal":
            driver.execute("PRAGMA journal_mode = DELETE").fetchone()
    finally:
        connection.invalidate()
        connection.close()
