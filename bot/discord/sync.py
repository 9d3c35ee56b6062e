"""Telling Discord the commands, when their definitions have changed and not otherwise: a hash of them is remembered.

Globally, or to the guilds that the settings list; where that changes, the commands leave where they are no longer
offered. Discord lets an app do so only so often a day.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import discord
import structlog
from discord import app_commands

from bot.chat import NotThere
from bot.discord.client import Discord, DiscordRefused
from bot.discord.commands import fingerprint
from bot.jobs import Later
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import NotPermitted, SettingsError, StorageError

_EVERYWHERE, _NONE = "", "none"
_MOST_WAIT_S = 600.0


class Sync:
    """Brings Discord's commands to what they are here.

    Args:
        tree: with the commands, as global ones.
        guilds: ids of the guilds that they are offered in; none offers them everywhere.
    """

    def __init__(
        self, database: Database, connection: Discord, tree: app_commands.CommandTree[Any], guilds: Sequence[str]
    ) -> None:
        self._database, self._discord, self._tree, self._guilds = database, connection, tree, guilds
        self._log = structlog.get_logger("discord.sync")

    async def run(self) -> None:
        """Until it is done; what cannot be done is tried again."""
        wait = 5.0
        while True:
            try:
                await self.look()
                return
            except SettingsError:
                raise
            except (Later, StorageError, DiscordRefused, discord.DiscordException) as error:
                self._log.warning("the commands were not told to Discord", reason=type(error).__name__)
            await asyncio.sleep(wait)
            wait = min(2 * wait, _MOST_WAIT_S)

    async def look(self) -> int:
        """Tell Discord what has changed; to how many places."""
        told = await asyncio.to_thread(self._told)
        here = fingerprint(self._tree)
        wanted = dict.fromkeys(self._guilds or [_EVERYWHERE], here)
        # Where they were offered before and are not any more, they go.
        wanted |= {place: _NONE for place, before in told.items() if place not in wanted and before != _NONE}
        count = 0
        for place, now in wanted.items():
            if told.get(place) != now:
                await self._tell(place, now)
                count += 1
        return count

    async def _tell(self, place: str, now: str) -> None:
        commands = [] if now == _NONE else [one.to_dict(self._tree) for one in self._tree.get_commands()]
        path = "/applications/{application_id}" + ("/guilds/{guild_id}" if place else "") + "/commands"
        given: dict[str, Any] = {"application_id": self._discord.app} | ({"guild_id": place} if place else {})
        try:
            await self._discord.request("PUT", path, commands, **given)
        except (NotThere, NotPermitted):
            self._log.warning("the app may not offer its commands in a server", guild=place)
            return
        await asyncio.to_thread(self._remember, place, now)
        self._log.info("commands were told to Discord", guild=place or "everywhere", number=len(commands))

    @property
    def _mark(self) -> str:
        return f"discord.commands:{self._discord.app}:"

    def _told(self) -> dict[str, str]:
        with self._database.read() as session:
            rows = queries.marks(session=session, beginning=self._mark)
            return {row.name.removeprefix(self._mark): row.value for row in rows}

    def _remember(self, place: str, value: str) -> None:
        with self._database.write() as session:
            queries.save_mark(session=session, name=self._mark + place, value=value, at=datetime.now(UTC))
