"""What people wrote is shown as text: no markup, no escape that the terminal obeys, and not so much that keys wait."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from admin.console import words
from admin.console.widgets.diff import MOST_LINES, between, dialogue
from admin.console.widgets.plot import Series, bars, curves
from admin.console.widgets.table import LiveTable
from engine.conversation import Message
from engine.learning.differences import pieces
from engine.records import store_conversation
from storage.database import Database
from tests.admin.console.piloting import console, press, screen_text, settled, write
from tests.admin.console.seeding import NOW, pair, talk

EVIL = "[bold red]x[/] [/nothing] [@click=app.quit]\x1b]0;owned\x07\x1b[31m\u202egnp.exe \ud83d\x00 ｗｉｄｅ 🇫🇷👩‍👩‍👧"


@pytest.mark.parametrize("screen", ["corrections", "conversations", "compare"])
async def test_hostile_text_is_shown_as_text(screen: str, seeded: Database) -> None:
    made = talk(0)
    evil = replace(
        made, id="slack:T1/C1/evil", title=EVIL,
        messages=tuple(Message(f"e{at}", EVIL, EVIL, NOW, "slack:U9") for at in range(3)),
    )  # fmt: skip
    with seeded.write() as session:
        store_conversation(session, evil, now=NOW)
        session.add(pair(900, dialogue=f"{EVIL}: {EVIL}", summary=EVIL, author=EVIL, created_at=NOW, source=EVIL))
    app = console(screen)
    async with app.run_test(size=(160, 50)) as pilot:
        await settled(pilot)
        table = app.screen.query_one(LiveTable)
        table.select("slack:T1/C1/evil")
        await settled(pilot)
        if screen == "corrections":
            await press(pilot, "e", "escape", "f")
            await write(pilot, "pending")
            await press(pilot, "escape")
        if screen == "conversations":
            await press(pilot, "w", "escape", "slash")
            await write(pilot, EVIL)
            await press(pilot, "enter")
        text = screen_text(app)
    assert "[bold red]x" in text
    assert "\x1b" not in text
    assert "\u202e" not in text


async def test_conversation_of_ten_thousand_messages_does_not_keep_a_key_waiting(seeded: Database) -> None:
    told = "\n".join(f"Ana: line {number} of a very long conversation" for number in range(10_000))
    with seeded.write() as session:
        session.add(pair(901, dialogue=told, created_at=NOW))
    app = console("corrections")
    async with app.run_test(size=(160, 50)) as pilot:
        await settled(pilot)
        assert "line 3 of a very long" in screen_text(app)
        began = time.process_time()
        await pilot.press("down")
        assert time.process_time() - began < 0.5
    assert dialogue(told).plain.endswith(f"… and {10_000 - MOST_LINES:,} more lines")


@given(old=st.text(max_size=80), new=st.text(max_size=80))
def test_differences_hold_every_word_of_both_texts(old: str, new: str) -> None:
    plain, _ = between(old, new, brackets=True)
    shown = "".join(plain.plain.split())
    assert all(words.line_of(piece).replace(" ", "") in shown for piece in pieces(new) if len(piece) < 40)


@given(
    points=st.lists(st.tuples(st.integers(0, 10_000), st.floats(-1e9, 1e9)), max_size=60),
    width=st.integers(0, 120),
    height=st.integers(0, 40),
)
def test_plots_fit_their_place_whatever_the_figures(points: list[tuple[float, float]], width: int, height: int) -> None:
    series = (Series("one", sorted(points)), Series("two", sorted(points), "red", "◆", marked=True))
    lines = curves(series, width, height, form=".2e").plain.split("\n")
    if points and width >= 16 and height >= 4:
        assert len(lines) == height
        assert all(len(line) <= max(width, 40) for line in lines)


@given(values=st.lists(st.floats(0, 1e6), max_size=60), width=st.integers(1, 100), height=st.integers(1, 20))
def test_bars_fit_their_place_and_every_value_above_nothing_is_seen(
    values: list[float], width: int, height: int
) -> None:
    lines = bars(values, width, height).plain.split("\n")
    assert len(lines) == height


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "5 s"), (300, "5 min"), (7200, "2 h"), (900_000, "10 d"), (-7200, "in 2 h")]
)
def test_times_are_told_in_one_unit(seconds: int, told: str) -> None:
    from datetime import timedelta

    assert words.ago(NOW - timedelta(seconds=seconds), NOW) == told


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=400), limit=st.integers(2, 60))
def test_lines_are_one_line_and_no_longer_than_asked(text: str, limit: int) -> None:
    line = words.line_of(text, limit)
    assert len(line) <= limit
    assert "\n" not in line
    assert "\x1b" not in line


async def test_differences_stand_in_brackets_where_no_colour_is_wanted(
    seeded: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = console("corrections")
    async with app.run_test(size=(120, 40)) as pilot:
        await settled(pilot)
        text = screen_text(app)
        assert "[-Export-]{+export+}" in text.replace(" ", "")
