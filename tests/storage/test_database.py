"""Opening, transactions and what is told when the database cannot be used."""

from __future__ import annotations

import multiprocessing
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import exc, text

from engine.records import store_conversation
from storage import connection, queries
from storage.database import Database
from storage.errors import SchemaError, SettingsError, StorageError
from storage.settings import StorageSettings
from tests.storage import samples

Make = Callable[..., StorageSettings]


def store(database: Database, identity: str) -> None:
    with database.write() as session:
        store_conversation(session, samples.conversation(identity), now=samples.NOW)


def stored(database: Database) -> int:
    with database.read() as session:
        return queries.counts(session=session)["conversations"]


def _open_and_store(settings: StorageSettings, identity: str) -> None:
    database = Database.open(settings)
    store(database, identity)
    database.close()


def test_an_exception_rolls_the_whole_transaction_back(database: Database) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), database.write() as session:
        store_conversation(session, samples.conversation("half"), now=samples.NOW)
        raise RuntimeError("in the middle")
    assert stored(database) == 0
    store(database, "whole")
    assert stored(database) == 1


def test_a_reading_transaction_cannot_write(database: Database) -> None:
    with pytest.raises((StorageError, exc.DBAPIError)), database.read() as session:
        store_conversation(session, samples.conversation(), now=samples.NOW)
    assert stored(database) == 0
    # and the connection goes back to the pool fit for writing
    store(database, "next")
    assert stored(database) == 1


def test_a_reader_sees_one_state_while_another_writes(kind: str, make_settings: Make) -> None:
    database = Database.open(make_settings(kind, database_wait_seconds=0.2))
    store(database, "first")
    with database.read() as session:
        before = queries.counts(session=session)
        if database.journal_mode() == "delete":
            # Without a write-ahead log the writer cannot commit beside a reader; it is told, the reader goes on.
            with pytest.raises(StorageError, match="being written by another process for too long"):
                store(database, "second")
        else:
            store(database, "second")
        assert queries.counts(session=session) == before
    store(database, "third")
    assert stored(database) == (3 if database.journal_mode() != "delete" else 2)
    database.close()


def test_a_writer_that_waits_in_vain_is_told_and_stores_nothing(kind: str, make_settings: Make) -> None:
    settings = make_settings(kind, database_wait_seconds=0.3)
    database, other = Database.open(settings), Database.open(settings)
    with database.write() as session:
        store_conversation(session, samples.conversation("same"), now=samples.NOW)
        with pytest.raises(StorageError, match="being written by another process for too long") as told:
            store(other, "same")
        assert told.value.hint.startswith("Try again")
    assert stored(other) == 1
    store(other, "same")
    database.close()
    other.close()


def test_a_writer_waits_for_the_one_before_it(database: Database, settings: StorageSettings) -> None:
    began, end = threading.Event(), threading.Event()

    def first() -> None:
        with database.write() as session:
            store_conversation(session, samples.conversation("same"), now=samples.NOW)
            began.set()
            assert end.wait(10)

    holding = threading.Thread(target=first)
    holding.start()
    assert began.wait(10)
    done = threading.Event()
    waiting = threading.Thread(target=lambda: (store(database, "same"), done.set()))
    waiting.start()
    assert not done.wait(0.3), "it did not wait"
    end.set()
    assert done.wait(10)
    holding.join(10)
    waiting.join(10)


def test_processes_that_race_to_create_the_database_all_succeed(settings: StorageSettings) -> None:
    spawn = multiprocessing.get_context("spawn")
    racers = [spawn.Process(target=_open_and_store, args=(settings, f"c{number}")) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * 4
    database = Database.open(settings)
    assert stored(database) == 4
    database.close()


@pytest.mark.parametrize(
    ("revision", "sentence"), [("0000x", "was made by a newer Redraft"), (None, "holds tables that are not Redraft's")]
)
def test_a_schema_that_is_not_this_programs_is_refused(
    settings: StorageSettings, revision: str | None, sentence: str
) -> None:
    database = Database.open(settings)
    with database.write() as session:
        if revision:
            session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})
        else:
            session.execute(text("DROP TABLE alembic_version"))
    database.close()
    with pytest.raises(SchemaError, match=sentence):
        Database.open(settings)


def test_a_whole_database_checks_as_whole(database: Database) -> None:
    store(database, "one")
    assert database.check() == ""


# --- SQLite's own rules


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
        ((4, 0, 0), True),
    ],
)
def test_the_write_ahead_log_is_used_only_where_sqlite_has_the_fix(version: tuple[int, int, int], safe: bool) -> None:
    assert connection.wal_is_safe(version) is safe


@pytest.mark.parametrize("safe", [True, False])
def test_the_journal_mode_follows_what_sqlite_may_be_trusted_with(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch, safe: bool
) -> None:
    settings = make_settings("sqlite")
    monkeypatch.setattr(connection, "wal_is_safe", lambda: not safe)
    database = Database.open(settings)
    store(database, "before")
    database.close()
    monkeypatch.setattr(connection, "wal_is_safe", lambda: safe)
    database = Database.open(settings)
    assert database.journal_mode() == ("wal" if safe else "delete")
    store(database, "after")
    database.truncate_log()
    assert stored(database) == 2
    database.close()


def test_a_file_with_a_log_that_another_process_has_open_is_refused_where_the_log_is_not_safe(
    make_settings: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings("sqlite", database_wait_seconds=0.2)
    monkeypatch.setattr(connection, "wal_is_safe", lambda: True)
    database = Database.open(settings)
    monkeypatch.setattr(connection, "wal_is_safe", lambda: False)
    with database.read() as session:
        queries.counts(session=session)
        with pytest.raises(StorageError, match="another process"):
            Database.open(settings)
    database.close()


def test_every_connection_is_set_up_by_the_rules(make_settings: Make) -> None:
    database = Database.open(make_settings("sqlite"))
    with database.write() as session:
        found = {
            name: session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("foreign_keys", "synchronous", "secure_delete", "busy_timeout")
        }
    assert found == {"foreign_keys": 1, "synchronous": 2, "secure_delete": 1, "busy_timeout": 20_000}
    database.close()


def test_the_database_file_is_for_its_owner_only(make_settings: Make, own_home: Path) -> None:
    settings = make_settings("sqlite")
    Database.open(settings).close()
    path = own_home / "redraft.db"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    Database.open(settings).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_deleted_text_is_not_left_in_the_file(make_settings: Make, own_home: Path) -> None:
    database = Database.open(make_settings("sqlite"))
    store(database, "planted")
    assert b"rolling back now" in (own_home / "redraft.db").read_bytes()
    with database.write() as session:
        session.execute(text("DELETE FROM conversations"))
    database.close()
    left = b"".join(path.read_bytes() for path in own_home.iterdir() if path.is_file())
    assert b"rolling back now" not in left


@pytest.mark.parametrize(
    "content", [b"not a database at all, only text " * 50, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_file_that_is_no_database_is_told_in_a_sentence(make_settings: Make, own_home: Path, content: bytes) -> None:
    own_home.mkdir(mode=0o700)
    (own_home / "redraft.db").write_bytes(content)
    with pytest.raises(StorageError, match="is damaged or is no database") as told:
        Database.open(make_settings("sqlite"))
    assert "redraft restore" in told.value.hint


def test_a_directory_in_place_of_the_database_is_told_in_a_sentence(make_settings: Make, own_home: Path) -> None:
    (own_home / "redraft.db").mkdir(parents=True)
    with pytest.raises(StorageError, match="cannot be opened"):
        Database.open(make_settings("sqlite"))


def test_a_database_with_a_broken_page_does_not_check_as_whole(make_settings: Make, own_home: Path) -> None:
    settings = make_settings("sqlite")
    database = Database.open(settings)
    for number in range(50):
        store(database, f"c{number}")
    database.close()
    path = own_home / "redraft.db"
    with closing(sqlite3.connect(path)) as direct:
        root = direct.execute("SELECT rootpage FROM sqlite_master WHERE name = 'ix_messages_author_id'").fetchone()[0]
        size = direct.execute("PRAGMA page_size").fetchone()[0]
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = bytes(size)
    path.write_bytes(content)
    database = Database.open(settings)
    with pytest.raises(StorageError, match="is damaged"):
        database.check()
    database.close()


# --- PostgreSQL's


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("postgresql://ana:s3cret@127.0.0.1:1/redraft", "redraft on 127.0.0.1 cannot be reached"),
        ("postgresql://ana:s3cret@/redraft?host=/nowhere", "redraft on /nowhere cannot be reached"),
    ],
)
def test_a_server_out_of_reach_is_told_in_a_sentence_without_its_password(address: str, sentence: str) -> None:
    with pytest.raises(StorageError, match=sentence) as told:
        Database.open(StorageSettings.load(database_url=address))
    assert "s3cret" not in str(told.value)


def test_an_option_that_no_server_takes_is_a_mistake_in_the_settings() -> None:
    address = "postgresql://ana:s3cret@127.0.0.1:1/redraft?sslmod=require"
    with pytest.raises(SettingsError, match="DATABASE_URL has an option that PostgreSQL does not take") as told:
        Database.open(StorageSettings.load(database_url=address))
    assert "s3cret" not in str(told.value)


@pytest.mark.xdist_group("postgresql")
@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [("/postgres?", "/missing?", "missing on .* there is no such database"), ("postgres@", "nobody@", "refuses this")],
)
def test_a_database_or_user_that_the_server_does_not_have_is_told_in_a_sentence(
    postgresql_server: str, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(StorageError, match=sentence):
        Database.open(StorageSettings.load(database_url=postgresql_server.replace(old, new)))


@pytest.mark.xdist_group("postgresql")
def test_a_connection_that_the_server_cut_is_made_anew(make_settings: Make, postgresql_server: str) -> None:
    import psycopg

    database = Database.open(make_settings("postgresql"))
    store(database, "before")
    with psycopg.connect(postgresql_server, autocommit=True) as direct:
        direct.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'redraft_%'")
    store(database, "after")
    assert stored(database) == 2
    database.close()
