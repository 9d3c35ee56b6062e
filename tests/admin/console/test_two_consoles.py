"""Two consoles on one database: what one does the other shows within two seconds, and its place on the screen stays."""

from __future__ import annotations

import time

from admin.console.widgets.table import LiveTable
from storage.database import Database
from tests.admin.console.piloting import console, press, settled, until
from tests.admin.console.seeding import pair


async def test_what_one_console_decides_the_other_shows_within_two_seconds(seeded: Database) -> None:
    one, other = console("corrections", by="local:ana"), console("corrections", by="local:ben", pulse=True)
    async with one.run_test() as first, other.run_test() as second:
        await settled(first)
        await until(second, lambda: len(other.screen.query_one(LiveTable).keys) == 14, "the queue is there")
        table = other.screen.query_one(LiveTable)
        gone = table.keys[0]
        await press(first, "a")
        began = time.monotonic()
        await until(second, lambda: gone not in table.keys, "the other console shows it")
        assert time.monotonic() - began < 2.0


async def test_selection_and_scroll_position_stay_where_they_were(seeded: Database) -> None:
    with seeded.write() as session:
        session.add_all(pair(number) for number in range(200, 300))
    app = console("corrections")
    async with app.run_test() as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        table.select(table.keys[60])
        await settled(pilot)
        on, line = table.current, table.cursor_row - round(table.scroll_y)
        with seeded.write() as session:
            session.add_all(pair(number, created_at=pair(0).created_at) for number in range(300, 307))
        app.changed()
        await settled(pilot)
        assert (table.current, table.cursor_row) == (on, 67)
        assert table.cursor_row - round(table.scroll_y) == line


async def test_pair_under_the_cursor_that_another_console_decides_on_gives_way_to_the_next(seeded: Database) -> None:
    one, other = console("corrections", by="local:ana"), console("corrections", by="local:ben")
    async with one.run_test() as first, other.run_test() as second:
        await settled(first)
        await settled(second)
        table = other.screen.query_one(LiveTable)
        here, following = table.keys[:2]
        await press(first, "a")
        other.changed()
        await settled(second)
        assert here not in table.keys
        assert table.current == following
