"""Conversations: searching, opening what is private, writing by hand, and forgetting, against the real rules."""

from __future__ import annotations

from dataclasses import replace

from textual.widgets import Input, TextArea

from admin.console.widgets.dialogs import Confirm, Write
from admin.console.widgets.table import LiveTable
from engine.learning.ledger_check import show
from engine.learning.pairs import list_pairs
from engine.records import store_conversation
from storage.change_queries import close_channel
from storage.database import Database
from storage.pair_filters import PairFilter
from storage.pair_queries import get_pair
from tests.admin.console.piloting import console, press, said, screen_text, settled, until, write
from tests.admin.console.seeding import MARIA, NOW, talk

_PRIVATE = "slack:T1/C9/7.0"
#: No correction of it was made from a draft.
_BLIND_SO_FAR = "slack:T1/C1/3.0"


def last(database: Database) -> tuple[str, str, str]:
    line = show(database, limit=1).lines[0]
    return line.action, line.person, line.subject


async def test_search_finds_words_of_public_ones_and_titles_of_all(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        await press(pilot, "slash")
        assert isinstance(app.screen.focused, Input)
        await write(pilot, "invoice corrected")
        await press(pilot, "enter")
        assert table.keys
        assert "Lyon says their invoice" in screen_text(app)
        await press(pilot, "escape", "slash")
        await write(pilot, "board")
        await press(pilot, "enter")
        assert len(table.keys) == 3
        assert _PRIVATE in table.keys


async def test_private_one_is_covered_and_its_opening_a_line_of_the_ledger(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app.screen.query_one(LiveTable).select(_PRIVATE)
        await settled(pilot)
        assert "Who takes the support shift" not in screen_text(app)
        await press(pilot, "enter")
        assert "Who takes the support shift" in screen_text(app)
    assert last(seeded) == ("conversation.opened", MARIA, _PRIVATE)


async def test_summary_by_hand_is_blind_until_the_models_was_shown_on_whatever_console(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        app.screen.query_one(LiveTable).select(_BLIND_SO_FAR)
        await until(pilot, lambda: f" {_BLIND_SO_FAR}" in screen_text(app), "the conversation is shown")
        await press(pilot, "w")
        assert "A blind summary of" in screen_text(app)
        await write(pilot, "Two people share the shift; the calendar has it.")
        await press(pilot, "ctrl+s")
        assert "Kept as a blind pair (pending" in said(app)[-1]
        await press(pilot, "v")
        assert "The support shift on Thursday was discussed." in " ".join(screen_text(app).split())
    assert last(seeded) == ("summaries.shown", MARIA, _BLIND_SO_FAR)
    again = console("conversations")
    async with again.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        again.screen.query_one(LiveTable).select(_BLIND_SO_FAR)
        await until(pilot, lambda: f" {_BLIND_SO_FAR}" in screen_text(again), "the conversation is shown")
        await press(pilot, "w")
        assert "So yours counts as an edit" in " ".join(screen_text(again).replace("│", " ").split())
        await write(pilot, "Ana does Thursday early, Tomas does it late.")
        await press(pilot, "ctrl+s")
        assert "Kept as an edit (pending" in said(again)[-1]
    with seeded.read() as session:
        lines = list_pairs(session, PairFilter(author_id=MARIA))
        made = [get_pair(session=session, pair_id=line.id) for line in lines]
    told = {(one.origin, one.conversation_id, one.seen_draft) for one in made if one}
    assert told == {("blind", _BLIND_SO_FAR, False), ("edited", _BLIND_SO_FAR, True)}


async def test_forgetting_says_what_goes_and_takes_it(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        key = table.current
        await press(pilot, "D")
        assert isinstance(app.screen, Confirm)
        assert "4 messages" in screen_text(app)
        await press(pilot, "n")
        assert key in table.keys
        await press(pilot, "D", "y")
        assert key not in table.keys
        assert "Erased: " in said(app)[-1]


async def test_channel_that_turns_private_is_covered_in_an_open_console(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        key = app.screen.query_one(LiveTable).current
        await until(pilot, lambda: "moved the old exports" in screen_text(app), "the conversation is shown")
        with seeded.write() as session:
            close_channel(session=session, platform="slack", channel=key.split("/")[1])
        app.changed()
        await settled(pilot)
        assert app.screen.query_one(LiveTable).current == key
        assert "moved the old exports" not in screen_text(app)
        assert "Private. Enter opens it" in screen_text(app)


async def test_what_has_turned_private_since_the_list_was_read_is_not_opened_by_moving_onto_it(
    seeded: Database,
) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        before = show(seeded, limit=1).lines[0].seq
        with seeded.write() as session:
            for channel in ("C1", "C2", "C3"):
                close_channel(session=session, platform="slack", channel=channel)
        await press(pilot, "down", "down")
        assert "Private. Enter opens it" in screen_text(app)
        assert show(seeded, limit=1).lines[0].seq == before


async def test_forgetting_takes_only_what_was_told(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        key = app.screen.query_one(LiveTable).current
        await press(pilot, "D")
        made = talk(0)
        assert made.id == key
        more = (*made.messages, replace(made.messages[0], id="0.9", text="One more thing."))
        with seeded.write() as session:
            store_conversation(session, replace(made, messages=more), now=NOW)
        await press(pilot, "y")
        assert "is not what you were told any more; nothing was erased" in said(app)[-1]
        assert key in app.screen.query_one(LiveTable).keys
        await press(pilot, "D")
        assert "5 messages" in screen_text(app)
        await press(pilot, "y")
        assert key not in app.screen.query_one(LiveTable).keys


async def test_summary_that_cannot_be_kept_stays_in_its_form(seeded: Database) -> None:
    app = console("conversations")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        await until(pilot, lambda: "moved the old exports" in screen_text(app), "the conversation is shown")
        await press(pilot, "w")
        await write(pilot, "?!")
        await press(pilot, "ctrl+s")
        assert isinstance(app.screen, Write)
        assert "There are no words in that text" in screen_text(app)
        assert app.screen.query_one(TextArea).text == "?!"
        await press(pilot, "escape")
        assert isinstance(app.screen, Write)
        assert "Escape again throws away" in screen_text(app)
        await press(pilot, "escape")
        assert not app.screen.is_modal
