"""Requests to the local Discord as no library makes them: what its own strictness is tried with."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest_asyncio

from tests.bot.discord_app import Team
from tests.discord_server.interactions import Interaction
from tests.discord_server.server import DiscordServer

AGENT = "DiscordBot (https://example.com, 1.0)"
POST = "POST /channels/{channel}/messages"


def button(**given: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "Correct", "custom_id": "c:1", **given}


def row(*children: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(children)}


def shown(text: str) -> dict[str, Any]:
    return {"type": 10, "content": text}


class Raw:
    """Requests as nobody's library makes them."""

    def __init__(self, server: DiscordServer, session: aiohttp.ClientSession) -> None:
        self.server, self.session, self.app = server, session, server.app.id

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        given = {"Authorization": f"Bot {self.server.token}", "User-Agent": AGENT, **headers}
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.server.api + path, data=data, headers=given) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.content_type == "application/json" else text

    async def answer(self, one: Interaction, kind: int, data: Any = None, query: str = "") -> tuple[int, Any]:
        body = {"type": kind} | ({} if data is None else {"data": data})
        return await self("POST", f"/interactions/{one.id}/{one.token}/callback{query}", body)

    async def hook(self, method: str, one: Interaction, path: str = "", data: Any = None) -> tuple[int, Any]:
        return await self(method, f"/webhooks/{self.app}/{one.token}{path}", data)


@pytest_asyncio.fixture
async def raw(server: DiscordServer) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(server, session)


def asking(team: Team, kind: int = 2, **given: Any) -> Interaction:
    """An interaction that nobody is connected to hear of."""
    made: Interaction = team.server.begin(kind, team.ana, team.general, {}, **given)
    return made
