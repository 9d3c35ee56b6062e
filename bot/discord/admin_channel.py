"""Alerts in Discord's admin channel: each once, with the command to type. Which are new is :mod:`bot.alerting`'s."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from bot import alerting, texts
from bot.chat import NotThere
from bot.discord import embeds
from bot.discord.client import DiscordRefused
from bot.discord.messages import Messages
from bot.jobs import Later, Working
from storage.database import Database
from storage.errors import NotPermitted, StorageError

_LOOK_S = 15.0
#: A channel that cannot be posted to is tried again so often.
_AGAIN_S = 60.0


class AdminChannel:
    """Posts alerts to one channel.

    Args:
        channel: its id; empty where there is none.
    """

    def __init__(self, database: Database, messages: Messages, channel: str) -> None:
        self._database, self._messages, self._channel = database, messages, channel
        self._log = structlog.get_logger("discord.alerts")

    async def run(self) -> None:
        """Look for new alerts until cancelled."""
        while True:
            try:
                await asyncio.to_thread(alerting.take_on, self._database, platform="discord", now=datetime.now(UTC))
            except StorageError as error:
                self._log.warning("alerts were not looked for", reason=error.message)
            except Exception as error:
                self._log.error("looking for alerts broke", exc_info=error)
            await asyncio.sleep(_LOOK_S)

    async def post(self, working: Working) -> None:
        """Post one, as a job; however long the channel cannot be posted to, it is not given up while it is open."""
        row = await asyncio.to_thread(alerting.still_open, self._database, working.job.payload)
        if row is None:
            return
        if not self._channel:
            raise Later(_AGAIN_S)
        sentence, command = texts.alert(row.sentence, row.command)
        try:
            await self._messages.say_once(working, self._channel, embeds.alert(sentence, command))
        except (NotThere, NotPermitted, DiscordRefused) as error:
            self._log.warning("an alert was not posted", reason=type(error).__name__)
            raise Later(_AGAIN_S) from error
