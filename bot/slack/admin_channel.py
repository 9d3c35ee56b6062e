"""Alerts in Slack's admin channel: each once, with the command to type.

What is told is remembered by the alert's key and the time it was raised, so that one which came back is told again, and
none is told twice over a restart or by two processes.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import structlog

from bot import texts
from bot.chat import NotThere
from bot.jobs import Later
from bot.slack import blocks
from bot.slack.client import SlackRefused
from bot.slack.messages import Messages
from engine.learning.alerts import open_alerts
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import AlertRow

_LOOK_S = 15.0
_MARK = "slack.alert:"


class AdminChannel:
    """Posts alerts to one channel."""

    def __init__(self, database: Database, messages: Messages, channel: str) -> None:
        self._database, self._messages, self._channel = database, messages, channel
        self._log = structlog.get_logger("slack.alerts")

    async def run(self) -> None:
        """Look for new alerts until cancelled."""
        while True:
            try:
                await self.look()
            except (StorageError, NotThere, SlackRefused, Later) as error:
                self._log.warning("alerts were not posted", reason=type(error).__name__)
            except Exception as error:
                self._log.error("looking for alerts broke", exc_info=error)
            await asyncio.sleep(_LOOK_S)

    async def look(self) -> int:
        """Post what is new; how many."""
        new = await asyncio.to_thread(self._claim)
        for number, row in enumerate(new):
            sentence, command = texts.alert(row.sentence, row.command)
            lines = blocks.escape(sentence) + (f"\n```{blocks.escape(command)}```" if command else "")
            try:
                await self._messages.say(self._channel, blocks.escape(sentence), [blocks.section(lines)])
            except BaseException:
                await asyncio.to_thread(self._unclaim, new[number:])
                raise
        return len(new)

    def _claim(self) -> list[AlertRow]:
        with self._database.read() as session:
            told = {row.name: row.value for row in queries.marks(session=session, beginning=_MARK)}
            rows = open_alerts(session)
            if all(told.get(_MARK + row.key) == row.raised_at.isoformat() for row in rows):
                return []
        with self._database.write() as session:
            told = {row.name: row.value for row in queries.marks(session=session, beginning=_MARK)}
            new = [row for row in open_alerts(session) if told.get(_MARK + row.key) != row.raised_at.isoformat()]
            for row in new:
                queries.save_mark(
                    session=session, name=_MARK + row.key, value=row.raised_at.isoformat(), at=datetime.now(UTC)
                )
        return list(new)

    def _unclaim(self, rows: list[AlertRow]) -> None:
        with self._database.write() as session:
            for row in rows:
                queries.delete_mark(session=session, name=_MARK + row.key)
