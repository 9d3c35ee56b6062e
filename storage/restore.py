"""Reading a backup: everything verified first, then put in place, all or nothing.

The database of the set is copied, checked, brought to this program's schema and only then written over the present
one, in a single transaction of that one, so that a process that has it open sees the old state or the new. Whoever
calls it may have the copy changed before that (a :class:`Steward`): what the backup is too old to know is then never
seen in force. It knows nothing of how a set is written but its format (:mod:`storage.backup`).
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from sqlalchemy import Connection, func, select, text
from sqlmodel import Session, col

from storage.backup import DATABASE, FORMAT, MANIFEST, MODELS, FileEntry, Manifest, copy_rows, digest, write_file
from storage.connection import choose_journal, engine_of_file, for_reading, make_engine, where
from storage.database import Database
from storage.errors import SchemaError, StorageError
from storage.failures import DamagedDatabase, told
from storage.home import Home
from storage.learning_tables import ErasureRow
from storage.migrate import copy_database, copy_file, migrate_file, new_copy, schema_lock, stamped, upgrade
from storage.schema import revisions, state_of
from storage.settings import StorageSettings
from storage.tables import Base, JobSlotRow


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored, and where the database that it replaced is kept (None: there was none, or it was empty)."""

    manifest: Manifest
    replaced: Path | None


class Steward(Protocol):
    """What makes a copy of a backup fit to take the place of the present database, and stands by while it does."""

    def __call__(
        self, staged: Path, manifest: Manifest, on_record: Sequence[ErasureRow]
    ) -> AbstractContextManager[None]:
        """A block in which the database is replaced; nobody else writes to an SQLite one meanwhile.

        Args:
            staged: the directory with the copy of the set, its database at this program's schema and not in use.
            manifest: of the set.
            on_record: the erasures that the present database knows; none where it cannot be read.
        """
        ...


def restore(
    settings: StorageSettings, directory: Path, *, force: bool = False, steward: Steward | None = None
) -> Restored:
    """Bring up the data directory and the database from a backup, as it is or as ``steward`` leaves it.

    Args:
        force: replace a database that holds something; it is kept in the data directory's ``copies/``.

    Raises:
        SchemaError: the backup was made by a newer Redraft.
        StorageError: it is incomplete or altered, or the present database holds something and ``force`` was not
            given, or the disk is full. Nothing was changed.
    """
    directory = directory.expanduser().absolute()
    manifest = verify(directory)
    home = Home.create(settings)
    if not force and not _is_empty(settings, home):
        raise _holds_something(settings)
    with (
        told(f"the data directory {home.root}"),
        tempfile.TemporaryDirectory(prefix=".restore-", dir=home.root) as temp,
    ):
        staged = Path(temp)
        _stage(directory, manifest, staged)
        migrate_file(staged / DATABASE)
        with _placed_adapters(staged, home, manifest), _alone(settings), ExitStack() as attended:
            if not force and not _is_empty(settings, home):
                raise _holds_something(settings)
            on_record = _erasures(settings, home) if steward else []
            if steward is not None:
                attended.enter_context(steward(staged, manifest, on_record))
            if settings.postgresql_url is None:
                replaced = _replace_sqlite(settings, home, staged / DATABASE)
            else:
                known = {row.id for row in on_record} if steward else None
                replaced = _replace_postgresql(settings, staged / DATABASE, force=force, erasures=known)
            # Last, and only where this machine has not taken its own: the models its adapters belong to.
            if (staged / MODELS).exists() and not home.models.exists():
                (staged / MODELS).rename(home.models)
            return Restored(manifest, replaced)


def verify(directory: Path) -> Manifest:
    """Read a set's manifest and hold every file against it.

    Raises:
        SchemaError: it was made by a newer Redraft.
        StorageError: it is no backup, or a file is missing or altered.
    """
    manifest = _read_manifest(directory)
    if manifest.format != FORMAT or manifest.revision not in revisions():
        raise SchemaError(
            f"The backup {directory} was made by another version of Redraft ({manifest.version}).",
            "Install that version or a newer one.",
        )
    for name, entry in manifest.files.items():
        path = directory / name
        if path.is_symlink() or not path.is_file():
            raise _altered(directory, f"{name} is missing")
        if digest(path) != entry:
            raise _altered(directory, f"{name} is not what its checksum says")
    return manifest


def _read_manifest(directory: Path) -> Manifest:
    try:
        document: dict[str, Any] = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        files = {
            name: FileEntry(str(entry["sha256"]), int(entry["bytes"])) for name, entry in document["files"].items()
        }
        manifest = Manifest(
            format=int(document["format"]),
            created_at=str(document["created_at"]),
            version=str(document["version"]),
            revision=str(document["revision"]),
            kind=str(document["kind"]),
            rows={str(name): int(count) for name, count in document["rows"].items()},
            adapters=[str(name) for name in document["adapters"]],
            files=files,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StorageError(
            f"{directory} is not a backup: it has no {MANIFEST}.", "Name a directory that `redraft backup` wrote."
        ) from error
    except PermissionError as error:
        raise StorageError(f"The backup {directory} cannot be read.", "Correct its permissions.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _altered(directory, f"{MANIFEST} is not readable") from error
    if (
        DATABASE not in files
        or not all(_is_inside(name) for name in files)
        or not all(_is_adapter(name, files) for name in manifest.adapters)
    ):
        raise _altered(directory, f"{MANIFEST} names files that no backup has")
    return manifest


def _is_inside(name: str) -> bool:
    """Whether a path from the manifest stays in the set: what it names is about to be written."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\x00" not in name


def _is_adapter(name: str, files: Iterable[str]) -> bool:
    """Whether a name is one directory's and the set has a file in it: it is about to be moved into place."""
    path = PurePosixPath("adapters", name)
    return path.name == name and any(path in PurePosixPath(file).parents for file in files)


def _stage(directory: Path, manifest: Manifest, staged: Path) -> None:
    """Copy the set beside its destination and hold the copies against the manifest: what is checked is what is used."""
    for name, entry in manifest.files.items():
        target = staged / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(directory / name, target)
        target.chmod(0o600)
        if digest(target) != entry:
            raise _altered(directory, f"{name} is not what its checksum says")
    with told(f"the database of the backup {directory}"), closing(sqlite3.connect(staged / DATABASE)) as connection:
        found = [row[0] for row in connection.execute("PRAGMA integrity_check")]
    if found != ["ok"]:
        raise _altered(directory, "its database is damaged")


def _is_empty(settings: StorageSettings, home: Home) -> bool:
    """Whether the configured database holds nothing that a restore would replace; a schema alone is nothing."""
    if settings.postgresql_url is None and not (home.database.exists() and home.database.stat().st_size):
        return True
    engine = make_engine(settings, home)
    try:
        with told(where(settings)), for_reading(engine).begin() as connection:
            state = state_of(connection)
            if state != "current":
                return state == "empty"
            return not _has_rows(connection)
    except StorageError:
        if settings.postgresql_url is not None:
            raise
        # A file that SQLite cannot read may be all that is left of somebody's data.
        return False
    finally:
        engine.dispose()


def _has_rows(connection: Connection) -> bool:
    """Whether there is a row that somebody would miss: that a daily job ran is nothing of the kind."""
    tables = [table for table in Base.metadata.sorted_tables if table.name != JobSlotRow.__tablename__]
    return any(connection.scalar(select(func.count()).select_from(table)) for table in tables)


def _erasures(settings: StorageSettings, home: Home) -> list[ErasureRow]:
    """The erasures that the present database knows; none where it is of another schema or cannot be read."""
    if settings.postgresql_url is None and not home.database.exists():
        return []
    engine = make_engine(settings, home)
    try:
        with told(where(settings)), Session(for_reading(engine), expire_on_commit=False) as session:
            if state_of(session.connection()) != "current":
                return []
            return list(session.scalars(select(ErasureRow)))
    except DamagedDatabase:
        return []
    finally:
        engine.dispose()


@contextmanager
def _placed_adapters(staged: Path, home: Home, manifest: Manifest) -> Iterator[None]:
    """Put the adapters in place for the rest of the restore; they go again if it fails.

    An id is never reused, so one that is there already is the same and is left alone.
    """
    placed: list[Path] = []
    try:
        for name in manifest.adapters:
            target = home.adapters / name
            if not target.exists():
                (staged / "adapters" / name).rename(target)
                placed.append(target)
        yield
    except BaseException:
        for target in placed:
            shutil.rmtree(target, ignore_errors=True)
        raise


def _alone(settings: StorageSettings) -> AbstractContextManager[None]:
    """The lock under which an SQLite file is replaced; PostgreSQL's tables are locked by the transaction itself."""
    return schema_lock(settings) if settings.postgresql_url is None else nullcontext()


def _replace_sqlite(settings: StorageSettings, home: Home, source: Path) -> Path | None:
    kept = None
    with ExitStack() as undo:
        if not _is_empty(settings, home):
            try:
                kept = copy_database(home, "before-restore")
            except DamagedDatabase:
                kept = undo.enter_context(_moved_aside(home))
        copy_file(source, home.database, wait_s=settings.database_wait_seconds)
    engine = make_engine(settings, home)
    try:
        choose_journal(engine)
    finally:
        engine.dispose()
    return kept


@contextmanager
def _moved_aside(home: Home) -> Iterator[Path]:
    """Keep a file that SQLite itself cannot read, with its journals, and make room for a new one.

    It comes back, in place of whatever part of a new one there is, if the rest of the restore fails.
    """
    kept = stamped(home, "damaged")
    parts = {
        home.database.with_name(home.database.name + suffix): kept.with_name(kept.name + suffix)
        for suffix in ("-wal", "-shm", "-journal", "")
    }
    moved: list[Path] = []
    try:
        for part, aside in parts.items():
            if part.exists():
                part.rename(aside)
                moved.append(part)
                # Retention goes by this time, and it was kept now, whenever it was last written.
                aside.touch()
        yield kept
    except BaseException:
        # The database itself moves last: once it has, what lies under these names is the new one's.
        if home.database in moved:
            for part in parts:
                part.unlink(missing_ok=True)
        for part in reversed(moved):
            parts[part].rename(part)
        raise


def _replace_postgresql(
    settings: StorageSettings, source: Path, *, force: bool, erasures: set[str] | None
) -> Path | None:
    """Keep what is there and replace it in one transaction: nobody's row falls between the copy and the deletion.

    Args:
        erasures: those that were seen to; None where nobody asked.
    """
    upgrade(settings)
    database = Database.open(settings)
    engine = engine_of_file(source)
    try:
        with Session(engine) as rows, database.write() as session:
            tables = Base.metadata.sorted_tables
            session.execute(text(f"LOCK TABLE {', '.join(table.name for table in tables)} IN ACCESS EXCLUSIVE MODE"))
            if erasures is not None and set(session.scalars(select(col(ErasureRow.id)))) - erasures:
                raise StorageError("Somebody was erased from another machine meanwhile.", "Restore once more.")
            kept = None
            if _has_rows(session.connection()):
                if not force:
                    raise _holds_something(settings)
                with new_copy(database.home, "before-restore") as kept:
                    write_file(session, kept)
            for table in reversed(tables):
                session.execute(table.delete())
            copy_rows(rows, session)
        return kept
    finally:
        engine.dispose()
        database.close()


def _holds_something(settings: StorageSettings) -> StorageError:
    place = where(settings)
    return StorageError(
        f"{place[:1].upper()}{place[1:]} is not empty.",
        "Restore with --force to replace it; it is then kept in the data directory's copies.",
    )


def _altered(directory: Path, what: str) -> StorageError:
    return StorageError(f"The backup {directory} cannot be used: {what}.", "Use another backup.")
