"""What can be asked of Discord's bot, in channels, threads and posts, and what is read for it."""

from __future__ import annotations

from pathlib import Path

from tests.bot.discord_guild import Team, discord_server, serving
from tests.discord_server.objects import text_of


async def test_first(own_home: Path) -> None:
    async with discord_server() as server:
        team = Team(server)
        team.talk(team.general, 25)
        async with serving(team, own_home) as bot:
            answer = await bot.summary(team.ana, team.general)
            print(text_of(answer))
            assert "25 messages" in text_of(answer)
