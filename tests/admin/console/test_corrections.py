"""The review queue: approving, rejecting, editing, undoing, filters, and many at once, against the real rules."""

from __future__ import annotations

from admin.console.screens.corrections import CorrectionsScreen
from admin.console.widgets.dialogs import Confirm, Write
from admin.console.widgets.table import LiveTable
from engine.learning import pairs
from engine.learning.ledger_check import show
from storage.console_queries import waiting_pairs
from storage.database import Database
from storage.pair_queries import get_pair
from tests.admin.console.piloting import console, press, said, screen_text, settled, write
from tests.admin.console.seeding import MARIA


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
        assert "is no state of a pair" in said(app)[-1]


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
