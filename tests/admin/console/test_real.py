"""A real console in a pseudo-terminal: from its start to a promotion that a running engine serves; and cut midway."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from engine.client import HttpClient
from engine.learning.registry import find
from engine.requests import Finished, SummaryRequest
from storage.database import Database
from storage.home import Home
from storage.settings import StorageSettings
from tests.admin.console.seeding import ACTIVE
from tests.engine.learning import making
from tests.engine.processes import redraft, talk, wait_until

ROOT = Path(__file__).resolve().parents[3]
_SETTINGS = {
    "ENGINE_PORT": "0",
    "ENGINE_MAX_NEW_TOKENS": "12",
    "ENGINE_EXPAND": "always",
    "ENGINE_THREADS": "1",
    "ENGINE_DEVICE": "cpu",
}


class Terminal:
    """A console on a terminal of 100 by 30."""

    def __init__(self, *arguments: str) -> None:
        self.child = pexpect.spawn(
            sys.executable,
            ["-P", "-m", "admin.cli", "console", *arguments],
            dimensions=(30, 100),
            env={**os.environ, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
            encoding="utf-8",
            timeout=60,
        )

    def shows(self, text: str) -> None:
        """Wait until this was drawn; a cell's style may change between two words."""
        self.child.expect(text.replace(" ", r"(?:\x1b\[[0-9;]*m)* ?(?:\x1b\[[0-9;]*m)*"))

    def type(self, keys: str) -> None:
        self.child.send(keys)

    def quits(self) -> int:
        self.child.send("q")
        self.child.expect(pexpect.EOF)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)

    def end(self) -> None:
        if self.child.isalive():
            self.child.kill(signal.SIGKILL)
            self.child.wait()
        self.child.close()


@pytest.fixture
def terminal() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for one in opened:
        one.end()


def test_promotion_in_the_console_is_served_by_a_running_engine(tmp_path: Path, terminal: list[Terminal]) -> None:
    from engine.model.loading import load
    from engine.settings import EngineSettings
    from tests.engine.model.lora import make_adapter
    from tests.engine.tiny import make

    model = make("bart", tmp_path / "tiny")
    given = {name.lower(): value for name, value in _SETTINGS.items()}
    home = Home.create(StorageSettings.load())
    database = Database.open(StorageSettings.load())
    loaded = load(EngineSettings(**{**given, "engine_model": str(model)}))  # type: ignore[arg-type]
    manifest = make_adapter(loaded, home.adapters, 1)
    from engine.learning.ledger import recorded
    from engine.learning.registry import record_candidate

    with recorded(database) as (session, ledger):
        row = record_candidate(session, ledger, manifest, size_bytes=1)
    making.gate(database, row, "better")

    async def writes() -> str:
        client = HttpClient(home)
        try:
            (*_, last) = [event async for event in client.summarize(SummaryRequest(talk(4)))]
        finally:
            await client.close()
        assert isinstance(last, Finished)
        return last.result.adapter

    with redraft("engine", home=home, ENGINE_MODEL=str(model), **_SETTINGS) as engine:
        engine.until_it_says("The engine is ready")
        assert asyncio.run(writes()) == "base"
        console = Terminal("--screen", "adapters")
        terminal.append(console)
        console.shows(row.id[:10])
        console.shows("engine up")
        console.type("p")
        console.shows(f"Put {row.id} in service")
        console.type("y")
        console.shows(f"Promoted: {row.id}")
        wait_until(lambda: asyncio.run(writes()) == row.id, "the engine serves what was promoted", 10)
        assert console.quits() == 0
    with database.read() as session:
        assert find(session, row.id).state == "active"
    database.close()


def test_resized_and_hung_up_it_ends_and_leaves_the_database_whole(seeded: Database, terminal: list[Terminal]) -> None:
    console = Terminal("--screen", "corrections")
    terminal.append(console)
    console.shows("To review")
    for rows, columns in ((8, 20), (60, 200), (24, 80)):
        console.child.setwinsize(rows, columns)
    console.shows("Conversation")
    console.type("a")
    console.child.kill(signal.SIGHUP)
    end = time.monotonic() + 20
    while console.child.isalive() and time.monotonic() < end:
        try:
            console.child.read_nonblocking(4096, 0.05)
        except (pexpect.TIMEOUT, pexpect.EOF):
            continue
    assert not console.child.isalive()
    assert seeded.check() == ""
    with seeded.read() as session:
        assert find(session, ACTIVE).state == "active"


def test_without_a_terminal_it_says_one_sentence() -> None:
    from tests.admin.cli import redraft as run

    done = run("console")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == "redraft: `redraft console` needs a terminal."
    assert run("console", "--theme", "nonsense").returncode == 1
