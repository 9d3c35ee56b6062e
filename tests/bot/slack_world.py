"""A team on the local Slack whose bot and engine are up, for all tests that leave them as they were."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlmodel import select

from storage.database import Database
from tests.bot.slack_team import ANA, KOFI, PRIYA, TOMAS, Bot, bot, database, engine, slack
from tests.slack_server.server import Channel, SlackServer, buttons, texts

#: Tests of a world run in one loop without others between them: a server whose loop stands still is silent.
IN_THE_WORLD = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("slack-bot")]
REVIEWED, ADMINS = "C0REVIEWED", "C0ADMINS"
_numbers = itertools.count(1)


class World:
    """A team whose bot is up, and what it has stored."""

    def __init__(self, server: SlackServer, process: Bot, stored: Database) -> None:
        self.slack, self.bot, self.stored = server, process, stored

    def channel(self, *members: str, **given: Any) -> Channel:
        """A channel of this test's own."""
        number = next(_numbers)
        return self.slack.channel(f"C0ROOM{number}", f"room-{number}", list(members or (ANA, TOMAS, PRIYA)), **given)

    def rows(self, table: type[Any], **where: Any) -> list[Any]:
        with self.stored.read() as session:
            return list(session.scalars(select(table).filter_by(**where)))

    async def answer(self, user: str, channel: str, text: str = "") -> dict[str, Any]:
        """What `/summarize` answers, beyond its acknowledgement."""
        payload, before = self.slack.slash(user, channel, text), len(self.slack.ephemerals)
        await self.slack.ack(await self.slack.send("slash_commands", payload))

        def answered() -> dict[str, Any] | None:
            for one in self.slack.ephemerals[before:]:
                if one["url"] == payload["response_url"] or (one["url"] == "" and one["user"] == user):
                    return one
            return None

        found: dict[str, Any] = await self.slack.until(answered, f"{user} is answered")
        return found

    async def summary(self, user: str, channel: str, text: str = "") -> tuple[str, str]:
        """A summary's id and all that its message says."""
        told = await self.answer(user, channel, text)
        assert "blocks" in told, told
        return buttons(told["blocks"])["redraft_correct"], texts(told["blocks"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    home = tmp_path_factory.mktemp("slack") / "home"
    async with slack() as server:
        server.channel(REVIEWED, "reviewed", [ANA, TOMAS, KOFI])
        server.channel(ADMINS, "admins", [KOFI])
        with engine(home), database(home) as stored:
            async with bot(
                server, home, SLACK_REACTION="memo", SLACK_ADMIN_CHANNEL=ADMINS, CHAT_MAX_MESSAGES="200",
                SLACK_PACE="1000", SLACK_REVIEWERS=f"{REVIEWED}:{KOFI} {PRIYA} {ANA}",
            ) as process:  # fmt: skip
                yield World(server, process, stored)
