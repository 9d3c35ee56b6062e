"""A console that only reads: no key changes anything, and none that would is in the footer."""

from __future__ import annotations

import pytest
from textual.binding import Binding
from textual.widgets._footer import FooterKey

from admin.console.data import adapters, conversations, corrections, runs
from admin.console.screens.base import ConsoleScreen
from admin.console.screens.schedule import change, shown
from admin.console.store import Store
from admin.console.widgets.names import SCREENS
from engine.learning.ledger_check import show
from storage.change_queries import close_channel
from storage.console_queries import waiting_pairs
from storage.database import Database
from storage.errors import NotPermitted
from tests.admin.console.piloting import console, press, screen_text, settled


@pytest.mark.parametrize("name", [name.key for name in SCREENS])
async def test_no_key_changes_anything(name: str, seeded: Database) -> None:
    before = show(seeded, limit=1).lines[0].seq
    app = console(name, read_only=True)
    async with app.run_test() as pilot:
        await settled(pilot)
        assert "only reading" in screen_text(app)
        screen = app.screen
        assert isinstance(screen, ConsoleScreen)
        named = {binding.action: binding.key for binding in screen.BINDINGS if isinstance(binding, Binding)}
        assert {action.partition("(")[0] for action in named} >= screen.CHANGES
        footer = {key.action for key in screen.query(FooterKey)}
        assert not footer & screen.CHANGES
        for action in sorted(screen.CHANGES):
            keys = [key for name, key in named.items() if name.partition("(")[0] == action]
            await press(pilot, *keys)
            assert not app.screen.is_modal
    assert show(seeded, limit=1).lines[0].seq == before
    with seeded.read() as session:
        assert waiting_pairs(session=session) == 14


@pytest.mark.parametrize("name", ["corrections", "conversations", "compare"])
async def test_what_turned_private_behind_its_back_is_not_opened_by_a_console_that_only_reads(
    name: str, seeded: Database
) -> None:
    before = show(seeded, limit=1).lines[0].seq
    app = console(name, read_only=True)
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        with seeded.write() as session:
            for channel in ("C1", "C2", "C3"):
                close_channel(session=session, platform="slack", channel=channel)
        for _ in range(6):
            await press(pilot, "down")
        await press(pilot, "enter")
        if name != "compare":
            assert "rivate" in screen_text(app)
    assert show(seeded, limit=1).lines[0].seq == before


def test_calls_behind_the_keys_refuse_too(seeded: Database) -> None:
    store = Store(by="local:ana", read_only=True)
    pair = corrections.open_pair(
        store, corrections.queue(store, corrections.Asked(corrections.PairFilter())).lines[0].id
    )
    listed = adapters.adapters(store).rows
    calls = (
        lambda: corrections.approve(store, pair),
        lambda: corrections.reject(store, pair, "no"),
        lambda: corrections.reopen(store, pair.pair.id),
        lambda: corrections.open_pair(store, pair.pair.id, asked=True),
        lambda: adapters.remove(store, "retire", listed[0], ""),
        lambda: runs.start(store, "default"),
        lambda: runs.stop(store, "x"),
        lambda: conversations.forget(store, conversations.preview(store, "x")),
        lambda: conversations.open_one(store, "x", asked=True),
        lambda: change(store, shown(store).plan, paused=True),
    )
    for call in calls:
        with pytest.raises(NotPermitted):
            call()
    store.close()
