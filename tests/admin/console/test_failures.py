"""What stands in the way: a database locked, gone, or of another version; an engine that is not there; defects."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from admin.console.screens.base import ConsoleScreen
from admin.console.store import Store
from admin.console.widgets.header import Problem
from admin.console.widgets.names import SCREENS
from admin.console.widgets.table import LiveTable
from engine.learning.ledger_check import show
from storage.database import Database
from storage.home import Home
from storage.presence import Connection, publish
from tests.admin.console.piloting import console, press, said, screen_text, settled, until
from tests.admin.console.seeding import NOW


def problem(app) -> str:  # type: ignore[no-untyped-def]
    return str(app.screen.query_one(Problem).told[0])


@pytest.mark.parametrize("name", [name.key for name in SCREENS])
async def test_screen_opens_on_an_empty_data_directory(name: str) -> None:
    app = console(name)
    async with app.run_test() as pilot:
        await settled(pilot)
        assert problem(app) == ""
        screen = app.screen
        assert isinstance(screen, ConsoleScreen)
        assert screen.loaded


async def test_database_of_another_version_is_told_and_looked_at_again(seeded: Database, own_home: Path) -> None:
    with closing(sqlite3.connect(own_home / "redraft.db")) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    app = console("adapters")
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        assert "newer" in problem(app)
        assert "tries again" in screen_text(app)
        with closing(sqlite3.connect(own_home / "redraft.db")) as connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
            connection.commit()
        await press(pilot, "r")
        assert problem(app) == ""
        assert len(app.screen.query_one(LiveTable).keys) == 4


async def test_database_that_goes_away_is_told_and_what_was_shown_stays(seeded: Database, own_home: Path) -> None:
    app = console("adapters")
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        (own_home / "redraft.db").rename(own_home / "aside.db")
        await press(pilot, "r")
        assert "is not there any more" in problem(app)
        assert len(app.screen.query_one(LiveTable).keys) == 4
        (own_home / "aside.db").rename(own_home / "redraft.db")
        await press(pilot, "r")
        assert problem(app) == ""


async def test_locked_database_refuses_a_decision_and_the_pair_is_back(
    seeded: Database, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_WAIT_SECONDS", "0.3")
    app = console("corrections")
    async with app.run_test(size=(120, 30)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        first = table.current
        with closing(sqlite3.connect(own_home / "redraft.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await pilot.press("a")
            # The key did not wait for the database.
            assert table.current != first
            await until(pilot, lambda: first in table.keys, "the pair is back")
            told = "by another process for too long"
            await until(pilot, lambda: any(told in one for one in said(app)), "it is told why")
            other.execute("ROLLBACK")
        await press(pilot, "r")
        table.select(first)
        await settled(pilot)
        await press(pilot, "a")
    assert show(seeded, limit=1).lines[0].subject == first


async def test_quitting_waits_for_what_is_being_written_unless_it_is_pressed_again(
    seeded: Database, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_WAIT_SECONDS", "20")
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        with closing(sqlite3.connect(own_home / "redraft.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await pilot.press("a", "q")
            assert "Finishing what was begun" in said(app)[-1]
            assert app.return_code is None
            other.execute("ROLLBACK")
        await until(pilot, lambda: app._exit, "it leaves by itself")
    assert show(seeded, limit=1).lines[0].action == "pair.approved"


async def test_engine_that_is_not_there_is_told_where_it_is_asked(seeded: Database) -> None:
    app = console("compare")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "enter")
        text = screen_text(app)
        assert "engine down" in text
        assert text.count("No engine is running.") == 3


async def test_chats_are_shown_as_the_bot_says_and_down_once_it_is_silent(seeded: Database, own_home: Path) -> None:
    chats = {"slack": Connection("up", NOW), "discord": Connection("degraded", NOW, "It reconnects.")}
    publish(Home(own_home), chats, now=NOW)
    app = console("overview")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert "slack up since 12:00" in screen_text(app)
        assert "discord degraded since 12:00; It reconnects." in screen_text(app)


@pytest.mark.defects
async def test_defect_is_kept_in_a_file_and_the_console_goes_on(
    seeded: Database, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("with words of a conversation")

    monkeypatch.setattr("admin.console.data.corrections.approve", broken)
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "a")
        assert "ZeroDivisionError" in said(app)[-1]
        await press(pilot, "2")
        assert app.current_mode == "adapters"
    assert "ZeroDivisionError" in (own_home / "logs" / "errors.log").read_text()


@pytest.mark.parametrize("name", ["adapters", "corrections", "runs", "conversations", "schedule"])
async def test_leaving_while_everything_is_being_read_leaves_no_traceback(name: str, seeded: Database) -> None:
    app = console(name)
    async with app.run_test() as pilot:
        await pilot.press("r", "down", "q")
    assert app.return_code == 0


def test_the_pulse_waits_for_no_database_that_is_being_opened(
    seeded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening, go = threading.Event(), threading.Event()
    real = Database.open

    def slowly(*args: Any, **given: Any) -> Database:
        opening.set()
        go.wait(30)
        return real(*args, **given)

    monkeypatch.setattr(Database, "open", slowly)
    store = Store(by="local:ana")
    thread = threading.Thread(target=store.database)
    thread.start()
    try:
        assert opening.wait(10)
        asked = threading.Thread(target=store.mark, daemon=True)
        asked.start()
        asked.join(5)
        assert not asked.is_alive(), "the event loop would stand still"
    finally:
        go.set()
        thread.join()
        store.close()


def _break(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("with words of a conversation")

    monkeypatch.setattr(what, broken)


@pytest.mark.defects
@pytest.mark.parametrize(
    ("name", "what", "keys"),
    [
        ("corrections", "admin.console.screens.corrections.CorrectionsScreen.action_skip", ["space"]),
        ("corrections", "admin.console.data.corrections.waiting", ["A"]),
        ("adapters", "admin.console.data.adapters.details", ["down"]),
        ("adapters", "admin.console.widgets.table.LiveTable._tell", ["down"]),
        ("runs", "admin.console.screens.runs.RunsScreen._show_run", ["down"]),
        ("compare", "admin.console.data.compare.systems", ["enter"]),
        ("schedule", "admin.console.screens.schedule.ScheduleScreen.show", ["r"]),
    ],
)
async def test_defect_anywhere_is_a_sentence_and_the_console_goes_on(
    name: str, what: str, keys: list[str], seeded: Database, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = console(name)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        _break(monkeypatch, what)
        await press(pilot, *keys)
        assert any("(ZeroDivisionError)" in told for told in said(app))
        await press(pilot, "9", "1", "3")
        assert app.current_mode == "corrections"
        assert app.screen.query_one(LiveTable).keys
        await pilot.press("q")
    assert app.return_code == 0
    kept = (own_home / "logs" / "errors.log").read_text()
    assert "ZeroDivisionError" in kept
    assert "with words" not in kept


@pytest.mark.defects
async def test_defect_that_comes_again_and_again_ends_the_console_with_a_sentence(
    seeded: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        _break(monkeypatch, "admin.console.screens.corrections.CorrectionsScreen.action_skip")
        for _ in range(20):
            await pilot.press("space")
    assert app.return_code == 1
    told = capsys.readouterr().err
    assert told.startswith("redraft: Something went wrong that should not have (ZeroDivisionError).")
    assert "Traceback" not in told
