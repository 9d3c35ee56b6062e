"""What `redraft doctor` says of Discord: each thing that is wrong, by the page and the switch that mend it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from bot.discord.check import checks, invitation
from bot.settings import BotSettings
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import VIEW_CHANNEL


@pytest_asyncio.fixture
async def server() -> AsyncIterator[DiscordServer]:
    made = DiscordServer()
    await made.start()
    yield made
    await made.stop()
    assert made.broken == []


async def found(server: DiscordServer, **given: str) -> dict[str, dict[str, str]]:
    settings = BotSettings.load(**{"discord_bot_token": server.token, "discord_api_url": server.api, **given})
    return {one["name"]: one for one in await asyncio.to_thread(checks, settings)}


async def test_all_is_well(server: DiscordServer) -> None:
    server.guild("Acme")
    told = await found(server)
    assert {one["status"] for one in told.values()} == {"ok"}
    assert set(told) == {"Discord", "Discord intents", "Discord permissions"}


async def test_an_intent_that_is_off_is_told_with_the_portals_switch(server: DiscordServer) -> None:
    server.guild("Acme")
    server.privileged = 0
    told = (await found(server))["Discord intents"]
    assert told["status"] == "fail" and "Bot > Privileged Gateway Intents > Message Content Intent" in told["fix"]


async def test_permissions_that_are_missing_are_named_and_so_is_a_server_without_the_app(server: DiscordServer) -> None:
    server.guild("Acme", installed=VIEW_CHANNEL)
    acme = next(one for one in server.guilds.values() if one.name == "Acme")
    acme.roles[acme.id].permissions = 0
    told = await found(server, discord_guilds="123456789012345678")
    assert "in Acme the app lacks" in told["Discord permissions"]["finding"]
    for name in ("Read Message History", "Send Messages in Threads", "Embed Links"):
        assert name in told["Discord permissions"]["finding"]
    assert "123456789012345678" in told["Discord servers"]["finding"]


async def test_an_app_that_is_nowhere_is_told_how_to_be_added(server: DiscordServer) -> None:
    told = (await found(server))["Discord servers"]
    assert told["status"] == "warn"
    assert told["fix"].endswith(invitation(str(server.app.id))) and "applications.commands" in told["fix"]


async def test_a_token_that_is_refused_is_told_and_so_is_a_discord_that_cannot_be_reached(
    server: DiscordServer,
) -> None:
    server.revoked = True
    told = await found(server)
    assert list(told) == ["Discord"] and "Reset Token" in told["Discord"]["fix"]
    assert server.token not in str(told)
    told = await found(server, discord_api_url="http://127.0.0.1:9/api/v10")
    assert "cannot be reached" in told["Discord"]["finding"]
