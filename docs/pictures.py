"""Make the pictures of the console in ``docs/console/``: ``python -m docs.pictures`` (``--check`` only compares).

They are Textual's own screenshots of a console on an invented database whose clock stands still, so that they change
only when the console does. A test runs the check.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from storage.database import Database

FOLDER = Path(__file__).resolve().parent / "console"
SIZE = (112, 32)
#: Keys that bring a screen to where it has something to show.
KEYS = {"conversations": ["down", "v"], "compare": ["enter"], "ledger": ["v"]}
#: Further pictures: a question, the help of a screen, and a screen in light colours.
FURTHER = {"promotion": ("adapters", ["p"]), "help": ("corrections", ["question_mark"])}
_OURS = (
    "REDRAFT_", "ENGINE_", "SLACK_", "DISCORD_", "DATABASE_", "RETENTION_", "BACKUP_", "DAILY_", "PAIRS_", "TRAIN_",
    "GATE_", "PROMOTION_", "WATCH_", "ERASURE_",
)  # fmt: skip


def pictures() -> dict[str, str]:
    """Every picture's name and what it should hold."""
    from admin.console.widgets.names import SCREENS
    from storage.database import Database
    from storage.settings import StorageSettings
    from tests.admin.console.seeding import seed

    wanted = {name.key: (name.key, KEYS.get(name.key, [])) for name in SCREENS} | FURTHER
    with _elsewhere():
        database = Database.open(StorageSettings.load())
        try:
            seed(database)
            return {f"{name}.svg": asyncio.run(_picture(database, *how)) for name, how in wanted.items()}
        finally:
            database.close()


@contextlib.contextmanager
def _elsewhere() -> Iterator[None]:
    """In an empty directory with no settings of whoever makes the pictures; its name is in none of them."""
    before, here = dict(os.environ), Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for name in list(os.environ):
            if name.startswith(_OURS) or name == "NO_COLOR":
                del os.environ[name]
        os.environ |= {"REDRAFT_HOME": "redraft", "REDRAFT_ENV_FILE": os.devnull}
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(before)


async def _picture(database: Database, screen: str, keys: list[str]) -> str:
    from tests.admin.console.piloting import console, press, screen_text, settled, until
    from tests.admin.console.serving import by_adapter, engine
    from tests.engine.fake_model import FakeModel

    app = console(screen)
    # Only what asks an engine has one: how long it has been up would be in the other pictures.
    running = engine(database, FakeModel(write=by_adapter)) if screen == "compare" else contextlib.nullcontext()
    async with running, app.run_test(size=SIZE) as pilot:
        await settled(pilot)
        await press(pilot, *keys)
        if screen == "compare":
            await until(pilot, lambda: "engine up" in screen_text(app) or app._look(), "the engine is seen")
        drawn, before = "", None
        for _ in range(50):  # what the cursor rests on is read a moment later, and drawn a moment after that
            await settled(pilot)
            drawn = app.export_screenshot(title="redraft console")
            if drawn == before:
                break
            before = drawn
            await pilot.pause(0.2)
    app.store.close()
    # The ids in it are made from the content's hash, and seconds are what they are.
    drawn = re.sub(r"\bterminal-\d+-", "terminal-", drawn)
    return re.sub(r"words,(&#160;| )\d+\.\d(&#160;| )s", r"words,\g<1>0.4\g<2>s", drawn)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if something differs")
    check = parser.parse_args().check
    FOLDER.mkdir(exist_ok=True)
    drawn = pictures()
    stale = [name for name, picture in drawn.items() if not (FOLDER / name).exists() or _read(name) != picture]
    for name in [] if check else stale:
        (FOLDER / name).write_text(drawn[name], encoding="utf-8")
    for name in stale:
        print(f"{'differs' if check else 'wrote'}: docs/console/{name}", file=sys.stderr)
    return 1 if check and stale else 0


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
