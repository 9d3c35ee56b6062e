"""A guild on the local Discord whose bot is up, for all tests that leave them as they were."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.bot.discord_guild import Bot, Team, discord_server, serving
from tests.discord_server.interactions import Interaction
from tests.discord_server.objects import text_of
from tests.discord_server.world import Channel, Message, User

#: Tests of a world run in one loop without others between them.
IN_THE_GUILD = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("discord-bot")]
_numbers = itertools.count(1)


class Acme(Team):
    """The team, its bot, and what people do there."""

    bot: Bot
    admins: Channel
    reviewed: Channel

    async def room(self, *, only: list[Any] | None = None, **given: Any) -> Channel:
        """A channel of this test's own, which the app is told of."""
        return await self.server.open_channel(self.acme, f"room-{next(_numbers)}", only=only, **given)

    async def summary(self, user: User, where: Channel, /, **options: Any) -> Message:
        return await self.bot.summary(user, where, **options)

    async def said(self, user: User, where: Channel, /, **options: Any) -> str:
        """All that `/summarize` answers."""
        return text_of(await self.summary(user, where, **options))

    async def told(self, asked: Interaction) -> str:
        """What an interaction is answered with in the end."""
        return text_of(await asked.answer())

    async def pressed(self, user: User, message: Message, button: str) -> str:
        return await self.told(await self.server.press(user, message, button))

    def rows(self, table: type[Any], **where: Any) -> list[Any]:
        return self.bot.rows(table, **where)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Acme]:
    home = tmp_path_factory.mktemp("discord") / "home"
    async with discord_server() as server:
        team = Acme(server)
        team.admins = server.channel(team.acme, "admins", only=[team.kofi, server.app_role(team.acme)])
        team.reviewed = server.channel(team.acme, "reviewed")
        async with serving(
            team, home, chat_max_messages="200", discord_admin_channel=str(team.admins.id),
            discord_reviewers=f"{team.reviewed.id}:{team.kofi.id} {team.priya.id} {team.ana.id}",
        ) as bot:  # fmt: skip
            team.bot = bot
            yield team
