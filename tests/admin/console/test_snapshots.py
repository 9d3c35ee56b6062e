"""How every screen looks, on a small terminal and on a large one; `pytest --snapshot-update` accepts a new look."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from admin.console.widgets.names import SCREENS
from storage.database import Database
from tests.admin.console.piloting import console, press, settled

SIZES = [(80, 24), (200, 60)]
#: Keys that bring a screen to where it has something to show.
KEYS = {"conversations": ["down", "v"]}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", [name.key for name in SCREENS])
def test_screen_looks_as_it_did(
    name: str, size: tuple[int, int], seeded: Database, snap_compare: Callable[..., bool], same_words: None
) -> None:
    async def ready(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await press(pilot, *KEYS.get(name, []))

    assert snap_compare(console(name), terminal_size=size, run_before=ready)


@pytest.mark.parametrize("theme", ["redraft-light", "ansi-dark"])
def test_review_queue_looks_as_it_did_in_other_colours(
    theme: str, seeded: Database, snap_compare: Callable[..., bool]
) -> None:
    assert snap_compare(console("corrections", theme=theme), terminal_size=(80, 24), run_before=settled)


def test_question_before_a_promotion_looks_as_it_did(seeded: Database, snap_compare: Callable[..., bool]) -> None:
    async def asked(pilot: Pilot[Any]) -> None:
        await settled(pilot)
        await press(pilot, "p")

    assert snap_compare(console("adapters"), terminal_size=(120, 40), run_before=asked)
