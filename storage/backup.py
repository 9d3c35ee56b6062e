"""A backup: one directory with everything that a machine needs to go on where another stopped.

    DIR/manifest.json   format, time, version, schema revision, rows, and the SHA-256 of every other file
    DIR/redraft.db      the database, as SQLite whatever it came from
    DIR/adapters/<id>/  the adapters
    DIR/ledger.heads    heads of the ledger, none of them newer than the database
    DIR/settings.json   the settings in force, secrets left out

An SQLite database is copied online by SQLite itself; a PostgreSQL one is read in a single repeatable-read transaction
into an SQLite file of the same schema. So a set is one kind of thing, checked in one way, and restores to either. The
set is written beside its place, synced and renamed: a directory that has a manifest is complete. How it is read
again is :mod:`storage.restore`'s business.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlmodel import Session

from storage import queries
from storage.connection import engine_of_file, make_private
from storage.database import Database
from storage.errors import StorageError
from storage.failures import told
from storage.home import Home
from storage.migrate import copy_file, migrate_file, sync
from storage.schema import revisions
from storage.settings import StorageSettings
from storage.tables import Base

JOB = "backup"
FORMAT = 1
DATABASE = "redraft.db"
MANIFEST = "manifest.json"
MODELS = "models.json"
HEADS = "ledger.heads"
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a set: its SHA-256 in hexadecimal, and its size in bytes."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What ``manifest.json`` says; ``files`` is by path relative to the set."""

    format: int
    created_at: str
    version: str
    revision: str
    kind: str
    rows: dict[str, int]
    adapters: list[str]
    files: dict[str, FileEntry]


def backup(
    settings: StorageSettings,
    directory: Path,
    *,
    shown_settings: Mapping[str, Any],
    now: datetime | None = None,
) -> Manifest:
    """Write a backup into a directory that does not exist yet or is empty.

    Args:
        shown_settings: settings by name, secrets already replaced (:func:`storage.masking.masked`).

    Raises:
        StorageError: the directory is not empty or cannot be written, or the database cannot be read.
    """
    now = now or datetime.now(UTC)
    directory = directory.expanduser().absolute()
    _refuse_in_use(directory)
    database = Database.open(settings)
    try:
        with told(f"the backup {directory}"), _scratch(directory) as scratch:
            # First: a head that is kept meanwhile is of a line which the copy may not have.
            _copy_private(database.home.ledger_heads, scratch / HEADS)
            _write_database(database, settings, scratch / DATABASE)
            adapters = _copy_adapters(database.home, scratch / "adapters")
            _write_json(scratch / "settings.json", dict(shown_settings))
            _copy_private(database.home.models, scratch / MODELS)
            manifest = _describe(scratch, database.kind, adapters, now)
            _write_json(scratch / MANIFEST, asdict(manifest))
            for parent, _names, files in os.walk(scratch):
                for name in files:
                    sync(Path(parent) / name)
                sync(Path(parent))
            scratch.rename(directory)
            sync(directory.parent)
        # The set is complete: a database that cannot take the note makes `doctor` call the backup old, no more.
        with suppress(StorageError), database.write() as session:
            slot = now.isoformat(timespec="seconds")
            queries.record_job(session=session, job=JOB, slot=slot, started=now, finished=datetime.now(UTC))
    finally:
        database.close()
    return manifest


def last_backup(database: Database) -> datetime | None:
    """When the newest backup was made (aware, UTC), or None where there is none."""
    with database.read() as session:
        return queries.last_finished(session=session, job=JOB)


def adapters_to_keep(home: Home) -> list[Path]:
    """The adapters that a set carries: every complete one.

    What is still being written has a name with a dot first, and a directory without a file is no adapter.
    """
    if not home.adapters.is_dir():
        return []
    named = (path for path in home.adapters.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(path for path in named if any(part.is_symlink() or not part.is_dir() for part in path.rglob("*")))


def copy_rows(source: Session, target: Session) -> dict[str, int]:
    """Copy every row of every table, in an order that foreign keys allow; how many, by table."""
    copied: dict[str, int] = {}
    for table in Base.metadata.sorted_tables:
        count = 0
        for part in source.execute(table.select().execution_options(yield_per=_CHUNK)).mappings().partitions(_CHUNK):
            target.execute(table.insert(), [dict(row) for row in part])
            count += len(part)
        copied[table.name] = count
    return copied


def copy_to_file(database: Database, target: Path) -> None:
    """Write all rows of an open database into a new SQLite file of this program's schema.

    Raises:
        StorageError: either cannot be used.
    """
    with database.read() as source:
        write_file(source, target)


def write_file(source: Session, target: Path) -> None:
    """Write all rows that a transaction sees into a new SQLite file of this program's schema.

    Raises:
        StorageError: either cannot be used.
    """
    make_private(target)
    migrate_file(target)
    engine = engine_of_file(target)
    try:
        with Session(engine) as session:
            copy_rows(source, session)
            session.commit()
    finally:
        engine.dispose()
    sync(target)


def digest(path: Path) -> FileEntry:
    """The checksum and size of a file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
    return FileEntry(found.hexdigest(), path.stat().st_size)


def _refuse_in_use(directory: Path) -> None:
    if directory.is_symlink() or (directory.exists() and (not directory.is_dir() or any(directory.iterdir()))):
        raise StorageError(f"{directory} is not an empty directory.", "Name a directory that does not exist yet.")


@contextmanager
def _scratch(directory: Path) -> Iterator[Path]:
    """A private directory beside ``directory``, removed unless it was renamed away."""
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(
            f"The backup {directory} cannot be written: {reason}.", "Name a directory that you may write."
        ) from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write_database(database: Database, settings: StorageSettings, target: Path) -> None:
    if database.kind == "sqlite":
        copy_file(database.home.database, target, wait_s=settings.database_wait_seconds)
        _stand_alone(target)
    else:
        copy_to_file(database, target)


def _stand_alone(path: Path) -> None:
    """Take the copy of a database with a write-ahead log out of that mode, so that it is one file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _copy_private(source: Path, target: Path) -> None:
    """Copy a file where there is one."""
    if source.exists():
        make_private(target)
        shutil.copyfile(source, target)


def _copy_adapters(home: Home, target: Path) -> list[str]:
    copied = []
    for adapter in adapters_to_keep(home):
        for path in adapter.rglob("*"):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise StorageError(
                    f"The adapter {adapter.name} holds {path.name}, which is not an ordinary file.",
                    "Remove it; an adapter holds files only.",
                )
        shutil.copytree(adapter, target / adapter.name)
        copied.append(adapter.name)
    return copied


def _describe(scratch: Path, kind: str, adapters: Iterable[str], now: datetime) -> Manifest:
    engine = engine_of_file(scratch / DATABASE)
    try:
        with Session(engine) as session:
            rows = queries.counts(session=session)
    finally:
        engine.dispose()
    paths = sorted(path for path in scratch.rglob("*") if path.is_file())
    return Manifest(
        format=FORMAT,
        created_at=now.astimezone(UTC).isoformat(timespec="seconds"),
        version=_version(),
        revision=revisions()[-1],
        kind=kind,
        rows=rows,
        adapters=list(adapters),
        files={path.relative_to(scratch).as_posix(): digest(path) for path in paths},
    )


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    make_private(path)
    path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("redraft")
    except PackageNotFoundError:
        return "unreleased"
