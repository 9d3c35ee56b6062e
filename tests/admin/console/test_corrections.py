"""The review queue: approving, rejecting, editing, undoing, filters, and many at once, against the real rules."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from textual.widgets import TextArea

from admin.console.screens.corrections import CorrectionsScreen
from admin.console.widgets.dialogs import Confirm, Form, Write
from admin.console.widgets.table import LiveTable
from engine.learning import pairs
from engine.learning.ledger_check import show
from storage.console_queries import waiting_pairs
from storage.database import Database
from storage.pair_filters import PairFilter
from storage.pair_queries import get_pair, pair_page
from tests.admin.console.piloting import console, press, said, screen_text, settled, write
from tests.admin.console.seeding import MARIA, pair


def row(database: Database, pair_id: str):  # type: ignore[no-untyped-def]
    with database.read() as session:
        found = get_pair(session=session, pair_id=pair_id)
    assert found is not None
    return found


def waiting(database: Database) -> int:
    with database.read() as session:
        return waiting_pairs(session=session)


async def test_conversation_and_word_differences_are_side_by_side(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        text = screen_text(app)
        assert "I moved the old exports to the archive" in text
        assert "of the draft's words changed" in text


async def test_a_pair_is_two_keystrokes_and_the_next_one_is_there(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        first, second, third = table.keys[:3]
        await pilot.press("a")
        assert table.current == second
        await press(pilot, "x", "2")
        assert table.current == third
    assert (row(seeded, first).state, row(seeded, first).decided_by) == ("approved", MARIA)
    assert (row(seeded, second).state, row(seeded, second).reject_reason) == ("rejected", "Leaves the point out")


async def test_fast_keys_decide_each_pair_once_and_in_order(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        keys = app.screen.query_one(LiveTable).keys
        await pilot.press("a", "a", "a")
        await settled(pilot)
    assert [row(seeded, key).state for key in keys[:4]] == ["approved", "approved", "approved", "pending"]
    assert [line.subject for line in show(seeded, actions=["pair"], limit=3).lines] == keys[2::-1]


async def test_undo_takes_the_decisions_back_one_by_one(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first, second = app.screen.query_one(LiveTable).keys[:2]
        await press(pilot, "a", "a", "u")
        assert [row(seeded, key).state for key in (first, second)] == ["approved", "pending"]
        assert app.screen.query_one(LiveTable).current == second
        await press(pilot, "u", "u")
        assert row(seeded, first).state == "pending"
        assert said(app)[-1] == "There is nothing to take back."


async def test_undo_leaves_alone_what_a_colleague_has_decided_since(seeded: Database) -> None:
    app = console("corrections", by="local:ana")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "a")
        pairs.reopen(seeded, pair_id=first, by="local:ben")
        pairs.reject(seeded, pair_ids=[first], by="local:ben", reason="It names a customer.")
        await press(pilot, "u")
        assert "changed" in said(app)[-1]
    assert (row(seeded, first).state, row(seeded, first).decided_by) == ("rejected", "local:ben")


async def test_rejecting_wants_a_reason(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "x", "enter")
        assert isinstance(app.screen, Confirm)
        await write(pilot, "no names")
        await press(pilot, "enter")
    assert row(seeded, first).reject_reason == "no names"


async def test_edit_makes_a_pair_of_ones_own_that_waits(seeded: Database) -> None:
    app = console("corrections", by="local:jonas")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "e")
        assert isinstance(app.screen, Write)
        await write(pilot, " Ask Ana on Monday.")
        await press(pilot, "ctrl+s")
        new = app.screen.query_one(LiveTable).current
    made = row(seeded, new)
    assert made.summary.endswith("today. Ask Ana on Monday.")
    assert (made.supersedes, made.editor_id, made.state) == (first, "local:jonas", "pending")


async def test_pair_that_changed_since_it_was_shown_is_not_decided(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        pairs.reject(seeded, pair_ids=[first], by="local:jonas", reason="not ours")
        await press(pilot, "a")
        assert any("has changed since you saw it" in told and "local:jonas" in told for told in said(app))
    assert row(seeded, first).state == "rejected"


async def test_private_pair_is_covered_until_it_is_opened_and_the_ledger_keeps_that(seeded: Database) -> None:
    private = f"{7:08x}{'a1' * 12}"
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app.screen.query_one(LiveTable).select(private)
        await settled(pilot)
        text = screen_text(app)
        assert "A private conversation" in text
        assert "Who takes the support shift" not in text
        await press(pilot, "a")
        assert row(seeded, private).state == "pending"
        await press(pilot, "enter")
        assert "Who takes the support shift" in screen_text(app)
    line = show(seeded, limit=1).lines[0]
    assert (line.action, line.person) == ("conversation.opened", MARIA)


async def test_filter_and_order_choose_what_is_shown(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        screen = app.screen
        assert isinstance(screen, CorrectionsScreen)
        await press(pilot, "f", "tab", "tab", "tab", "tab", "tab")
        await write(pilot, "blind")
        await press(pilot, "enter")
        assert {row(seeded, key).origin for key in table.keys} == {"blind"}
        await press(pilot, "escape", "s", "down", "enter")
        assert table.keys[0] == f"{13:08x}{'a1' * 12}"
        await press(pilot, "f")
        await pilot.press("ctrl+u")
        await write(pilot, "nonsense")
        await press(pilot, "enter")
        assert isinstance(app.screen, Form)
        assert "is no state of a pair" in screen_text(app)
        assert "nonsense" in screen_text(app)


async def test_words_find_pairs_but_not_in_private_conversations(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        await press(pilot, "f", "tab", "tab", "tab", "tab", "tab", "tab")
        await write(pilot, "SUPPORT shift")
        await press(pilot, "enter")
        found = [row(seeded, key) for key in table.keys]
        assert found
        assert all(one.public and "support shift" in one.dialogue for one in found)


async def test_all_that_the_filter_leaves_are_decided_after_their_number_was_told(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "A")
        assert isinstance(app.screen, Confirm)
        assert "Approve 14 pairs" in screen_text(app)
        await press(pilot, "y")
        assert said(app)[-1] == "Approved 14 pairs."
        assert "Nothing waits for a decision" in screen_text(app)
    assert waiting(seeded) == 0
    line = show(seeded, limit=1).lines[0]
    assert (line.action, line.details["count"]) == ("pairs.approved", 14)


async def test_many_are_not_decided_when_they_are_others_than_were_counted(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "A")
        pairs.approve(seeded, pair_ids=[first], by="local:jonas", administrator=True)
        await press(pilot, "y")
        assert "They were 14 when you were asked, and are 13 now" in said(app)[-1]
    assert waiting(seeded) == 13


async def test_many_are_not_decided_when_as_many_others_wait(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "A")
        pairs.approve(seeded, pair_ids=[first], by="local:jonas", administrator=True)
        with seeded.write() as session:
            session.add(pair(950))
        await press(pilot, "y")
        assert "are others, though as many, now" in said(app)[-1]
    assert waiting(seeded) == 14


async def test_many_are_not_decided_on_while_what_is_shown_does_not_wait(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        await press(pilot, "f")
        await pilot.press("ctrl+u")
        await write(pilot, "approved")
        await press(pilot, "enter", "A")
        assert not app.screen.is_modal
        assert "These are approved: only what waits is decided on" in said(app)[-1]
    assert waiting(seeded) == 14


async def test_of_an_edited_pair_the_last_version_waits_and_leads_to_the_one_before(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "e")
        await write(pilot, " Ask Ana on Monday.")
        await press(pilot, "ctrl+s")
        table = app.screen.query_one(LiveTable)
        made = table.current
        assert first not in table.keys
        assert len(table.keys) == 14
        assert f"replaces  {first[:12]}" in screen_text(app)
        await press(pilot, "o")
        assert table.keys == [first]
        await press(pilot, "escape")
        table.select(made)
        await settled(pilot)
        await press(pilot, "a")
        assert not {first, made} & set(table.keys)
    assert (row(seeded, first).superseded_by, waiting(seeded)) == (made, 13)


async def test_edit_that_is_refused_stays_in_its_form_and_holds_once_more(seeded: Database) -> None:
    app = console("corrections", by="local:jonas")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "e")
        await write(pilot, " Ask Ana on Monday.")
        pairs.reject(seeded, pair_ids=[first], by="local:ana", reason="not ours")
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Write)
        told = " ".join(screen_text(app).replace("│", " ").split())
        assert "has changed since you saw it: it is now rejected by local:ana" in told
        assert app.screen.query_one(TextArea).text.endswith("Ask Ana on Monday.")
        await press(pilot, "ctrl+s")
        assert not app.screen.is_modal
        assert app.screen.query_one(LiveTable).current != first
    with seeded.read() as session:
        (made,) = pair_page(session=session, wanted=PairFilter(), order="newest", limit=1)
    assert made.editor_id == "local:jonas"


async def test_undo_takes_back_the_decision_that_is_still_being_written(
    seeded: Database, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_WAIT_SECONDS", "20")
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first, second = app.screen.query_one(LiveTable).keys[:2]
        await press(pilot, "a")
        with closing(sqlite3.connect(own_home / "redraft.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await pilot.press("a", "u")
            other.execute("ROLLBACK")
        await settled(pilot)
        assert said(app)[-1] == f"{second[:12]} waits for a decision again."
    assert [row(seeded, key).state for key in (first, second)] == ["approved", "pending"]


async def test_undo_that_a_locked_database_refused_may_be_tried_again(
    seeded: Database, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_WAIT_SECONDS", "0.2")
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        first = app.screen.query_one(LiveTable).current
        await press(pilot, "a")
        with closing(sqlite3.connect(own_home / "redraft.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await press(pilot, "u")
            assert "too long" in said(app)[-1]
            other.execute("ROLLBACK")
        await press(pilot, "u")
    assert row(seeded, first).state == "pending"


async def test_skip_decides_nothing_and_reject_all_wants_a_reason(seeded: Database) -> None:
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        second = table.keys[1]
        await press(pilot, "space")
        assert table.current == second
        assert waiting(seeded) == 14
        await press(pilot, "X", "enter")
        assert "A reason is needed" in screen_text(app)
        await write(pilot, "written in a hurry")
        await press(pilot, "enter")
        assert said(app)[-1] == "Rejected 14 pairs."
    line = show(seeded, limit=1).lines[0]
    assert (line.action, line.person, line.details["reason"]) == ("pairs.rejected", MARIA, "written in a hurry")
