"""Runs, schedule, ledger, health and overview: what their keys do, against the real rules."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from textual.widget import Widget

from admin.console.widgets.dialogs import Choose, Confirm, Form, Help
from admin.console.widgets.table import LiveTable
from engine.learning import planned
from engine.learning.ledger_check import show
from engine.learning.locks import run_lock
from engine.learning.settings import LearningSettings
from storage.database import Database
from storage.learning_tables import PlanRow, RunProgressRow, RunRow
from tests.admin.console.piloting import console, press, said, screen_text, settled, until, write
from tests.admin.console.seeding import CANDIDATE, MARIA, NOW

_RUN = "20260504-113000-4now00"


def last(database: Database) -> tuple[str, str, str]:
    line = show(database, limit=1).lines[0]
    return line.action, line.person, line.subject


class TestOverview:
    async def test_alert_leads_to_the_screen_on_which_it_is_acted_on(self, seeded: Database) -> None:
        app = console()
        async with app.run_test() as pilot:
            await settled(pilot)
            app.screen.query_one("#alerts", LiveTable).select(f"candidate-waiting:{CANDIDATE}")
            await press(pilot, "enter")
            assert app.current_mode == "adapters"
            assert app.screen.query_one(LiveTable).current == CANDIDATE

    async def test_every_screen_is_a_digit_away_and_in_the_palette(self, seeded: Database) -> None:
        app = console()
        async with app.run_test() as pilot:
            await settled(pilot)
            from admin.console.widgets.names import SCREENS

            titles = [command.title for command in app.get_system_commands(app.screen)]
            for name in SCREENS:
                assert name.title in titles
                await press(pilot, name.number)
                assert app.current_mode == name.key
                await press(pilot, "question_mark")
                assert isinstance(app.screen, Help)
                await press(pilot, "escape")

    async def test_palette_does_what_the_keys_do(self, seeded: Database) -> None:
        app = console()
        async with app.run_test() as pilot:
            await settled(pilot)
            command = next(one for one in app.get_system_commands(app.screen) if one.title == "Review corrections")
            command.callback()
            await settled(pilot)
            assert app.current_mode == "corrections"

    async def test_picture_of_the_screen_is_written_for_its_owner_only(
        self, seeded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        app = console()
        async with app.run_test() as pilot:
            await settled(pilot)
            await press(pilot, "ctrl+e")
        (path,) = tmp_path.glob("redraft-overview-*.svg")
        assert path.read_text().startswith("<svg")
        assert path.stat().st_mode & 0o077 == 0


class TestRuns:
    async def test_curves_grow_while_a_run_is_under_way(self, seeded: Database) -> None:
        app = console("runs", pulse=True)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: "31/48" in screen_text(app), "the run is shown")
            with seeded.write() as session:
                row = session.get(RunRow, _RUN)
                assert row is not None
                row.step = 40
                session.add(
                    RunProgressRow(run_id=_RUN, kind="train", step=40, at=NOW, epoch=3.3, loss=0.02, learning_rate=1e-4)
                )
            await until(pilot, lambda: "40/48" in screen_text(app) and "0.02┤" in screen_text(app), "the curve grows")

    async def test_stop_asks_the_process_and_the_ledger_has_it(self, seeded: Database) -> None:
        lock = run_lock(seeded.home, _RUN)
        lock.parent.mkdir(parents=True)
        child = subprocess.Popen(
            [
                sys.executable, "-c",
                "import fcntl, signal, sys, time\n"
                "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
                f"file = open({str(lock)!r}, 'w'); fcntl.flock(file, fcntl.LOCK_EX); print('held', flush=True)\n"
                "time.sleep(60)",
            ],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            with seeded.write() as session:
                row = session.get(RunRow, _RUN)
                assert row is not None
                row.pid = child.pid
            app = console("runs")
            async with app.run_test() as pilot:
                await settled(pilot)
                await press(pilot, "S")
                assert isinstance(app.screen, Confirm)
                await press(pilot, "y")
            assert child.wait(10) == 3
        finally:
            child.kill()
            child.wait()
            child.stdout.close()  # type: ignore[union-attr]
        lines = [(line.action, line.person) for line in show(seeded, subject=_RUN, limit=2).lines]
        assert ("run.stop_requested", MARIA) in lines

    async def test_start_begins_a_run_of_the_scope_that_was_chosen(
        self, seeded: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: list[str] = []
        monkeypatch.setattr("admin.console.store.Store.spawn", lambda _self, run_id: begun.append(run_id))
        app = console("runs")
        async with app.run_test() as pilot:
            await settled(pilot)
            await press(pilot, "n")
            assert isinstance(app.screen, Choose)
            await press(pilot, "down", "enter")
            assert "Train slack:T1 now" in screen_text(app)
            await press(pilot, "y")
            assert app.screen.query_one(LiveTable).current == begun[0]
        with seeded.read() as session:
            row = session.get(RunRow, begun[0])
        assert row is not None
        assert (row.scope, row.cause, row.requested_by) == ("slack:T1", "manual", MARIA)

    async def test_resume_goes_on_with_a_stopped_run_only(
        self, seeded: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begun: list[str] = []
        monkeypatch.setattr("admin.console.store.Store.spawn", lambda _self, run_id: begun.append(run_id))
        run_lock(seeded.home, _RUN).parent.mkdir(parents=True)
        with seeded.write() as session:
            row = session.get(RunRow, _RUN)
            assert row is not None
            row.state = "stopped"
        app = console("runs")
        async with app.run_test() as pilot:
            await settled(pilot)
            await press(pilot, "down", "R", "up", "R", "y")
        assert begun == [_RUN]
        assert last(seeded) == ("run.resume_requested", MARIA, _RUN)


class TestSchedule:
    async def test_edit_is_checked_and_holds_for_every_process(self, seeded: Database) -> None:
        app = console("schedule")
        async with app.run_test(size=(100, 40)) as pilot:
            await settled(pilot)
            assert "Tuesday, 5 May 2026, 02:30" in screen_text(app)
            await press(pilot, "e")
            assert isinstance(app.screen, Form)
            await pilot.press("ctrl+u")
            await write(pilot, "0 4 * * mon")
            await press(pilot, "tab")
            await write(pilot, "Europe/Nowhere")
            await press(pilot, "enter")
            assert isinstance(app.screen, Form)
            assert "is no time zone" in screen_text(app)
            assert "0 4 * * mon" in screen_text(app)
            await pilot.press("ctrl+u")
            await write(pilot, "Europe/Berlin")
            await press(pilot, "enter")
            assert "Monday, 11 May 2026, 04:00 CEST" in screen_text(app)
        with seeded.read() as session:
            plan = planned.in_force(session, LearningSettings())
        assert (plan.expression, plan.timezone) == ("0 4 * * mon", "Europe/Berlin")
        assert last(seeded) == ("schedule.changed", MARIA, "train")

    async def test_pause_asks_and_going_on_does_not(self, seeded: Database) -> None:
        app = console("schedule")
        async with app.run_test() as pilot:
            await settled(pilot)
            await press(pilot, "z", "y")
            assert "paused" in screen_text(app)
            assert last(seeded)[0] == "schedule.paused"
            await press(pilot, "z")
            assert last(seeded)[0] == "schedule.resumed"

    async def test_somebody_who_was_quicker_is_not_overwritten(self, seeded: Database) -> None:
        app = console("schedule")
        async with app.run_test() as pilot:
            await settled(pilot)
            await press(pilot, "z")
            planned.change(seeded, LearningSettings(), by="local:jonas", seen=0, min_new_pairs=40)
            await press(pilot, "y")
            assert "has been changed since you saw it" in said(app)[-1]
        with seeded.read() as session:
            row = session.get(PlanRow, "train")
        assert row is not None
        assert (row.paused, row.min_new_pairs) == (False, 40)


class TestLedger:
    async def test_lines_are_filtered_and_the_whole_is_verified(self, seeded: Database) -> None:
        app = console("ledger")
        async with app.run_test(size=(100, 30)) as pilot:
            await settled(pilot)
            table = app.screen.query_one(LiveTable)
            assert len(table.keys) == 8
            await press(pilot, "f")
            await write(pilot, "adapter")
            await press(pilot, "tab")
            await write(pilot, MARIA)
            await press(pilot, "enter")
            assert table.keys == ["5", "3"]
            await press(pilot, "v")
            assert "The ledger is whole: 8 lines" in screen_text(app)
            await press(pilot, "escape")
            assert len(table.keys) == 8

    async def test_ledger_that_was_altered_is_told(self, seeded: Database) -> None:
        from sqlalchemy import text

        with seeded.write() as session:
            session.execute(text("UPDATE ledger SET subject = 'other' WHERE seq = 3"))
        app = console("ledger")
        async with app.run_test(size=(100, 30)) as pilot:
            await settled(pilot)
            await press(pilot, "v")
            assert "is not what was written" in screen_text(app)


class TestHealth:
    async def test_settings_say_where_they_come_from_and_secrets_are_masked(
        self, seeded: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        env = tmp_path / "given.env"
        env.write_text("TRAIN_MIN_NEW_PAIRS=31\n")
        monkeypatch.setenv("REDRAFT_ENV_FILE", str(env))
        monkeypatch.setenv("ENGINE_THREADS", "3")
        app = console("health")
        async with app.run_test(size=(160, 60)) as pilot:
            await settled(pilot)
            rows = {row.key: [str(cell) for cell in row.cells] for row in app.screen.query_one("#settings")._rows}  # type: ignore[attr-defined]
            assert rows["TRAIN_MIN_NEW_PAIRS"] == ["TRAIN_MIN_NEW_PAIRS", "31", "given.env"]
            assert rows["ENGINE_THREADS"] == ["ENGINE_THREADS", "3", "environment"]
            assert rows["RETENTION_DAYS"][2] == "default"
            assert "1 failure, 2 warnings" in screen_text(app)

    def test_password_of_the_database_is_never_shown(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from admin.console.screens.health import settings_in_force
        from admin.console.store import Store

        monkeypatch.setenv("DATABASE_URL", "postgresql://ana:hunter2@db/redraft")
        found = {one.name: one.value for one in settings_in_force(Store(by=MARIA))}
        assert found["DATABASE_URL"] == "(set)"
        assert not any("hunter2" in value for value in found.values())


def test_the_console_comes_nowhere_near_the_model_libraries() -> None:
    code = (
        "import sys\nfor name in ('torch', 'transformers', 'peft', 'bitsandbytes'): sys.modules[name] = None\n"
        "import admin.console.app\nfrom admin.console.app import ConsoleApp\n"
        "[make() for make in ConsoleApp.MODES.values()]\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ), timeout=60)


@pytest.mark.parametrize("name", ["conversations", "corrections", "overview"])
async def test_what_is_read_ahead_is_never_taken_for_the_screens_own(name: str, seeded: Database) -> None:
    app = console(name)
    async with app.run_test() as pilot:
        await settled(pilot)
        front, seen = app.screen_stack[0], set[LiveTable]()
        own, real = front.query_one(LiveTable), front.mount

        async def looks(*widgets: Widget) -> None:
            await real(*widgets)
            seen.add(front.query_one(LiveTable))

        front.mount = looks  # type: ignore[method-assign,assignment]
        await app._read_ahead().wait()
        assert seen == {own}
