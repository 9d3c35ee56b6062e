"""The screen of adapters: what it shows, and every key that moves a pointer, against the real rules."""

from __future__ import annotations

import threading

import pytest

from admin.console.screens.adapters import Promotion
from admin.console.widgets.dialogs import Confirm
from admin.console.widgets.table import LiveTable
from engine.learning.ledger_check import show
from engine.learning.promotion import promote
from engine.learning.registry import find
from engine.learning.settings import LearningSettings
from storage.database import Database
from tests.admin.console.piloting import console, press, said, screen_text, settled, until, write
from tests.admin.console.seeding import ACTIVE, BEFORE, CANDIDATE
from tests.engine.learning import making


def state(database: Database, adapter: str) -> str:
    with database.read() as session:
        return find(session, adapter).state


def last_line(database: Database) -> tuple[str, str, str]:
    line = show(database, limit=1).lines[0]
    return line.action, line.person, line.subject


@pytest.fixture
def measured(database: Database) -> tuple[str, str]:
    """What serves and a candidate that the gate found better, with their files."""
    serves = making.serve(database, seed=1)
    waits = making.candidate(database, seed=2)
    making.gate(database, waits, "better", against=serves.id)
    return serves.id, waits.id


async def test_details_follow_the_cursor(seeded: Database) -> None:
    app = console("adapters")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        assert f"better than {ACTIVE[:10]}" in screen_text(app)
        app.screen.query_one(LiveTable).select(BEFORE)
        await settled(pilot)
        assert f"{ACTIVE} took its place" in screen_text(app)


async def test_state_key_leaves_only_one_state(seeded: Database) -> None:
    app = console("adapters")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "s")
        assert app.screen.query_one(LiveTable).keys == [ACTIVE]
        await press(pilot, "s")
        assert app.screen.query_one(LiveTable).keys == [CANDIDATE]


@pytest.mark.parametrize("kind", ["sqlite"])
class TestMoving:
    async def test_better_candidate_is_promoted_after_a_yes(
        self, database: Database, measured: tuple[str, str]
    ) -> None:
        serves, waits = measured
        app = console("adapters", by="local:ines")
        async with app.run_test(size=(120, 40)) as pilot:
            await settled(pilot)
            app.screen.query_one(LiveTable).select(waits)
            await press(pilot, "p")
            assert isinstance(app.screen, Promotion)
            assert f"in place of {serves}" in screen_text(app)
            assert state(database, waits) == "candidate"
            await press(pilot, "y")
            assert any(waits in told for told in said(app))
        assert (state(database, waits), state(database, serves)) == ("active", "retired")
        assert last_line(database) == ("adapter.promoted", "local:ines", waits)

    async def test_no_and_escape_change_nothing(self, database: Database, measured: tuple[str, str]) -> None:
        app = console("adapters")
        async with app.run_test() as pilot:
            await settled(pilot)
            app.screen.query_one(LiveTable).select(measured[1])
            await press(pilot, "p", "n", "p", "escape", "x", "escape", "b", "escape", "t", "escape")
        assert (state(database, measured[1]), state(database, measured[0])) == ("candidate", "active")

    async def test_worse_candidate_wants_a_typed_reason(self, database: Database) -> None:
        waits = making.candidate(database, seed=2)
        making.gate(database, waits, "worse")
        app = console("adapters")
        async with app.run_test(size=(120, 40)) as pilot:
            await settled(pilot)
            await press(pilot, "p", "enter")
            assert isinstance(app.screen, Promotion)
            assert "A reason is needed" in screen_text(app)
            await write(pilot, "the references are stale")
            await press(pilot, "enter")
        assert state(database, waits.id) == "active"
        assert show(database, limit=1).lines[0].details["reason"] == "the references are stale"

    async def test_roll_back_rejects_and_goes_back(self, database: Database, measured: tuple[str, str]) -> None:
        serves, waits = measured
        promote(database, database.home, LearningSettings(), adapter_id=waits, by="local:ana")
        app = console("adapters")
        async with app.run_test(size=(120, 40)) as pilot:
            await settled(pilot)
            app.screen.query_one(LiveTable).select(waits)
            await press(pilot, "b")
            assert isinstance(app.screen, Confirm)
            assert f"{serves} serves then" in " ".join(screen_text(app).split())
            await write(pilot, "worse in practice")
            await press(pilot, "enter")
        assert (state(database, waits), state(database, serves)) == ("rejected", "active")
        assert last_line(database)[0] == "adapter.rolled_back"

    async def test_reject_and_retire_take_candidates_out(self, database: Database) -> None:
        one, other = making.candidate(database, seed=1), making.candidate(database, seed=2)
        app = console("adapters")
        async with app.run_test() as pilot:
            await settled(pilot)
            app.screen.query_one(LiveTable).select(one.id)
            await press(pilot, "x")
            await write(pilot, "drops names")
            await press(pilot, "enter")
            app.screen.query_one(LiveTable).select(other.id)
            await press(pilot, "t", "enter")
        assert (state(database, one.id), state(database, other.id)) == ("rejected", "retired")

    async def test_second_administrator_confirms_under_the_two_person_setting(
        self, database: Database, measured: tuple[str, str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PROMOTION_TWO_PERSON", "true")
        waits = measured[1]
        for person, after in (("local:ana", "candidate"), ("local:ana", "candidate"), ("local:ben", "active")):
            app = console("adapters", by=person)
            async with app.run_test(size=(120, 40)) as pilot:
                await settled(pilot)
                app.screen.query_one(LiveTable).select(waits)
                await press(pilot, "p", "y")
            assert state(database, waits) == after

    async def test_two_who_promote_at_once_are_told_and_nothing_is_overwritten(
        self, database: Database, measured: tuple[str, str]
    ) -> None:
        serves, waits = measured
        third = making.candidate(database, seed=3)
        making.gate(database, third, "better", against=serves)
        app = console("adapters")
        async with app.run_test(size=(120, 40)) as pilot:
            await settled(pilot)
            app.screen.query_one(LiveTable).select(waits)
            await press(pilot, "p")
            promote(database, database.home, LearningSettings(), adapter_id=third.id, by="local:jonas")
            await press(pilot, "y")
            assert any("Somebody was quicker" in told for told in said(app))
        assert (state(database, third.id), state(database, waits)) == ("active", "candidate")


async def test_keys_lead_to_the_run_and_to_the_comparison(seeded: Database) -> None:
    app = console("adapters")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "o")
        assert app.current_mode == "runs"
        assert app.screen.query_one(LiveTable).current == "20260503-023000-3p8xd9"
        await press(pilot, "o")
        assert app.current_mode == "adapters"
        assert app.screen.query_one(LiveTable).current == CANDIDATE


async def test_measuring_asks_first_and_its_gate_is_in_the_details(
    seeded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go = list[str](), threading.Event()

    def measure(_: object, adapter: str) -> None:
        asked.append(adapter)
        assert go.wait(20)
        with seeded.read() as session:
            row = find(session, adapter)
        making.gate(seeded, row, "worse", against=ACTIVE)

    monkeypatch.setattr("admin.console.store.Store.evaluate", measure)
    app = console("adapters")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app.screen.query_one(LiveTable).select(CANDIDATE)
        await press(pilot, "e", "n", "e")
        assert isinstance(app.screen, Confirm)
        assert not asked
        await pilot.press("y")
        await until(pilot, lambda: "It is being measured" in screen_text(app), "it is told")
        await pilot.press("e")
        await until(pilot, lambda: f"{CANDIDATE} is being measured." in said(app), "no second one is begun")
        go.set()
        await settled(pilot)
        assert f"worse than {ACTIVE[:10]}" in screen_text(app)
    assert asked == [CANDIDATE]


async def test_measuring_that_comes_to_nothing_is_told_in_the_words_of_the_command(
    seeded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_MODEL", "/nowhere/at/all")
    app = console("adapters")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "e", "y")
        assert f"{app.screen.query_one(LiveTable).current} was not measured." in said(app)[-1]
        assert "Traceback" not in said(app)[-1]
