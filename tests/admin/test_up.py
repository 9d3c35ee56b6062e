"""`redraft up` started for real: what it refuses, what it says, what it leaves behind."""

from __future__ import annotations

import signal
import socket
import sqlite3

import pytest
from filelock import FileLock

from admin.commands.engine import permanent
from engine.address import lock_file
from storage.errors import (
    EngineError,
    ModelError,
    ModelUnreachable,
    OptionNotHonoured,
    RedraftError,
    SchemaError,
    SettingsError,
    StorageError,
)
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.processes import redraft


@pytest.fixture
def home() -> Home:
    return Home.create(StorageSettings.load())


def test_an_engine_that_cannot_start_ends_up_with_its_reason_and_the_bot_ends_too(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with redraft("up", home=home, ENGINE_PORT=port) as up:
            assert up.ends() == 1
    sentences = [line for line in up.said if not line.startswith("{")]
    assert sentences[0].startswith("Starting the engine and the bot")
    assert f"redraft: The engine cannot listen on 127.0.0.1 port {port}: address already in use." in sentences
    assert sentences[-2:] == ["redraft: The engine could not start.", "         It says why above."]
    assert not any("Traceback" in line for line in up.said)


def test_an_engine_that_cannot_start_yet_is_started_again(home: Home) -> None:
    # As after a kill of the `up` before: its engine finishes what it was asked, and holds the directory meanwhile.
    with FileLock(lock_file(home)), redraft("up", home=home) as up:
        up.until_it_says("redraft: An engine runs already for this data directory.")
        up.until_it_says("The engine ended with exit code 1. Starting it again in 0.5 s.")
        up.signal(signal.SIGTERM)
        assert up.ends() == 0
    assert not any("could not start" in line for line in up.said)


@pytest.mark.parametrize(
    ("error", "for_good"),
    [
        (SettingsError("The port is taken."), True),
        (SchemaError("The database is older."), True),
        (OptionNotHonoured("There is no German."), True),
        (ModelError("There is no such model."), True),
        (ModelUnreachable("The Hub cannot be reached."), False),
        (StorageError("The database is busy."), False),
        (EngineError("An engine runs already."), False),
    ],
)
def test_only_what_a_person_has_to_change_ends_up(error: RedraftError, for_good: bool) -> None:
    assert permanent(error) is for_good


def test_up_creates_the_database_before_anything_else_needs_it(home: Home) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        redraft("up", home=home, ENGINE_PORT=str(other.getsockname()[1])) as up,
    ):
        up.until_it_says("Starting the engine")
        database = sqlite3.connect(home.database)
        tables = {name for (name,) in database.execute("select name from sqlite_master where type = 'table'")}
        database.close()
        up.ends()
    assert {"conversations", "summaries", "alembic_version"} <= tables


def test_a_second_up_for_the_same_directory_is_refused_in_one_sentence(home: Home) -> None:
    with FileLock(home.root / "up.lock"), redraft("up", home=home) as up:
        assert up.ends() == 1
    assert up.said == [
        "redraft: `redraft up` runs already for this data directory.",
        "         Stop that one first.",
    ]


def test_a_setting_that_cannot_be_used_is_told_before_anything_starts(home: Home) -> None:
    with redraft("up", home=home, ENGINE_MAX_BATCH="many") as up:
        assert up.ends() == 1
    assert up.said[0].startswith("redraft: The setting ENGINE_MAX_BATCH cannot be used")
    assert not home.database.exists()
