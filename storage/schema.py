"""Which schema a database has and which this program wants, without loading Alembic.

The revisions are the names of the migration files (``0001_….py``), so that every command can tell an older or newer
database from its own in microseconds; Alembic is loaded only where something has to be migrated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, inspect, text

from storage.errors import SchemaError

#: The migrations that ship with the program.
MIGRATIONS = Path(__file__).parent / "migrations"

State = Literal["empty", "current", "older", "newer", "foreign"]


def revisions(migrations: Path = MIGRATIONS) -> list[str]:
    """All revisions, oldest first."""
    return sorted(path.name.split("_", 1)[0] for path in (migrations / "versions").glob("[0-9]*_*.py"))


def revision_of(connection: Connection) -> str | None:
    """The revision that a database says it has, or None where it says none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def state_of(connection: Connection, migrations: Path = MIGRATIONS) -> State:
    """How a database stands to this program."""
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
