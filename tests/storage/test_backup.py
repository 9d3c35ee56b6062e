"""A backup is one consistent, checksummed set; a restore brings it up elsewhere, all or nothing."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from engine.records import StoredSummary, load_summary, store_conversation, store_summary
from storage import backup as backups
from storage import connection, migrate, queries
from storage import restore as restores
from storage.backup import backup, last_backup
from storage.database import Database
from storage.errors import SchemaError, StorageError
from storage.home import Home
from storage.masking import masked
from storage.restore import restore, verify
from storage.retention import enforce_slot
from storage.settings import StorageSettings
from tests.storage import samples

Make = Callable[..., StorageSettings]


def load(settings: StorageSettings, summary_id: str) -> StoredSummary | None:
    database = Database.open(settings)
    try:
        with database.read() as session:
            return load_summary(session, summary_id)
    finally:
        database.close()


def counts(settings: StorageSettings) -> dict[str, int]:
    database = Database.open(settings)
    try:
        with database.read() as session:
            return queries.counts(session=session)
    finally:
        database.close()


def add_adapter(settings: StorageSettings, name: str = "a-1") -> Path:
    directory = Home.create(settings).adapters / name
    directory.mkdir()
    (directory / "adapter_model.safetensors").write_bytes(os.urandom(5_000))
    (directory / "manifest.json").write_text("{}")
    return directory


def files_under(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def summary(database: Database) -> str:
    return store_summary(database, samples.request(), samples.result(), asked_by="U7", now=samples.NOW)


@pytest.fixture
def saved(settings: StorageSettings, summary: str, tmp_path: Path) -> Path:
    """A backup with one summary and one adapter."""
    add_adapter(settings)
    directory = tmp_path / "backups" / "first"
    backup(settings, directory, shown_settings=masked(settings))
    return directory


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))])
def elsewhere(request: pytest.FixtureRequest, make_settings: Make, tmp_path: Path) -> Iterator[StorageSettings]:
    """Another machine: an empty data directory and an empty database of either kind."""
    yield make_settings(request.param, home=tmp_path / "elsewhere")


def test_a_backup_comes_up_on_an_empty_machine_of_either_kind(
    saved: Path, settings: StorageSettings, summary: str, elsewhere: StorageSettings
) -> None:
    done = restore(elsewhere, saved)
    assert done.replaced is None
    assert load(elsewhere, summary) == load(settings, summary)
    assert files_under(elsewhere.home / "adapters") == files_under(settings.home / "adapters")
    assert counts(elsewhere) == done.manifest.rows == counts(settings)
    database = Database.open(elsewhere)
    assert database.check() == ""
    database.close()
    assert not list(elsewhere.home.glob(".restore-*"))


def test_a_set_holds_every_file_with_its_checksum_and_nothing_open_to_others(
    saved: Path, settings: StorageSettings
) -> None:
    manifest = verify(saved)
    assert set(files_under(saved)) == {*manifest.files, "manifest.json"}
    assert manifest.adapters == ["a-1"]
    assert saved.stat().st_mode & 0o777 == 0o700
    assert (saved / "redraft.db").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in saved.parent.iterdir()] == ["first"]


def test_a_set_holds_settings_but_no_secret(make_settings: Make, saved: Path, settings: StorageSettings) -> None:
    shown = json.loads((saved / "settings.json").read_text())
    assert shown == masked(settings)
    assert "postgres@" not in "".join(map(str, shown.values()))


def test_the_newest_backup_is_known(database: Database, settings: StorageSettings, tmp_path: Path) -> None:
    assert last_backup(database) is None
    backup(settings, tmp_path / "b", shown_settings={})
    found = last_backup(database)
    assert found is not None and abs(found - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("make", ["full", "file", "link"])
def test_a_target_that_holds_anything_is_refused_and_left_alone(
    settings: StorageSettings, tmp_path: Path, make: str
) -> None:
    target = tmp_path / "b"
    if make == "full":
        target.mkdir()
        (target / "mine").touch()
    elif make == "file":
        target.touch()
    else:
        target.symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageError, match="is not an empty directory"):
        backup(settings, target, shown_settings={})
    assert make != "full" or [path.name for path in target.iterdir()] == ["mine"]


def test_an_empty_target_is_used(settings: StorageSettings, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    backup(settings, tmp_path / "b", shown_settings={})
    verify(tmp_path / "b")


def test_a_backup_that_fails_leaves_nothing(
    settings: StorageSettings, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter = add_adapter(settings)
    (adapter / "link").symlink_to("/etc/hostname")
    with pytest.raises(StorageError, match="not an ordinary file"):
        backup(settings, tmp_path / "b" / "c", shown_settings={})
    assert list((tmp_path / "b").iterdir()) == []


def test_a_backup_taken_while_others_write_is_of_one_moment(
    database: Database, settings: StorageSettings, tmp_path: Path
) -> None:
    stop, wrote = threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def write() -> None:
        number = 0
        try:
            while not stop.is_set() and number < 500:
                store_summary(database, samples.request(f"c{number}"), samples.result())
                number += 1
                wrote.set()
        except BaseException as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    assert wrote.wait(20)
    manifest = backup(settings, tmp_path / "b", shown_settings={})
    stop.set()
    writer.join(20)
    assert not failed
    with closing(sqlite3.connect(tmp_path / "b" / "redraft.db")) as copy:
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("PRAGMA foreign_key_check").fetchall() == []
    rows = manifest.rows
    assert rows["conversations"] >= 1
    # Each summary is stored with its conversation in one transaction: a torn copy would show in the numbers.
    assert rows["summaries"] == rows["conversations"] and rows["messages"] == 3 * rows["conversations"]


# --- what a restore refuses


def test_a_database_that_holds_something_is_not_replaced_without_force(
    saved: Path, settings: StorageSettings, summary: str
) -> None:
    before = counts(settings)
    with pytest.raises(StorageError, match="is not empty") as told:
        restore(settings, saved)
    assert "--force" in told.value.hint
    assert counts(settings) == before


def test_a_database_in_which_only_jobs_ran_counts_as_empty(
    saved: Path, elsewhere: StorageSettings, summary: str
) -> None:
    database = Database.open(elsewhere)
    enforce_slot(database, elsewhere, slot="2026-03-29", now=samples.NOW)
    database.close()
    assert restore(elsewhere, saved).replaced is None
    assert load(elsewhere, summary) is not None


def test_force_replaces_the_database_and_keeps_the_old_one_aside(
    saved: Path, settings: StorageSettings, database: Database, summary: str
) -> None:
    later = store_summary(database, samples.request("later"), samples.result())
    done = restore(settings, saved, force=True)
    assert load(settings, later) is None and load(settings, summary) is not None
    # who had the database open goes on, with what was restored
    with database.read() as session:
        assert queries.counts(session=session)["summaries"] == 1
    assert done.replaced is not None and done.replaced.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(done.replaced)) as kept:
        assert kept.execute("SELECT count(*) FROM summaries").fetchone() == (2,)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda saved: _flip(saved / "redraft.db"), "redraft.db is not what its checksum says"),
        (lambda saved: _flip(saved / "adapters/a-1/adapter_model.safetensors"), "is not what its checksum says"),
        (lambda saved: (saved / "settings.json").unlink(), "settings.json is missing"),
        (lambda saved: (saved / "manifest.json").unlink(), "is not a backup: it has no manifest.json"),
        (lambda saved: (saved / "manifest.json").write_text("{"), "manifest.json is not readable"),
        (lambda saved: (saved / "manifest.json").write_text("[]"), "manifest.json is not readable"),
        (lambda saved: shutil.rmtree(saved), "is not a backup"),
    ],
)
def test_an_altered_set_is_refused_with_nothing_changed(
    saved: Path, make_settings: Make, tmp_path: Path, harm: Callable[[Path], object], sentence: str
) -> None:
    elsewhere = make_settings("sqlite", home=tmp_path / "elsewhere")
    harm(saved)
    with pytest.raises(StorageError, match=sentence):
        restore(elsewhere, saved)
    assert not elsewhere.home.exists()


def _edit(saved: Path, **changes: object) -> None:
    path = saved / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("name", ["../../evil", "/tmp/evil", "adapters/../../evil"])
def test_a_manifest_that_points_out_of_the_set_is_refused(
    saved: Path, make_settings: Make, tmp_path: Path, name: str
) -> None:
    elsewhere = make_settings("sqlite", home=tmp_path / "elsewhere")
    files = json.loads((saved / "manifest.json").read_text())["files"]
    _edit(saved, files={**files, name: files["redraft.db"]})
    with pytest.raises(StorageError, match="names files that no backup has"):
        restore(elsewhere, saved)
    _edit(saved, files=files, adapters=[name])
    with pytest.raises(StorageError, match="names files that no backup has"):
        restore(elsewhere, saved)


def test_a_set_of_a_newer_version_is_refused(saved: Path, make_settings: Make, tmp_path: Path) -> None:
    _edit(saved, revision="9999", version="7.0")
    with pytest.raises(SchemaError, match=r"was made by another version of Redraft \(7.0\)"):
        restore(make_settings("sqlite", home=tmp_path / "elsewhere"), saved)


def test_a_restore_that_fails_on_the_way_leaves_the_machine_as_it_was(
    saved: Path, elsewhere: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    Database.open(elsewhere).close()

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    # The last step, once on each kind: everything before it has been done by then.
    monkeypatch.setattr(restores, "copy_file", fail)
    monkeypatch.setattr(restores, "copy_rows", fail)
    with pytest.raises(StorageError, match="is full; nothing of this was stored"):
        restore(elsewhere, saved)
    assert set(counts(elsewhere).values()) == {0}
    assert list((elsewhere.home / "adapters").iterdir()) == []
    assert not list(elsewhere.home.glob(".restore-*"))


def test_a_damaged_database_is_replaced_by_force_and_kept_aside(
    saved: Path, summary: str, make_settings: Make, tmp_path: Path
) -> None:
    elsewhere = make_settings("sqlite", home=tmp_path / "elsewhere")
    Home.create(elsewhere).database.write_bytes(b"no database " * 1000)
    with pytest.raises(StorageError, match="is not empty"):
        restore(elsewhere, saved)
    done = restore(elsewhere, saved, force=True)
    assert done.replaced is not None and done.replaced.read_bytes() == b"no database " * 1000
    assert load(elsewhere, summary) is not None


def _full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_healthy_database_stays_in_its_place_when_the_disk_has_no_room_for_its_copy(
    saved: Path, summary: str, make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = make_settings("sqlite", home=tmp_path / "elsewhere")
    restore(elsewhere, saved)
    monkeypatch.setattr(migrate, "copy_file", _full)
    with pytest.raises(StorageError, match="is full"):
        restore(elsewhere, saved, force=True)
    assert load(elsewhere, summary) is not None
    assert list((elsewhere.home / "copies").iterdir()) == []


def test_a_damaged_database_comes_back_when_the_new_one_cannot_be_written(
    saved: Path, make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = make_settings("sqlite", home=tmp_path / "elsewhere")
    database = Home.create(elsewhere).database
    parts = {database: b"no database " * 1000, database.with_name("redraft.db-shm"): b"its index"}
    for path, content in parts.items():
        path.write_bytes(content)

    def begin_and_fail(_source: Path, target: Path, **_: object) -> None:
        assert not any(part.exists() for part in parts)
        target.touch()
        target.with_name(target.name + "-journal").touch()
        target.with_name(target.name + "-wal").touch()
        _full()

    monkeypatch.setattr(restores, "copy_file", begin_and_fail)
    with pytest.raises(StorageError, match="is full"):
        restore(elsewhere, saved, force=True)
    assert {path: path.read_bytes() for path in database.parent.glob("redraft.db*")} == parts
    assert list((elsewhere.home / "copies").iterdir()) == []


def test_only_the_newest_copies_are_kept(saved: Path, settings: StorageSettings) -> None:
    copies = settings.home / "copies"
    copies.mkdir(exist_ok=True)
    for year in range(2010, 2015):
        (copies / f"redraft-{year}0101T000000000000-before-restore.db").touch()
    kept = restore(settings, saved, force=True).replaced
    assert kept is not None
    assert [path.name[:12] for path in sorted(copies.iterdir())] == ["redraft-2013", "redraft-2014", kept.name[:12]]


@pytest.mark.xdist_group("postgresql")
def test_a_restore_waits_for_who_is_writing_to_postgresql_and_changes_nothing_when_it_gives_up(
    saved: Path, summary: str, make_settings: Make, tmp_path: Path
) -> None:
    there = make_settings("postgresql", home=tmp_path / "there", database_wait_seconds=0.5)
    database = Database.open(there)
    try:
        with database.write() as session:
            store_conversation(session, samples.conversation("being-written"), now=samples.NOW)
            with pytest.raises(StorageError, match="being written by another process"):
                restore(there, saved)
    finally:
        database.close()
    assert counts(there)["conversations"] == 1 and load(there, summary) is None


def test_a_directory_without_a_file_is_no_adapter_and_keeps_no_backup_from_coming_up(
    settings: StorageSettings, summary: str, elsewhere: StorageSettings, tmp_path: Path
) -> None:
    add_adapter(settings)
    (settings.home / "adapters" / "nothing" / "deeper").mkdir(parents=True)
    assert backup(settings, tmp_path / "b", shown_settings={}).adapters == ["a-1"]
    restore(elsewhere, tmp_path / "b")
    assert [path.name for path in (elsewhere.home / "adapters").iterdir()] == ["a-1"]


@pytest.mark.parametrize("name", ["a/b", "a-1/", "nothing", ".", ""])
def test_a_manifest_with_an_adapter_that_the_set_does_not_hold_is_refused(
    saved: Path, make_settings: Make, tmp_path: Path, name: str
) -> None:
    (saved / "adapters" / "nothing").mkdir()
    _edit(saved, adapters=[name])
    with pytest.raises(StorageError, match="names files that no backup has"):
        restore(make_settings("sqlite", home=tmp_path / "elsewhere"), saved)


def test_a_restored_database_takes_new_rows(saved: Path, elsewhere: StorageSettings) -> None:
    restore(elsewhere, saved)
    database = Database.open(elsewhere)
    store_summary(database, samples.request("new"), samples.result())
    with database.read() as session:
        assert queries.counts(session=session)["conversations"] == 2
        assert session.execute(text("SELECT count(*) FROM alembic_version")).scalar() == 1
    database.close()


def test_large_tables_are_copied_in_parts(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, database: Database, settings: StorageSettings
) -> None:
    monkeypatch.setattr(backups, "_CHUNK", 2)
    for number in range(5):
        store_summary(database, samples.request(f"c{number}"), samples.result())
    backups.copy_to_file(database, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT count(*) FROM messages").fetchone() == (15,)


def test_a_database_with_a_log_is_backed_up_as_one_file_and_restored_into_one_with_a_log(
    make_settings: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "wal_is_safe", lambda: True)
    settings, elsewhere = make_settings("sqlite"), make_settings("sqlite", home=tmp_path / "elsewhere")
    database = Database.open(settings)
    summary = store_summary(database, samples.request(), samples.result())
    assert database.journal_mode() == "wal"
    # not closed: the row may still be in the log alone
    backup(settings, tmp_path / "b", shown_settings={})
    database.close()
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["manifest.json", "redraft.db", "settings.json"]
    assert (tmp_path / "b" / "redraft.db").read_bytes()[18:20] == b"\x01\x01"
    present = Database.open(elsewhere)
    restore(elsewhere, tmp_path / "b")
    assert present.journal_mode() == "wal"
    with present.read() as session:
        assert load_summary(session, summary) is not None
    present.close()
