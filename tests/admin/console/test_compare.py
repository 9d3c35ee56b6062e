"""Compare: three systems write side by side on an engine that serves over HTTP; differences, flags, and blind votes."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from admin.console.screens.compare import CompareScreen
from admin.console.widgets.dialogs import Write
from admin.console.widgets.table import LiveTable
from engine.records import store_conversation
from storage.console_queries import votes
from storage.database import Database
from tests.admin.console.piloting import console, press, said, screen_text, settled, until, write
from tests.admin.console.seeding import ACTIVE, BEFORE, CANDIDATE, NOW, talk
from tests.admin.console.serving import by_adapter, engine
from tests.engine.fake_model import FakeModel


@pytest.fixture
def model() -> FakeModel:
    return FakeModel(write=by_adapter)


async def test_three_systems_write_side_by_side_and_what_the_conversation_lacks_is_flagged(
    seeded: Database, model: FakeModel
) -> None:
    app = console("compare")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "enter")
        text = screen_text(app)
        assert "A  base" in text
        assert f"B  active {ACTIVE[:10]}" in text
        assert f"C  candidate {CANDIDATE[:10]}" in text
        assert "not in the conversation: 99:99, Ulm" in text
        assert "of the words of what serves are changed" in text


async def test_sentences_are_shown_while_the_engine_still_writes(seeded: Database, model: FakeModel) -> None:
    app = console("compare")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        model.gate.clear()
        await pilot.press("enter")
        await until(pilot, lambda: "waiting" in screen_text(app) or "ahead" in screen_text(app), "it is being written")
        await pilot.press("x")
        await settled(pilot)
        assert screen_text(app).count("Stopped.") == 3


async def test_blind_votes_hide_which_is_which_until_they_are_given_and_are_kept(
    seeded: Database, model: FakeModel
) -> None:
    app = console("compare", by="local:ana")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "B", "b")
        assert "Vote once all of them have written" in said(app)[-1]
        await press(pilot, "enter")
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        text = screen_text(app)
        assert all(f"{letter}  ?" in text for letter in "ABC")
        assert "candidate " not in text
        best = "abc"[[one.system.adapter for one in screen._columns].index(CANDIDATE)]
        await press(pilot, best)
        assert f"candidate {CANDIDATE[:10]}" in screen_text(app)
        await press(pilot, "a")
        assert "You have voted on these" in said(app)[-1]
        assert f"{CANDIDATE[:10]} 1 of 1 (1 blind)" in screen_text(app)
    with seeded.read() as session:
        (kept,) = votes(session=session)
    assert (kept.preferred, kept.blind, set(kept.systems)) == (CANDIDATE, True, {"base", ACTIVE, CANDIDATE})


async def test_pasted_text_and_held_out_conversations_are_compared_too(seeded: Database, model: FakeModel) -> None:
    app = console("compare")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "p")
        assert isinstance(app.screen, Write)
        await write(pilot, "Imke: The pump is loud.\nTariq: I will look at it.")
        await press(pilot, "ctrl+s", "enter")
        assert "Imke: The pump is loud." in screen_text(app)
        assert "B  active" in screen_text(app)
        await press(pilot, "h")
        assert "held out" in screen_text(app)
        table = app.screen.query_one(LiveTable)
        table.select(next(key for key in table.keys if key.startswith("file-")))
        await settled(pilot)
        await press(pilot, "enter")
        assert "The export job stopped" in screen_text(app)


async def test_adapter_that_was_asked_for_is_compared(seeded: Database, model: FakeModel) -> None:
    app = console("adapters")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "c")
        assert app.current_mode == "compare"
        await press(pilot, "enter")
        assert f"candidate {CANDIDATE[:10]}" in screen_text(app)


async def test_vote_that_is_pressed_twice_counts_once(seeded: Database, model: FakeModel) -> None:
    app = console("compare")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "enter")
        await pilot.press("a", "a", "b")
        await settled(pilot)
    with seeded.read() as session:
        assert len(votes(session=session)) == 1


async def test_every_conversation_can_be_reached_and_gone_to(seeded: Database) -> None:
    with seeded.write() as session:
        for number in range(130):
            store_conversation(session, replace(talk(1), id=f"slack:T1/C2/more-{number}"), now=NOW - timedelta(days=90))
    app = console("compare")
    async with app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        assert len(table.keys) == 100
        await press(pilot, "G")
        assert len(table.keys) == 154
        app.open_at("compare", table.keys[-1])
        await settled(pilot)
        assert table.current == table.keys[-1]
    again = console("compare")
    async with again.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        again.open_at("compare", "slack:T1/C2/more-129")
        await settled(pilot)
        assert again.screen.query_one(LiveTable).current == "slack:T1/C2/more-129"


async def test_adapter_that_was_chosen_is_told_and_let_go_of(seeded: Database) -> None:
    app = console("compare")
    async with app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        app.open_at("compare", BEFORE)
        await settled(pilot)
        assert f"with {BEFORE[:10]}" in screen_text(app)
        await press(pilot, "escape")
        assert f"with {BEFORE[:10]}" not in screen_text(app)


async def test_word_differences_come_and_go_with_a_key(seeded: Database, model: FakeModel) -> None:
    app = console("compare")
    async with engine(seeded, model), app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "enter")
        assert "of the words of what serves are changed" in screen_text(app)
        await press(pilot, "d")
        assert "of the words of what serves are changed" not in screen_text(app)


async def test_pasted_text_that_is_none_stays_in_its_form(seeded: Database) -> None:
    app = console("compare")
    async with app.run_test(size=(160, 40)) as pilot:
        await settled(pilot)
        await press(pilot, "p")
        await write(pilot, "no lines with names")
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Write)
        assert "no lines with names" in screen_text(app)
        assert "✕" in screen_text(app)
