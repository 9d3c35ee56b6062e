"""A small app on the real discord.py client, and a guild for it: what the tests of the local Discord drive it with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest_asyncio
from discord import app_commands

from tests.discord_server.interactions import Interaction
from tests.discord_server.pointing import pointed
from tests.discord_server.server import DiscordServer
from tests.discord_server.world import Channel, Guild, User

INTENTS = discord.Intents(guilds=True, guild_messages=True, dm_messages=True, message_content=True)
QUIET = discord.AllowedMentions.none()


class Correction(discord.ui.Modal, title="Correct the summary"):
    text: Any = discord.ui.Label(
        text="The summary",
        component=discord.ui.TextInput(
            custom_id="text", style=discord.TextStyle.long, max_length=4000, default="Draft."
        ),
    )
    why: Any = discord.ui.TextInput(custom_id="why", label="Why", required=False)

    async def on_submit(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"{self.text.component.value} {self.why.value}", ephemeral=True)


class App(discord.AutoShardedClient):
    """A command that reads history and answers, a context menu, buttons that open a modal; what it has heard."""

    def __init__(self, intents: discord.Intents = INTENTS, **given: Any) -> None:
        super().__init__(intents=intents, guild_ready_timeout=0.02, **given)
        self.tree = app_commands.CommandTree(self)
        self.heard: list[tuple[str, Any]] = []
        self.is_up = asyncio.Event()

        @self.tree.command(description="Summarise what was said")
        @app_commands.describe(since="since when", channel="where", messages="how many")
        async def summarize(
            interaction: discord.Interaction, since: str = "",
            channel: discord.TextChannel | discord.Thread | None = None,
            messages: app_commands.Range[int, 1, 500] = 100,
        ) -> None:  # fmt: skip
            await interaction.response.defer(ephemeral=True, thinking=True)
            place: Any = channel or interaction.channel
            said = [one.content async for one in place.history(limit=messages)]
            view = discord.ui.View(timeout=None)
            view.add_item(discord.ui.Button(label="Correct", custom_id="correct:1"))
            text = f"{len(said)}: {said[0] if said else 'nothing'}"
            await interaction.edit_original_response(content=text, view=view, allowed_mentions=QUIET)

        @summarize.autocomplete("since")
        async def since(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
            known = ("yesterday", "2h", "new")
            return [app_commands.Choice(name=one, value=one) for one in known if one.startswith(typed)]

        @self.tree.context_menu(name="Summarize from here")
        async def here(interaction: discord.Interaction, message: discord.Message) -> None:
            await interaction.response.send_message(message.content, ephemeral=True)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """The library waits 5 seconds before it identifies anew, as Discord's own gateway wants it."""

    async def on_ready(self) -> None:
        self.is_up.set()

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        if interaction.type is discord.InteractionType.component:
            await interaction.response.send_modal(Correction())

    async def on_message(self, message: discord.Message) -> None:
        self.heard.append(("message", message.content))

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        self.heard.append(("edit", event.message.content))

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        self.heard.append(("delete", event.message_id))

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        self.heard.append(("bulk", event.message_ids))

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        self.heard.append(("removed", guild.id))


class Team:
    """A guild with a channel, and the app on it."""

    def __init__(self, server: DiscordServer) -> None:
        self.server = server
        self.guild: Guild = server.guild("Acme")
        self.ana: User = server.person("ana", "Ana")
        self.kofi: User = server.person("kofi", "Kofi")
        for who in (self.ana, self.kofi):
            server.member(self.guild, who)
        self.general: Channel = server.channel(self.guild, "general")
        self.app = App()

    async def up(self) -> None:
        self.task = asyncio.create_task(self.app.start(self.server.token))
        up = asyncio.create_task(self.app.is_up.wait())
        await asyncio.wait([self.task, up], return_when=asyncio.FIRST_COMPLETED, timeout=10)
        assert self.app.is_up.is_set(), self.task
        await self.app.tree.sync()

    async def heard(self, number: int = 1) -> list[tuple[str, Any]]:
        """What the app has heard, once it is so much: delivered by the socket, so waited for by looking."""
        async with asyncio.timeout(5):
            while len(self.app.heard) < number:
                await asyncio.sleep(0.002)
        return self.app.heard

    async def asked(self, **options: Any) -> Interaction:
        return await self.server.slash(self.ana, self.general, "summarize", **options)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[DiscordServer]:
    made = DiscordServer()
    await made.start()
    with pointed(made.base):
        yield made
    await made.stop()


@pytest_asyncio.fixture
async def team(server: DiscordServer) -> AsyncIterator[Team]:
    """Ends with the app closed, and nothing broken."""
    made = Team(server)
    made.task = asyncio.create_task(asyncio.sleep(0))
    yield made
    await made.app.close()
    await asyncio.gather(made.task, return_exceptions=True)
    assert server.broken == []
