"""The engine killed in the middle of a request, and clients that go away in the middle of theirs.

`redraft up` runs for real. A killed engine must give its client a clear error, come back by itself, say in health that
it did, and serve the next request; a cut connection must free the engine at once and leave it serving.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import statistics
import tempfile
import time
from contextlib import aclosing
from pathlib import Path

from engine import address
from engine.client import HttpClient
from engine.requests import Finished, Health, Progress, Queued, SummaryRequest
from storage.errors import EngineUnavailable
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.processes import PATIENCE_S, Command, redraft, talk

FULL_ROUNDS = 12
#: One short row a batch, so that a long conversation takes many batches and a kill lands in the middle of them.
_SETTINGS = {
    "ENGINE_PORT": "0",
    "ENGINE_MAX_BATCH": "1",
    "ENGINE_MAX_NEW_TOKENS": "24",
    "ENGINE_EXPAND": "always",
    "ENGINE_THREADS": "1",
}


def run(rounds: int, seed: int) -> dict[str, object]:
    """Alternate kills and cuts; ``rounds`` of them in all.

    Raises:
        AssertionError: something did not survive.
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
    assert not any("Traceback" in line for line in up.said), "a person saw a traceback"
    return outcome


async def _rounds(up: Command, home: Home, rounds: int, chance: random.Random) -> dict[str, object]:
    client = HttpClient(home)
    kills = cuts = 0
    back: list[float] = []
    freed: list[float] = []
    for number in range(rounds):
        if number % 2 == 0:
            kills += 1
            back.append(await _kill(up, home, client, chance, kills))
        else:
            cuts += 1
            freed.append(await _cut(home, client, chance))
        await _served(client)
    await client.close()
    return {
        "kills": kills,
        "connections_cut": cuts,
        "median_s_until_served_again": round(statistics.median(back), 1),
        "slowest_s_until_freed": round(max(freed), 2) if freed else None,
    }


async def _until_in_the_middle(client: HttpClient, request: SummaryRequest, chance: random.Random) -> object:
    """The events' iterator after a few parts have been read."""
    events = client.summarize(request)
    parts = chance.randint(1, 4)
    while parts:
        event = await anext(events)
        assert isinstance(event, Queued | Progress), f"the conversation was too short: {event}"
        parts -= isinstance(event, Progress)
    return events


async def _kill(up: Command, home: Home, client: HttpClient, chance: random.Random, kills: int) -> float:
    events = await _until_in_the_middle(client, SummaryRequest(talk(1500)), chance)
    before = address.published(home)
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    start = time.monotonic()
    try:
        async for event in events:  # type: ignore[attr-defined]
            assert not isinstance(event, Finished), "a killed engine finished its request"
    except EngineUnavailable as error:
        assert "went away in the middle" in error.message, error.message
        assert "redraft up" in error.hint, error.hint
    else:
        raise AssertionError("the client heard nothing of the engine's death")
    assert time.monotonic() - start < 10, "the client waited for a dead engine"
    said = await asyncio.to_thread(up.until_it_says, "The engine was ended by SIGKILL.")
    delay = float(said.split(" in ")[-1].split()[0])
    assert delay <= 30, said
    await asyncio.to_thread(up.until_it_says, "The engine is ready")
    health = await client.health()
    assert health.state == "up"
    assert health.restarts == kills, f"health says {health.restarts} restarts after {kills} kills"
    assert "SIGKILL" in health.detail
    return time.monotonic() - start


async def _cut(home: Home, client: HttpClient, chance: random.Random) -> float:
    """Break the connection as a vanished client does: without a word at the level of HTTP."""
    own = HttpClient(home)
    async with aclosing(await _until_in_the_middle(own, SummaryRequest(talk(1500)), chance)):  # type: ignore[type-var]
        assert (await client.health()).running == 1
    await own.close()
    start = time.monotonic()
    while (health := await client.health()).running or health.waiting:
        assert time.monotonic() - start < PATIENCE_S, "the request of a client that is gone goes on"
        await asyncio.sleep(0.02)
    assert isinstance(health, Health)
    return time.monotonic() - start


async def _served(client: HttpClient) -> None:
    (*_, last) = [event async for event in client.summarize(SummaryRequest(talk(3)))]
    assert isinstance(last, Finished)
