"""A guild on the local Discord, and a bot for it: its service within the test's process, or the real process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlmodel import select

from bot.chats import Chats
from bot.discord.changes import Changes
from bot.discord.service import DiscordService
from bot.settings import BotSettings
from engine.learning.settings import LearningSettings
from engine.local import LocalClient
from engine.protocols import Row
from engine.settings import EngineSettings
from storage.database import Database
from storage.settings import StorageSettings
from tests.discord_server.pointing import pointed
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import Channel, Guild, Message, User
from tests.engine.fake_model import INFO, FakeModel
from tests.slack_server.engine import write

COMMANDS = "PUT /applications/{application}/commands"


class Team:
    """Acme on the local Discord: four colleagues, somebody without, a public channel, a private one, one without us."""

    def __init__(self, server: DiscordServer) -> None:
        self.server = server
        self.acme: Guild = server.guild("Acme")
        self.ana, self.tomas, self.priya, self.kofi = (
            server.person(name.lower(), name) for name in ("Ana", "Tomas", "Priya", "Kofi")
        )
        self.stranger = server.person("stella", "Stella")
        for one in (self.ana, self.tomas, self.priya, self.kofi):
            server.member(self.acme, one)
        self.general: Channel = server.channel(self.acme, "general")
        app = server.app_role(self.acme)
        self.secret: Channel = server.channel(self.acme, "secret", only=[self.ana, self.tomas, app])
        self.elsewhere: Channel = server.channel(self.acme, "elsewhere", only=[self.ana])

    def talk(self, channel: Channel, number: int = 25, *, ago: float = 7200.0) -> list[Message]:
        """So many messages, oldest first, a minute apart."""
        by = (self.ana, self.tomas, self.priya)
        return [
            self.server.write(
                channel, by[n % 3], f"The export job number {n} is checked before lunch.", ago=ago - 60 * n
            )
            for n in range(number)
        ]


class Bot:
    """The bot's part for Discord, in this process."""

    def __init__(self, team: Team, stored: Database, chats: Chats, service: DiscordService) -> None:
        self.team, self.server, self.stored, self.chats, self.service = team, team.server, stored, chats, service
        #: Cleared, the model writes nothing until it is set; ``paused`` says that it wants to.
        self.pause, self.paused = threading.Event(), False
        self.pause.set()
        self.crashed = False

    running: asyncio.Task[None]

    def crash(self) -> None:
        """End the model's writing with the process, as a kill does: nothing is stored of it."""
        self.crashed = True
        self.running.cancel()

    @property
    def changes(self) -> Changes:
        return self.service._changes

    def rows(self, table: type[Any], **where: Any) -> list[Any]:
        with self.stored.read() as session:
            return list(session.scalars(select(table).filter_by(**where)))

    async def summary(self, user: User, where: Channel, /, **options: Any) -> Message:
        """What `/summarize` answers, once it is more than being written."""
        asked = await self.server.slash(user, where, "summarize", **options)
        await self.server.until(lambda: asked.original is not None and final(asked.original), "it is summarised")
        assert asked.original is not None
        return asked.original


def final(message: Message) -> bool:
    """Whether a message is an answer that is not written on any more: it has buttons, or is a sentence of ours."""
    return not message.loading and (bool(message.components) or _sentence(message.content))


def _sentence(content: str) -> bool:
    return bool(content) and "…" not in content and not content.startswith(("Taken.", "Your summary waits."))


@asynccontextmanager
async def discord_server() -> AsyncIterator[DiscordServer]:
    """A local Discord; the test fails where a request broke its rules, pinged somebody or unfolded a link."""
    server = DiscordServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        assert server.broken == []
    assert server.loud == []


@asynccontextmanager
async def serving(
    team: Team, home: Path, *, model: Callable[[Row], str] = write, connected: bool = True, **settings: Any
) -> AsyncIterator[Bot]:
    """The bot's part for Discord, with an engine of its own, for the time of a block."""
    server = team.server
    stored = Database.open(StorageSettings.load(redraft_home=home))
    info = replace(INFO, context_tokens=4096, max_new_tokens=512)

    def written(row: Row) -> str:
        made_bot.paused = not made_bot.pause.is_set()
        made_bot.pause.wait(20)
        if made_bot.crashed:
            raise RuntimeError("The process is gone.")
        return model(row)

    client = LocalClient(EngineSettings.load(), load=lambda: FakeModel(info, write=written))
    given = BotSettings.load(discord_bot_token=server.token, discord_api_url=server.api, **settings)
    made: list[DiscordService] = []

    def services(intake: Any) -> dict[str, Any]:
        made.append(DiscordService(given, LearningSettings.load(), stored, intake, client))
        return {"discord": made[0]}

    with pointed(server.base):
        chats = Chats(stored, services, at_once=given.chat_summaries_at_once)
        made_bot = Bot(team, stored, chats, made[0])
        made_bot.running = running = asyncio.create_task(chats.run())
        try:
            if connected:
                await server.connected()
                await server.until(lambda: server.registered(None) or running.done(), "commands are registered")
            if running.done():
                running.result()
            yield made_bot
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            made_bot.pause.set()
            await client.close()
            stored.close()
