"""The schema: created, upgraded from every earlier one, refused where it is not ours, and the same as the tables."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, func, inspect, select, text

from storage.connection import make_engine
from storage.database import Database
from storage.errors import SchemaError, StorageError
from storage.home import Home
from storage.migrate import create, upgrade
from storage.migrations.__main__ import write
from storage.schema import MIGRATIONS, revisions
from storage.settings import StorageSettings
from storage.tables import Base

#: The first of the values that a CHECK constraint allows, as both databases tell it.
_ALLOWED = re.compile(r"'(\w+)'")
_OF_TYPE: dict[type, Callable[[int], Any]] = {
    int: lambda number: number,
    float: lambda number: number / 2,
    bool: lambda number: bool(number % 2),
    datetime: lambda number: datetime(2026, 3, 1 + number, tzinfo=UTC),
}


def populate(connection: Connection, rows: int = 3) -> dict[str, int]:
    """Put rows into every table of whatever schema there is; how many there are, by table."""
    metadata = MetaData()
    metadata.reflect(connection)
    counts = {}
    for table in metadata.sorted_tables:
        if table.name == "alembic_version":
            continue
        checked = _checked(connection, table.name)
        for number in range(rows):
            connection.execute(
                table.insert(),
                {
                    column.name: checked.get(column.name) or _value(table.name, column, number)
                    for column in table.columns
                },
            )
        counts[table.name] = connection.execute(select(func.count()).select_from(table)).scalar_one()
    return counts


def _checked(connection: Connection, table: str) -> dict[str, str]:
    """A value for each column that a CHECK constraint restricts; the constraint is named after it."""
    found = inspect(connection).get_check_constraints(table)
    return {
        str(one["name"]).removeprefix(f"ck_{table}_"): allowed[1]
        for one in found
        if (allowed := _ALLOWED.search(one["sqltext"]))
    }


def _value(table: str, column: Any, number: int) -> Any:
    for key in column.foreign_keys:
        return _value(key.column.table.name, key.column, number)
    kind = dict if type(column.type).__name__ in ("JSON", "JSONB") else column.type.python_type
    return _OF_TYPE.get(kind, lambda number: f"{table}-{column.name}-{number}" if kind is str else [])(number)


def in_transaction(settings: StorageSettings, work: Callable[[Connection], Any]) -> Any:
    engine = make_engine(settings, Home.create(settings), for_migration=True)
    try:
        with engine.begin() as connection:
            return work(connection)
    finally:
        engine.dispose()


def count_all(connection: Connection, tables: dict[str, int]) -> dict[str, int]:
    return {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in tables}


@pytest.fixture
def later(tmp_path: Path) -> Callable[[str], Path]:
    """The migrations with one more, whose ``upgrade`` is given."""

    def make(body: str) -> Path:
        directory = tmp_path / "migrations"
        shutil.copytree(MIGRATIONS, directory, ignore=shutil.ignore_patterns("__pycache__"))
        (directory / "versions" / "9999_later.py").write_text(
            "import sqlalchemy as sa\nfrom alembic import op\n"
            f"revision = '9999'\ndown_revision = {revisions()[-1]!r}\n\ndef upgrade():\n    {body}\n"
        )
        return directory

    return make


#: Rebuilds a table that others refer to, which is where a migration on SQLite loses rows if foreign keys are on.
REBUILD = """
    recreate = "always" if op.get_bind().dialect.name == "sqlite" else "auto"
    with op.batch_alter_table("conversations", recreate=recreate) as batch:
        batch.add_column(sa.Column("note", sa.Text(), nullable=False, server_default="none"))
"""


def test_the_file_names_say_the_same_revisions_as_alembic() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    assert revisions() == [each.revision for each in script.walk_revisions()][::-1]
    assert script.get_heads() == [revisions()[-1]]


def test_an_empty_database_is_upgraded_to_the_newest_schema(settings: StorageSettings) -> None:
    done = upgrade(settings)
    assert (done.before, done.after, done.copy) == (None, revisions()[-1], None)
    Database.open(settings).close()


def test_upgrading_again_does_nothing(settings: StorageSettings) -> None:
    upgrade(settings)
    tables = in_transaction(settings, populate)
    done = upgrade(settings)
    assert (done.before, done.after, done.copy) == (revisions()[-1], revisions()[-1], None)
    assert in_transaction(settings, lambda connection: count_all(connection, tables)) == tables


@pytest.mark.parametrize("revision", revisions())
def test_a_populated_database_of_every_schema_is_upgraded_with_every_row(
    settings: StorageSettings, revision: str
) -> None:
    create(settings, revision=revision)
    tables = in_transaction(settings, populate)
    assert set(tables.values()) == {3}
    upgrade(settings)
    assert in_transaction(settings, lambda connection: count_all(connection, tables)) == tables
    database = Database.open(settings)
    assert database.check() == ""
    database.close()


def test_tables_and_migrations_agree(settings: StorageSettings) -> None:
    upgrade(settings)

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, Base.metadata)

    assert in_transaction(settings, compare) == []


def test_every_key_is_natural_or_made_by_us(settings: StorageSettings) -> None:
    """Backups move rows between databases as they are; a sequence of PostgreSQL's would be left behind."""
    assert [table.name for table in Base.metadata.sorted_tables if table.autoincrement_column is not None] == []


def test_a_later_migration_keeps_what_refers_to_a_table_it_rebuilds(
    settings: StorageSettings, later: Callable[[str], Path]
) -> None:
    create(settings)
    tables = in_transaction(settings, populate)
    migrations = later(REBUILD)
    with pytest.raises(SchemaError, match="was made by an older Redraft") as told:
        Database.open(settings, migrations=migrations)
    assert told.value.hint == "Upgrade it: redraft db upgrade"
    done = upgrade(settings, migrations=migrations)
    assert (done.before, done.after) == (revisions()[-1], "9999")
    assert in_transaction(settings, lambda connection: count_all(connection, tables)) == tables
    database = Database.open(settings, migrations=migrations)
    assert database.check() == ""
    with database.read() as session:
        assert session.execute(text("SELECT DISTINCT note FROM conversations")).scalars().all() == ["none"]
    database.close()
    with pytest.raises(SchemaError, match="was made by a newer Redraft"):
        Database.open(settings)
    with pytest.raises(SchemaError, match="was made by a newer Redraft"):
        upgrade(settings)


def test_a_copy_of_the_file_is_made_before_it_is_upgraded(
    make_settings: Callable[..., StorageSettings], later: Callable[[str], Path]
) -> None:
    settings = make_settings("sqlite")
    create(settings)
    tables = in_transaction(settings, populate)
    done = upgrade(settings, migrations=later(REBUILD))
    assert done.copy is not None
    assert done.copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(done.copy)) as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == (revisions()[-1],)
        assert {name: copy.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables} == tables


def test_a_migration_that_fails_changes_nothing_and_is_told(
    settings: StorageSettings, later: Callable[[str], Path]
) -> None:
    create(settings)
    tables = in_transaction(settings, populate)
    body = REBUILD + "\n    op.drop_table('feedback')\n    raise RuntimeError('half-way')\n"
    with pytest.raises(StorageError, match=r"The upgrade of .* failed \(RuntimeError\); it was left as it was"):
        upgrade(settings, migrations=later(body))
    assert in_transaction(settings, lambda connection: count_all(connection, tables)) == tables
    Database.open(settings).close()


def test_a_migration_that_orphans_rows_is_undone(
    make_settings: Callable[..., StorageSettings], later: Callable[[str], Path]
) -> None:
    settings = make_settings("sqlite")
    create(settings)
    tables = in_transaction(settings, populate)
    with pytest.raises(StorageError, match="without what they belong to"):
        upgrade(settings, migrations=later("op.execute('DELETE FROM conversations')"))
    assert in_transaction(settings, lambda connection: count_all(connection, tables)) == tables


def test_an_upgrade_waits_for_another_and_tells_when_that_takes_too_long(
    make_settings: Callable[..., StorageSettings], later: Callable[[str], Path]
) -> None:
    from filelock import FileLock

    settings = make_settings("sqlite", database_wait_seconds=0.3)
    create(settings)
    migrations = later(REBUILD)
    with (
        FileLock(Home.at(settings).schema_lock),
        pytest.raises(StorageError, match="Another process has been changing the database"),
    ):
        upgrade(settings, migrations=migrations)
    assert upgrade(settings, migrations=migrations).after == "9999"


def test_the_next_migration_is_drafted_from_the_tables(
    make_settings: Callable[..., StorageSettings], tmp_path: Path
) -> None:
    migrations = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, migrations, ignore=shutil.ignore_patterns("__pycache__"))
    expected = f"{len(revisions()) + 1:04d}"
    path = write("nothing new", migrations)
    assert path.name == f"{expected}_nothing_new.py"
    # The tables are what the newest migration made of them, so there is nothing for it to do.
    assert "op." not in path.read_text().split("def upgrade", 1)[1]
    settings = make_settings("sqlite")
    create(settings)
    assert upgrade(settings, migrations=migrations).after == expected
