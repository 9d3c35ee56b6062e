"""The console on 100,000 pairs and 500 adapters: time to the first paint, to open every screen, and of a key press.

Measured with Textual's Pilot in this process, on a terminal of 200 by 60 and one of 80 by 24. *First paint* is from
``App.run()`` to the first frame with the console's own head, in a process of its own with nothing imported before;
*opened* is from the key to the frame that has the screen's rows; *a key* is from a press of the down key to the frame
in which the cursor has moved, while the screen loads anew in the background. The baseline of the first paint is an
empty Textual application in the same run: what is above that is the console's own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish

PAIRS, ADAPTERS = 100_000, 500
SIZES = ((80, 24), (200, 60))
#: What is allowed, in milliseconds.
LIMITS = {"first_paint": 500.0, "open": 200.0, "key": 100.0}

_FIRST = """
import asyncio, sys, time
began = time.perf_counter()
{imports}
class Timed({base}):
    painted = 0.0
    def _display(self, screen, renderable):
        super()._display(screen, renderable)
        if not self.painted and renderable is not None and screen.is_mounted and {ready}:
            self.painted = time.perf_counter()
            self.call_later(self.exit)
app = Timed({arguments})
imported = time.perf_counter()
started = time.perf_counter()
app.run(headless=True, size=(80, 24))
print((app.painted - started) * 1000, (imported - began) * 1000)
"""
_EMPTY = {
    "imports": "from textual.app import App\nfrom textual.widgets import Footer, Static",
    "base": "App",
    "ready": "True",
    "arguments": "",
}
_CONSOLE = {
    "imports": "from admin.console.app import ConsoleApp\nfrom admin.console.store import Store\n"
    "from admin.console.widgets.header import Tabs",
    "base": "ConsoleApp",
    "ready": "any(tab.size.width for tab in screen.query(Tabs))",
    "arguments": "Store(by='local:bench')",
}


def fill(home: Path) -> None:
    """A seeded database with many pairs and adapters more."""
    from sqlalchemy import insert

    from storage.database import Database
    from storage.learning_tables import AdapterRow, PairRow
    from storage.settings import StorageSettings
    from tests.admin.console import seeding

    database = Database.open(StorageSettings(redraft_home=home))
    seeding.seed(database)
    made = [seeding.pair(number) for number in range(24)]
    with database.write() as session:
        for start in range(0, PAIRS, 2000):
            rows: list[dict[str, Any]] = []
            for number in range(start, start + 2000):
                row = made[number % 24].model_dump()
                row |= {
                    "id": f"{number:010x}{'b2' * 11}",
                    "content_hash": f"{number:064x}",
                    "author_id": f"slack:U{number % 211:03}",
                    "state": ("pending", "approved", "approved", "rejected")[number % 4],
                    "created_at": seeding.NOW - timedelta(seconds=97 * number),
                }
                rows.append(row)
            session.execute(insert(PairRow), rows)
        for number in range(ADAPTERS):
            session.add(
                AdapterRow(
                    id=f"a{number:020x}", scope=f"slack:T{number % 40}", state="retired", base_model="starter",
                    state_since=seeding.NOW, created_at=seeding.NOW - timedelta(hours=number), prompt_version="1",
                    run_id=f"r{number}", train_pairs=number, verdict="better",
                )
            )  # fmt: skip
    database.close()


def first_paint(code: dict[str, str], environment: dict[str, str]) -> tuple[float, float]:
    """Milliseconds from ``App.run()`` to the first frame, and of the imports before it."""
    done = subprocess.run(
        [sys.executable, "-c", _FIRST.format(**code)], env=environment, capture_output=True, text=True, check=True
    )
    painted, imported = done.stdout.split()[-2:]
    return float(painted), float(imported)


async def screens(size: tuple[int, int], rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds to open every screen, first and again, and of a key press on it; medians of the rounds."""
    from admin.console.widgets.names import SCREENS
    from admin.console.widgets.table import LiveTable
    from tests.admin.console.piloting import console, settled

    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        app, frames = _counting(console())
        async with app.run_test(size=size) as pilot:
            await settled(pilot)
            for turn in ("first", "again"):
                for name in SCREENS[::-1]:
                    gc.collect()
                    began = time.perf_counter()
                    app.action_open(name.key)
                    # The next turn of the loop that finds what was loaded on the screen, and the frame after it.
                    while not (app.current_mode == name.key and _filled(app)):
                        await asyncio.sleep(0.001)
                    shown = frames[0]
                    while frames[0] == shown and app.screen._repaint_required:
                        await asyncio.sleep(0.001)
                    found.setdefault(name.title, {}).setdefault(turn, []).append((time.perf_counter() - began) * 1000)
                    await settled(pilot)
                    if turn == "again" and len(app.screen.query(LiveTable)):
                        app.screen.query(LiveTable).first().focus()
                        await settled(pilot)
                        app.screen.reload()  # type: ignore[attr-defined]
                        key = await _presses(app, frames)
                        if key is not None:
                            found[name.title].setdefault("key", []).append(key)
                        await settled(pilot)
    return {
        name: {what: statistics.median(values) for what, values in measured.items()} for name, measured in found.items()
    }


def _counting(app: Any) -> tuple[Any, list[int]]:
    """The application, and how many frames it has drawn."""
    frames, display = [0], app._display

    def counted(*drawn: Any) -> None:
        display(*drawn)
        frames[0] += 1

    app._display = counted
    return app, frames


async def _presses(app: Any, frames: list[int]) -> float | None:
    """Median milliseconds from a down key to the frame with the cursor on the next row; None in a list of one."""
    from textual import events

    from admin.console.widgets.table import LiveTable

    table = app.screen.query(LiveTable).first()
    taken = []
    for _ in range(10):
        if table.cursor_row >= table.row_count - 1:
            break
        before, shown = table.cursor_row, frames[0]
        began = time.perf_counter()
        app.post_message(events.Key("down", None))
        while table.cursor_row == before or frames[0] == shown:
            await asyncio.sleep(0.0005)
        taken.append((time.perf_counter() - began) * 1000)
    return statistics.median(taken) if taken else None


def _filled(app: Any) -> bool:
    from admin.console.screens.base import ConsoleScreen

    screen = app.screen
    return isinstance(screen, ConsoleScreen) and screen.loaded and not screen._loading


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        began = time.perf_counter()
        fill(home)
        filled = time.perf_counter() - began
        environment = {**os.environ, "REDRAFT_HOME": str(home), "REDRAFT_ENV_FILE": os.devnull}
        os.environ.update(environment)
        paints: dict[str, list[tuple[float, float]]] = {"console": [], "empty": []}
        for turn in range(arguments.rounds + 1):
            for name, code in (("console", _CONSOLE), ("empty", _EMPTY)):
                taken = first_paint(code, environment)
                if turn:
                    paints[name].append(taken)
        measured = {f"{size[0]}x{size[1]}": asyncio.run(screens(size, arguments.rounds)) for size in SIZES}
    medians = {name: statistics.median(one for one, _ in taken) for name, taken in paints.items()}
    imports = {name: statistics.median(one for _, one in taken) for name, taken in paints.items()}
    worst = max(one[turn] for each in measured.values() for one in each.values() for turn in ("first", "again"))
    key = max(one["key"] for each in measured.values() for one in each.values() if "key" in one)
    tables = [
        Table(
            "First paint after App.run(), milliseconds",
            ("application", "imports before", "first paint"),
            [
                (
                    "the console",
                    f"{imports['console']:.0f}",
                    f"{medians['console']:.0f} (allowed {LIMITS['first_paint']:.0f})",
                ),
                ("an empty Textual application", f"{imports['empty']:.0f}", f"{medians['empty']:.0f}"),
            ],
        ),
        Table(
            f"Screens on {PAIRS:,} pairs and {ADAPTERS} adapters, milliseconds (allowed {LIMITS['open']:.0f} to open)",
            ("screen", *(f"{size}: {what}" for size in measured for what in ("opened first", "again", "a key"))),
            [
                (
                    name,
                    *(
                        f"{measured[size][name][what]:.0f}" if what in measured[size][name] else "–"
                        for size in measured
                        for what in ("first", "again", "key")
                    ),
                )
                for name in next(iter(measured.values()))
            ],
        ),
    ]
    finish(
        "console",
        tables,
        {
            "first_paint_ms": round(medians["console"], 1),
            "first_paint_of_an_empty_app_ms": round(medians["empty"], 1),
            "slowest_screen_ms": round(worst, 1),
            "slowest_key_ms": round(key, 1),
            "limits_ms": LIMITS,
            "load_average": round(os.getloadavg()[0], 1),
            "filled_in_s": round(filled, 1),
            "screens": json.loads(json.dumps(measured)),
        },
        write=arguments.write,
    )
    if medians["console"] > LIMITS["first_paint"] or worst > LIMITS["open"] or key > LIMITS["key"]:
        sys.exit("slower than is allowed")


if __name__ == "__main__":
    main()
