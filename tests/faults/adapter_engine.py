"""A real engine process under `redraft up`, whose adapters are promoted in the database of another process.

A promotion must be served within five seconds of its commit. An engine that is killed while an adapter loads must come
back by itself and serve what is active. Every answer is what its adapter writes alone.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from pathlib import Path

from engine import address
from engine.client import HttpClient
from engine.conversation import Conversation
from engine.learning.ledger import recorded
from engine.learning.promotion import promote
from engine.learning.registry import record_candidate
from engine.learning.settings import LearningSettings
from engine.local import LocalClient
from engine.requests import Finished, SummaryRequest
from engine.settings import EngineSettings
from storage.database import Database
from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.adapter_source import Table
from tests.engine.processes import Command, redraft, talk

FULL_ROUNDS = 20
_WITHIN_S = 5.0
_SETTINGS = {
    "ENGINE_PORT": "0",
    "ENGINE_MAX_NEW_TOKENS": "12",
    "ENGINE_EXPAND": "always",
    "ENGINE_THREADS": "1",
    "ENGINE_DEVICE": "cpu",
}


def run(rounds: int, seed: int) -> dict[str, object]:
    """Promote so many times; kill the engine after every other one.

    Raises:
        AssertionError: something did not survive, or took too long.
    """
    from tests.engine.tiny import make

    with tempfile.TemporaryDirectory() as folder:
        model = make("bart", Path(folder) / "tiny")
        storage = StorageSettings(redraft_home=Path(folder) / "home")
        home = Home.create(storage)
        database = Database.open(storage)
        right = asyncio.run(_published(model, database, home))
        with redraft("up", home=home, ENGINE_MODEL=str(model), **_SETTINGS) as up:
            up.until_it_says("The engine is ready")
            outcome = asyncio.run(_rounds(up, database, home, right, rounds, random.Random(seed)))
            up.signal(signal.SIGTERM)
            code = up.ends()
        database.close()
    assert code == 0, f"`redraft up` ended with {code} after SIGTERM"
    return outcome


async def _published(model: Path, database: Database, home: Home) -> dict[str, str]:
    """Three adapters as candidates; what each writes of the conversation that is asked about."""
    from engine.model.loading import load
    from tests.engine.model.lora import make_adapter

    given = {name.lower(): value for name, value in _SETTINGS.items()}
    settings = EngineSettings(**{**given, "engine_model": str(model)})  # type: ignore[arg-type]
    loaded = load(settings)
    manifests = [make_adapter(loaded, home.adapters, seed) for seed in (1, 2, 3)]
    for manifest in manifests:
        with recorded(database) as (session, ledger):
            record_candidate(session, ledger, manifest, size_bytes=1)
    names = [manifest.id for manifest in manifests]
    client = LocalClient(settings, load=lambda: loaded, adapters=Table(home.adapters, *names))
    try:
        right = {name: (await _answer(client, talk(4), name))[0] for name in names}
        assert len(set(right.values())) > 1, "the adapters of this test do not tell themselves apart"
        return right
    finally:
        await client.close()


async def _rounds(
    up: Command, database: Database, home: Home, right: dict[str, str], rounds: int, chance: random.Random
) -> dict[str, object]:
    client = HttpClient(home)
    seen: set[str] = set()  # by the engine of the moment
    slowest = 0.0
    kills = loading = 0
    for number in range(rounds):
        # One that this engine has not had yet, so that it has to be loaded.
        active = chance.choice([name for name in right if name not in seen])
        log = home.logs / "engine.jsonl"
        written = log.stat().st_size
        promote(
            database, home, LearningSettings(), adapter_id=active, by="local:ana", force=True, reason="for the test"
        )
        start = time.monotonic()
        if number % 2:
            await asyncio.sleep(chance.uniform(0.0, 1.3))
            with log.open("rb") as file:
                file.seek(written)
                loading += f"{active} is attached".encode() not in file.read()
            kills += 1
            found = address.published(home)
            assert found is not None
            os.kill(found.pid, signal.SIGKILL)
            await asyncio.to_thread(up.until_it_says, "The engine was ended by SIGKILL.")
            await asyncio.to_thread(up.until_it_says, "The engine is ready")
            seen = set()
            start = time.monotonic()
        while (answer := await _answer(client, talk(4)))[1] != active:
            assert answer[1] == "base" or answer[0] == right[answer[1]], f"not what {answer[1]} writes alone"
            assert time.monotonic() - start < _WITHIN_S, f"{active} did not serve within {_WITHIN_S} s; {answer[1]} did"
            await asyncio.sleep(0.02)
        assert answer[0] == right[active], f"not what {active} writes alone"
        slowest = max(slowest, time.monotonic() - start)
        assert slowest < _WITHIN_S
        seen.add(active)
        health = await client.health()
        assert active in health.adapters
    await client.close()
    return {
        "promotions": rounds,
        "slowest_s_until_it_served": round(slowest, 2),
        "kills": kills,
        "kills_before_it_was_attached": loading,
    }


async def _answer(
    client: HttpClient | LocalClient, conversation: Conversation, adapter: str | None = None
) -> tuple[str, str]:
    (*_, last) = [event async for event in client.summarize(SummaryRequest(conversation, adapter=adapter))]
    assert isinstance(last, Finished)
    return last.result.summary, last.result.adapter
