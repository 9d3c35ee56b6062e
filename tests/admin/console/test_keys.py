"""Keys that many screens share, and those that lead from one to another."""

from __future__ import annotations

from pathlib import Path

import pytest

from admin.console.widgets.dialogs import Choose, Confirm, Help
from admin.console.widgets.table import LiveTable
from engine.learning import pairs
from engine.learning.ledger import recorded
from engine.learning.report import report_path
from storage.database import Database
from storage.pair_filters import PairFilter
from tests.admin.console.piloting import console, press, said, screen_text, settled
from tests.admin.console.seeding import ACTIVE, MARIA

_RUN = "20260504-113000-4now00"


@pytest.mark.parametrize("name", ["adapters", "corrections", "runs", "conversations"])
async def test_copy_puts_the_id_under_the_cursor_on_the_clipboard(name: str, seeded: Database) -> None:
    app = console(name)
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "down", "y")
        assert app.clipboard == app.screen.query_one(LiveTable).current
        assert said(app)[-1] == f"Copied {app.clipboard}."


async def test_light_and_dark_are_a_key_away(seeded: Database) -> None:
    app = console()
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "ctrl+t")
        assert app.theme == "redraft-light"
        await press(pilot, "ctrl+t")
        assert app.theme == "redraft-dark"


async def test_run_now_on_the_schedule_asks_for_the_scope_on_the_screen_of_runs(seeded: Database) -> None:
    app = console("schedule")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "n")
        assert app.current_mode == "runs"
        assert isinstance(app.screen, Choose)
        await press(pilot, "enter")
        assert isinstance(app.screen, Confirm)
        assert "Train default now" in screen_text(app)


async def test_log_and_report_of_a_run(seeded: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    report: Path = report_path(seeded.home, _RUN)
    report.parent.mkdir(parents=True, exist_ok=True)
    (report.parent / "log.txt").write_text("step 31\x1b]0;owned\x07 of 48\n")
    app = console("runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "h")
        assert said(app)[-1] == "This run has no report yet."
        report.write_text("<html></html>")
        await press(pilot, "l")
        assert isinstance(app.screen, Help)
        assert "step 31" in screen_text(app)
        await press(pilot, "escape", "r", "h")
        assert app.clipboard == str(report)


async def test_ledger_opens_what_a_line_is_about_and_tells_where_that_has_no_screen(seeded: Database) -> None:
    with seeded.read() as session:
        pair = pairs.list_pairs(session, PairFilter(state="pending"), limit=1)[0].id
    pairs.approve(seeded, pair_ids=[pair], by=MARIA, administrator=True)
    with recorded(seeded) as (_, ledger):
        ledger.append("pairs.approved", by=MARIA, details={"count": 2})
        ledger.append("training.authorised", by=MARIA, subject="slack")
        ledger.append("adapter.promoted", by=MARIA, subject=ACTIVE)
    app = console("ledger")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "o")
        assert (app.current_mode, app.screen.query_one(LiveTable).current) == ("adapters", ACTIVE)
        await press(pilot, "8", "down", "o")
        assert "training show" in said(app)[-1]
        await press(pilot, "down", "o")
        assert app.current_mode == "corrections"
        assert "many pairs at once" in said(app)[-1]
        await press(pilot, "8", "down", "o")
        assert app.screen.query_one(LiveTable).keys == [pair]


async def test_ledger_keeps_a_filter_that_is_none_in_its_form(seeded: Database) -> None:
    app = console("ledger")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "f", "tab", "tab", "tab")
        await pilot.press(*"soon")
        await press(pilot, "enter")
        assert app.screen.is_modal
        assert "is no date" in screen_text(app)
        assert "soon" in screen_text(app)
