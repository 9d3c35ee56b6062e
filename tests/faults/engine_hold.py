"""A fine-tune that has the engine's memory, and dies: the engine serves again at once, however either of them ended.

In every round the holder is killed with SIGKILL while a request waits, which is then served. In every other one the
engine is killed before that, and must not load until the hold has ended.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from engine import address
from engine.client import HttpClient
from engine.requests import Event, Finished, Queued, SummaryRequest
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.processes import ROOT, Command, redraft, talk

FULL_ROUNDS = 10
_SETTINGS = {"ENGINE_PORT": "0", "ENGINE_MAX_NEW_TOKENS": "12", "ENGINE_EXPAND": "always", "ENGINE_THREADS": "1"}
_HOLDER = """
import asyncio, sys
from engine.client import held
from storage.home import Home
from pathlib import Path

async def main():
    async with held(Home(Path(sys.argv[1]))) as there:
        print("held" if there else "nobody", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


def run(rounds: int, seed: int) -> dict[str, object]:
    """Hold so many times.

    Raises:
        AssertionError: a request was lost, or the engine did not come back.
    """
    from tests.engine.tiny import make

    with tempfile.TemporaryDirectory() as folder:
        model = make("bart", Path(folder) / "tiny")
        home = Home.create(StorageSettings(redraft_home=Path(folder) / "home"))
        with redraft("up", home=home, ENGINE_MODEL=str(model), **_SETTINGS) as up:
            up.until_it_says("The engine is ready")
            outcome = asyncio.run(_rounds(up, home, rounds, random.Random(seed)))
            up.signal(signal.SIGTERM)
            code = up.ends()
    assert code == 0, f"`redraft up` ended with {code} after SIGTERM"
    return outcome


async def _rounds(up: Command, home: Home, rounds: int, chance: random.Random) -> dict[str, object]:
    seconds: list[float] = []
    holders = engines = 0
    for number in range(rounds):
        holder = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(home.root)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        try:
            assert holder.stdout is not None
            assert await asyncio.to_thread(holder.stdout.readline) == "held\n"
            client = HttpClient(home)
            assert (await client.health()).held
            if number % 2 == 0:
                engines += 1
                await _kill_engine(up, home, client)
            waiting = asyncio.create_task(_events(client))
            await asyncio.sleep(chance.uniform(0.0, 0.3))
            assert not waiting.done(), "the engine wrote while its model was let go of"
            holders += 1
            holder.kill()
            start = time.monotonic()
            events = await asyncio.wait_for(waiting, 30)
            seconds.append(time.monotonic() - start)
            assert isinstance(events[0], Queued)
            assert "fine-tune" in events[0].message, "who waited was not told why"
            assert isinstance(events[-1], Finished)
            assert not (await client.health()).held
            await client.close()
        finally:
            with suppress(OSError):
                holder.kill()
            holder.wait()
            for pipe in (holder.stdin, holder.stdout):
                if pipe is not None:
                    pipe.close()
    return {
        "holders_killed": holders,
        "engines_killed_while_held": engines,
        "slowest_s_until_served": round(max(seconds), 2),
    }


async def _kill_engine(up: Command, home: Home, client: HttpClient) -> None:
    found = address.published(home)
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    await asyncio.to_thread(up.until_it_says, "The engine was ended by SIGKILL.")
    await asyncio.to_thread(up.until_it_says, "The engine answers on")
    health = await client.health()
    assert health.model is None, "an engine loaded its model while a fine-tune had the memory"
    assert health.held


async def _events(client: HttpClient) -> list[Event]:
    return [event async for event in client.summarize(SummaryRequest(talk(3)))]
