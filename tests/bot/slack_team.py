"""A team on the local Slack, a real engine server with a hand-written model, and the real `redraft bot` process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from engine.client import running
from storage.database import Database
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.processes import ROOT, wait_until
from tests.slack_server.server import APP_TOKEN, BOT_TOKEN, PATIENCE_S, SlackServer

ANA, TOMAS, PRIYA, KOFI, GUEST, STRANGER = "U0ANA", "U0TOMAS", "U0PRIYA", "U0KOFI", "U0GUEST", "U0STRANGER"
GENERAL, SECRET, ELSEWHERE = "C0GENERAL", "C0SECRET", "C0ELSEWHERE"


def people(server: SlackServer) -> None:
    """Four colleagues, a guest, somebody of a connected workspace; a public channel, a private one, one without us."""
    server.person(ANA, "Ana")
    server.person(TOMAS, "Tomas")
    server.person(PRIYA, "Priya")
    server.person(KOFI, "Kofi", tz="America/New_York")
    server.person(GUEST, "Gus", is_restricted=True)
    server.person(STRANGER, "Stella", team_id="T0OTHER", is_stranger=True)
    server.channel(GENERAL, "general", [ANA, TOMAS, PRIYA, GUEST])
    server.channel(SECRET, "secret", [ANA, TOMAS], private=True)
    server.channel(ELSEWHERE, "elsewhere", [ANA, TOMAS], with_bot=False)


def talk(server: SlackServer, channel: str = GENERAL, number: int = 25, *, ago: float = 7200.0) -> list[str]:
    """So many messages, oldest first, a minute apart; their ids."""
    by = (ANA, TOMAS, PRIYA)
    return [
        server.write(channel, by[n % 3], f"The export job number {n} is checked before lunch.", ago=ago - 60 * n)
        for n in range(number)
    ]


class Bot:
    """The process, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self.process, self.home = process, home

    def log(self) -> str:
        return "".join(path.read_text() for path in sorted((self.home / "logs").glob("bot.jsonl*")))

    async def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()


def environment(home: Path, **settings: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return {
        **kept, "PYTHONPATH": str(ROOT), "REDRAFT_HOME": str(home), "REDRAFT_ENV_FILE": os.devnull, **settings,
    }  # fmt: skip


@asynccontextmanager
async def bot(server: SlackServer, home: Path, *, connected: bool = True, **settings: str) -> AsyncIterator[Bot]:
    """The real process for the time of a block."""
    env = environment(
        home, SLACK_BOT_TOKEN=BOT_TOKEN, SLACK_APP_TOKEN=APP_TOKEN, SLACK_API_URL=f"{server.base}/api/", **settings
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "bot", env=env, cwd=home.parent,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    made = Bot(process, home)
    try:
        if connected:
            await server.connected(PATIENCE_S)
        yield made
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


@contextmanager
def engine(home: Path, **settings: str) -> Iterator[None]:
    """A real engine server with the hand-written model."""
    import subprocess

    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.slack_server.engine"],
        env=environment(home, **settings), cwd=home.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        opened = Home.create(StorageSettings.load(redraft_home=home))
        wait_until(lambda: process.poll() is not None or running(opened), "the engine is up", 30)
        assert process.poll() is None, "the engine ended"
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@asynccontextmanager
async def slack() -> AsyncIterator[SlackServer]:
    """A local Slack with the team; the test fails where a request broke its rules."""
    server = SlackServer()
    people(server)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    assert server.broken == []


@contextmanager
def database(home: Path) -> Iterator[Database]:
    opened = Database.open(StorageSettings.load(redraft_home=home))
    try:
        yield opened
    finally:
        opened.close()
