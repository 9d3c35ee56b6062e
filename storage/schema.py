"""Which schema a database has and which this program wants, without loading Alembic.

The revisions are the names of the migration files (``0001_….py``), so that every command can tell an older or newer
database from its own in microseconds; Alembic is loaded only where something has to be migrated, and SQLAlchemy only
where there is a connection to ask through.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from storage.errors import SchemaError
from storage.home import Home
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection

#: The migrations that ship with the program.
MIGRATIONS = Path(__file__).parent / "migrations"

State = Literal["empty", "current", "older", "newer", "foreign"]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did: the revision before (None: there was no schema) and after, and the copy made, if any."""

    before: str | None
    after: str
    copy: Path | None


def revisions(migrations: Path = MIGRATIONS) -> list[str]:
    """All revisions, oldest first."""
    return sorted(path.name.split("_", 1)[0] for path in (migrations / "versions").glob("[0-9]*_*.py"))


def nothing_to_upgrade(settings: StorageSettings) -> Upgrade | None:
    """The outcome of upgrading an SQLite file that is at the newest schema; None where it has to be looked at closer.

    Asked through Python's own sqlite3: SQLAlchemy alone would take most of such a command's time.

    Raises:
        StorageError: the data directory cannot be used.
    """
    home = Home.create(settings)
    if settings.postgresql_url is not None or not home.database.is_file():
        return None
    newest = revisions()[-1]
    try:
        with closing(sqlite3.connect(home.database, timeout=settings.database_wait_seconds)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error:
        return None
    return Upgrade(newest, newest, None) if found == (newest,) else None


def revision_of(connection: Connection) -> str | None:
    """The revision that a database says it has, or None where it says none."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def state_of(connection: Connection, migrations: Path = MIGRATIONS) -> State:
    """How a database stands to this program."""
    from sqlalchemy import inspect

    known = revisions(migrations)
    revision = revision_of(connection)
    if revision is None:
        return "foreign" if set(inspect(connection).get_table_names()) - {"alembic_version"} else "empty"
    if revision == known[-1]:
        return "current"
    return "older" if revision in known else "newer"


def refuse(state: State, where: str) -> None:
    """Raise unless the schema is this program's or there is none yet.

    Raises:
        SchemaError: older, newer, or no database of Redraft's.
    """
    subject = where[:1].upper() + where[1:]
    if state == "older":
        raise SchemaError(f"{subject} was made by an older Redraft.", "Upgrade it: redraft db upgrade")
    if state == "newer":
        raise SchemaError(
            f"{subject} was made by a newer Redraft.", "Install that version, or restore a backup made with this one."
        )
    if state == "foreign":
        raise SchemaError(
            f"{subject} holds tables that are not Redraft's.", "Give Redraft a database of its own in DATABASE_URL."
        )
