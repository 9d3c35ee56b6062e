"""200 Discord interactions at once: how soon each is deferred once accepted, and how late the bot's loop is meanwhile.

The bot's process is the real one (as `python -m bot` wires it), beside it a task that measures its loop; its Discord is
the tests' local one, its engine a server of its own that writes for the whole time, and gradient steps on two threads
take the same cores meanwhile, as a fine-tune does. "Sent to deferred" is by the local Discord's clock and holds what
that takes itself to send and to answer, on the same cores. Baseline: a bare discord.py client that defers at once and
stores nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish
from tests.bot.discord_guild import Team
from tests.bot.slack_team import engine, environment
from tests.discord_server.server import DiscordServer
from tests.engine.processes import ROOT

_AT_ONCE, _ROUNDS = 200, 3
_LAG_EVERY_S = 0.01
_LATEST_MS, _LAG_MS = 500.0, 100.0
_SHOWN = ("deferred_p99_ms", "p50_ms", "p99_ms", "max_ms", "lag_p50_ms", "lag_p99_ms", "lag_max_ms")


def _percentile(values: list[float], share: float) -> float:
    found = sorted(values)
    return found[min(int(len(found) * share), len(found) - 1)] if found else float("nan")


# The bot's process ----------------------------------------------------------------------------------------------------


async def _watch(into: list[float]) -> None:
    """How late the loop comes back from each short sleep, in seconds."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_LAG_EVERY_S)
        into.append(time.perf_counter() - began - _LAG_EVERY_S)


async def _serve_bare(api: str, token: str) -> None:
    """The baseline: defers, and does nothing else."""
    import discord
    import yarl
    from discord import app_commands
    from discord.gateway import DiscordWebSocket
    from discord.http import Route

    Route.BASE = api
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(api.replace("http", "ws", 1).partition("/api")[0] + "/gateway")
    intents = discord.Intents.none()
    intents.guilds = True
    client = discord.AutoShardedClient(intents=intents)
    tree = app_commands.CommandTree(client)

    @tree.command(name="summarize", description="Defer")
    async def summarize(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)

    await client.login(token)
    await tree.sync()
    await client.connect()


async def _serve(bare: bool) -> None:
    from bot.__main__ import _chats
    from bot.settings import BotSettings
    from engine.client import HttpClient
    from engine.learning.settings import LearningSettings
    from storage.database import Database
    from storage.settings import StorageSettings

    lags: list[float] = []
    deferred: list[float] = []
    _clock({}, deferred)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    # What was measured so far is thrown away: connecting is not what is measured.
    loop.add_signal_handler(signal.SIGUSR1, lags.clear)
    settings = BotSettings.load()
    if bare:
        assert settings.discord_bot_token is not None
        serving: Any = _serve_bare(settings.discord_api_url, settings.discord_bot_token.get_secret_value())
    else:
        database = Database.open(StorageSettings.load())
        serving = _chats(settings, LearningSettings.load(), database, HttpClient(database.home))
    tasks = [asyncio.create_task(serving), asyncio.create_task(_watch(lags))]
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    Path(os.environ["LAGS"]).write_text(json.dumps([lags, deferred]), encoding="utf-8")


def _clock(accepted: dict[str, float], deferred: list[float]) -> None:
    """Note when a job was stored and when its interaction was deferred, in this process."""
    import discord

    from bot.jobs import Accepted, Intake, Job

    accept, defer = Intake.accept, discord.InteractionResponse.defer

    async def accepting(self: Intake, job: Job) -> Accepted:
        found = await accept(self, job)
        accepted[job.key] = time.perf_counter()
        return found

    async def deferring(self: Any, **given: Any) -> Any:
        found = await defer(self, **given)
        if (at := accepted.get(f"discord:{self._parent.id}")) is not None:
            deferred.append(time.perf_counter() - at)
        return found

    Intake.accept = accepting  # type: ignore[method-assign]
    discord.InteractionResponse.defer = deferring  # type: ignore[method-assign]


# Driving it -----------------------------------------------------------------------------------------------------------


async def _side(server: DiscordServer, team: Team, home: Path, *, bare: bool) -> dict[str, float]:
    lags = home.parent / f"lags-{'bare' if bare else 'bot'}.json"
    env = environment(
        home, DISCORD_BOT_TOKEN=server.token, DISCORD_API_URL=server.api, LAGS=str(lags), CHAT_SUMMARIES_AT_ONCE="8"
    )
    command = [sys.executable, "-P", "-m", "benchmarks.discord_bot", "--bare" if bare else "--bot"]
    process = await asyncio.create_subprocess_exec(
        *command, env=env, cwd=home.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    took: list[float] = []
    try:
        await server.connected(patience=60)
        await server.until(lambda: server.registered(None), "commands are registered", 60)
        warm = await server.slash(team.ana, team.general, "summarize")
        await warm.acknowledged()
        process.send_signal(signal.SIGUSR1)
        for _ in range(_ROUNDS):
            people = (team.ana, team.tomas, team.priya, team.kofi)
            asked = await asyncio.gather(
                *(server.slash(people[n % 4], team.general, "summarize") for n in range(_AT_ONCE))
            )
            for one in asked:
                await one.acknowledged()
            took += [one.took for one in asked if one.took is not None]
            await asyncio.sleep(1.0)
        # The engine is at full load with what was asked for; the loop is watched for a while longer.
        await asyncio.sleep(8.0)
    finally:
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
    late, deferred = ([1000 * one for one in found] for found in json.loads(lags.read_text(encoding="utf-8")))
    ms = [1000 * one for one in took]
    # The bare one accepts nothing.
    return {
        "deferred_p99_ms": _percentile(deferred, 0.99) if deferred else 0.0,
        "p50_ms": statistics.median(ms), "p99_ms": _percentile(ms, 0.99), "max_ms": max(ms), "number": float(len(ms)),
        "lag_p50_ms": statistics.median(late), "lag_p99_ms": _percentile(late, 0.99), "lag_max_ms": max(late),
    }  # fmt: skip


async def _measure(home: Path, training: bool) -> dict[str, dict[str, float]]:
    found = {}
    beside = _train(home) if training else None
    try:
        for bare in (True, False):
            server = DiscordServer()
            team = Team(server)
            team.talk(team.general, 200)
            await server.start()
            try:
                found["bare" if bare else "bot"] = await _side(server, team, home, bare=bare)
            finally:
                await server.stop()
    finally:
        if beside is not None:
            beside.terminate()
            beside.wait(30)
    return found


def _train(home: Path) -> subprocess.Popen[bytes]:
    """Gradient steps of a small network on two threads, one after the other, until it is ended."""
    code = (
        "import torch\n"
        "torch.set_num_threads(2)\n"
        "model = torch.nn.Sequential(*(torch.nn.Linear(1024, 1024) for _ in range(6)))\n"
        "optimiser = torch.optim.AdamW(model.parameters())\n"
        "while True:\n"
        "    loss = model(torch.randn(256, 1024)).square().mean(); loss.backward(); optimiser.step()\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=home.parent, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bot", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--no-training", action="store_true", help="without gradient steps on the same cores")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/discord_bot.json")
    given = parser.parse_args()
    if given.bot or given.bare:
        asyncio.run(_serve(given.bare))
        return
    assert str(ROOT) in os.environ.get("PYTHONPATH", str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        # The engine writes without end: each answer takes its batch a while.
        with engine(home, SLOW_ENGINE="0.2"):
            found = asyncio.run(_measure(home, not given.no_training))
    bare, bot = found["bare"], found["bot"]
    rows = [
        [
            name,
            *(f"{side[key]:,.0f}" for key in _SHOWN),
        ]
        for name, side in (("deferred at once, nothing stored", bare), ("accepted, then deferred", bot))
    ]
    table = Table(
        f"{_ROUNDS} times {_AT_ONCE} interactions at once (milliseconds)",
        [
            "the bot",
            "accepted to deferred: p99",
            "sent to deferred: p50",
            "p99",
            "last",
            "loop late: p50",
            "p99",
            "most",
        ],
        rows,
    )
    finish(
        "discord_bot",
        [table],
        {
            "accepted_to_deferred_p99_ms": round(bot["deferred_p99_ms"], 1),
            "sent_to_deferred_p99_ms": round(bot["p99_ms"], 1), "loop_lag_p99_ms": round(bot["lag_p99_ms"], 1),
            "baseline_sent_to_deferred_p99_ms": round(bare["p99_ms"], 1),
            "baseline_loop_lag_p99_ms": round(bare["lag_p99_ms"], 1), "interactions": bot["number"],
            "training": not given.no_training,
            "holds": bot["deferred_p99_ms"] < _LATEST_MS and bot["lag_p99_ms"] < _LAG_MS,
        },
        write=given.write,
    )  # fmt: skip


if __name__ == "__main__":
    main()
