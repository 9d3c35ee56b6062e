"""What a database's own errors mean, told in sentences.

It knows the error codes of SQLite and PostgreSQL and nothing of what was being done. An error that is a defect of
ours (a constraint broken, a statement misspelt) is left as it is: only what a person can act on becomes a
:class:`StorageError`.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

from storage.errors import RedraftError, SettingsError, StorageError

_TRY_AGAIN = "Try again; if it stays so, look for a command or backup that does not end."


class DamagedDatabase(StorageError):
    """What is there is no database, or not a whole one: neither waiting nor space on the disk makes it readable."""


@contextmanager
def told(where: str) -> Iterator[None]:
    """Turn errors of the database into sentences about ``where`` (``the database /path``).

    Raises:
        StorageError: it is locked, full, read-only, damaged or out of reach.
        SettingsError: its address cannot be understood.
    """
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error, OSError) as error:
        known = meaning(error, where)
        if known is None:
            raise
        raise known from error


def meaning(error: BaseException | None, where: str) -> RedraftError | None:
    """The sentence for an error, or None for one that only its programmer can do something about."""
    if isinstance(error, exc.DBAPIError):
        if isinstance(error, exc.ProgrammingError) and error.statement is None:
            # No statement yet: it is the address's options that psycopg refuses.
            return SettingsError(
                f"{_capital(where)} cannot be reached: DATABASE_URL has an option that PostgreSQL does not take.",
                "Correct what follows the ? in it, such as sslmode=require.",
            )
        return _unreachable(where) if error.connection_invalidated else meaning(error.orig, where)
    if isinstance(error, exc.TimeoutError):
        return busy(where)
    if isinstance(error, sqlite3.Error):
        return _of_sqlite(error, where)
    if isinstance(error, OSError):
        return _full(where) if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else None
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _of_postgresql(state, where)
    # psycopg raises OperationalError without a state when the connection could not be made, whatever the reason: the
    # server's words, which may be in any language, are all that tells a wrong password from a server that is not there.
    return _no_connection(where) if type(error).__name__ == "OperationalError" else None


def _of_sqlite(error: sqlite3.Error, where: str) -> StorageError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return busy(where)
    # A quota or a limit on file sizes ends a write with an I/O error rather than with "full".
    if primary == sqlite3.SQLITE_FULL or code in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC):
        return _full(where)
    if primary == sqlite3.SQLITE_READONLY:
        return StorageError(f"{_capital(where)} cannot be written.", "Correct the permissions of its directory.")
    if primary == sqlite3.SQLITE_CANTOPEN:
        return cannot_open(where)
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DamagedDatabase(
            f"{_capital(where)} is damaged or is no database.", "Restore a backup: redraft restore DIR --force"
        )
    if primary == sqlite3.SQLITE_IOERR:
        return StorageError(f"{_capital(where)} cannot be read or written.", "Check the disk that it is on.")
    return None


def _of_postgresql(state: str, where: str) -> StorageError | None:
    if state in ("55P03", "40P01", "40001"):
        return busy(where)
    if state == "53100":
        return _full(where)
    if state == "25006":
        return StorageError(f"{_capital(where)} is read-only.", "Connect to the server's primary.")
    if state in ("42501", "28000", "28P01"):
        return StorageError(f"{_capital(where)} refuses this user.", "Correct the user in DATABASE_URL or its rights.")
    if state == "54000":
        return StorageError(f"{_capital(where)} cannot hold an id or a name this long; nothing was stored.")
    if state == "3D000":
        return StorageError(f"{_capital(where)} does not exist.", "Create it, or correct DATABASE_URL.")
    if state.startswith(("08", "57P")) or state == "53300":
        return _unreachable(where)
    if state.startswith("XX"):
        return StorageError(f"{_capital(where)} is damaged.", "Restore a backup: redraft restore DIR --force")
    return None


def cannot_open(where: str) -> StorageError:
    """The file is there and may not be opened, or is something else, or its directory is not there."""
    return StorageError(f"{_capital(where)} cannot be opened.", "Correct the permissions of its directory.")


def busy(where: str) -> StorageError:
    """Another process kept it locked for longer than the wait."""
    return StorageError(f"{_capital(where)} is being written by another process for too long.", _TRY_AGAIN)


def _full(where: str) -> StorageError:
    return StorageError(f"The disk of {where} is full; nothing of this was stored.", "Free some space and try again.")


def _unreachable(where: str) -> StorageError:
    return StorageError(f"{_capital(where)} cannot be reached.", "Start the server, or correct DATABASE_URL.")


def _no_connection(where: str) -> StorageError:
    return StorageError(
        f"{_capital(where)} cannot be reached, or there is no such database, or it refuses this user.",
        "Start the server, or correct address, user and password in DATABASE_URL.",
    )


def _capital(where: str) -> str:
    return where[:1].upper() + where[1:]
