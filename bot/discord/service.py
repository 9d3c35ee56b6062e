"""Discord in the bot's process: put together from the settings, started, and ended in good order.

The one place where Discord's parts meet. It asks Discord once who we are; after that, deliveries wait for nothing but
the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Mapping
from zoneinfo import ZoneInfo

import structlog

from bot import alerting, feedback, texts
from bot.answers import Summaries
from bot.discord.admin_channel import AdminChannel
from bot.discord.app import Listeners
from bot.discord.changes import Changes
from bot.discord.client import Discord, TokenRefused
from bot.discord.feedback import Feedback
from bot.discord.history import History
from bot.discord.home import Home
from bot.discord.messages import Messages
from bot.discord.people import People
from bot.discord.summarize import Summarize, origin_of
from bot.discord.sync import Sync
from bot.jobs import Handler, Intake, Job, Working
from bot.settings import BotSettings
from engine.learning.settings import LearningSettings
from engine.protocols import EngineClient
from storage.database import Database
from storage.errors import RedraftError


class DiscordService:
    """Discord's part of the process.

    Args:
        intake: stores what is delivered.
        client: the engine.
    """

    def __init__(
        self,
        settings: BotSettings,
        learning: LearningSettings,
        database: Database,
        intake: Intake,
        client: EngineClient,
    ) -> None:
        self._settings, self._learning, self._database = settings, learning, database
        self._intake, self._client = intake, client
        self._discord: Discord | None = None
        self._messages: Messages | None = None
        self._heard = _Heard()
        self._log = structlog.get_logger("discord")

    async def connect(self) -> Mapping[tuple[str, str], Handler]:
        """Learn who we are, and put everything together; what does Discord's jobs.

        Raises:
            TokenRefused: Discord does not take the token.
            Later: Discord cannot be reached.
        """
        settings, database = self._settings, self._database
        assert settings.discord_bot_token is not None
        if self._discord is not None:
            await self._discord.close()
        discord = self._discord = Discord(settings.discord_bot_token.get_secret_value(), settings.discord_api_url)
        await discord.login()
        self._log.info("who we are", app=discord.app)
        people = People(discord)
        messages = self._messages = Messages(discord)
        history = History(discord, people, database, limit=settings.chat_max_messages)
        changes = self._changes = Changes(database, discord, history, people, self._accept_changed)
        reviewers = {
            channel: frozenset(f"discord:{user}" for user in users)
            for channel, users in settings.discord_reviewers_by_channel.items()
        }
        reviews = feedback.Reviews(database, self._learning, platform="discord", reviewers=reviewers)
        said = Feedback(database, self._learning, people, messages, reviews)
        home = Home(database, people, messages, reviews)
        summarize = Summarize(
            database, Summaries(database, self._client), discord, history, people, messages,
            zone=ZoneInfo(settings.discord_timezone), stored=changes.again,
        )  # fmt: skip
        listeners = Listeners(discord, self._intake, changes, at_once=settings.chat_summaries_at_once, modal=said.modal)
        self._heard.listen(discord)
        admin = self._admin = AdminChannel(database, messages, settings.discord_admin_channel)
        self._sync = Sync(database, discord, listeners.tree, settings.discord_guilds.split())
        return {
            ("discord", "summarize"): summarize.run,
            ("discord", "pressed"): said.pressed,
            ("discord", "submitted"): said.submitted,
            ("discord", "redraft"): home.command,
            ("discord", "changed"): changes.changed,
            ("discord", alerting.KIND): admin.post,
        }

    async def _accept_changed(self, guild: int, channel: int, ids: list[str], deleted: bool) -> None:
        moment = f"{asyncio.get_running_loop().time()}"
        named = hashlib.sha256("\0".join((moment, *ids)).encode()).hexdigest()[:32]
        await self._intake.accept(
            Job(
                key=f"discord:changed:{named}",
                platform="discord",
                kind="changed",
                lane="light",
                payload={"guild": str(guild), "place": str(channel), "ids": ids, "deleted": deleted},
            )
        )

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            SettingsError: Discord does not take the token any more, or not this app.
        """
        assert self._discord is not None and self._messages is not None
        tasks = [
            asyncio.create_task(self._discord.listen()),
            asyncio.create_task(self._changes.hourly()),
            asyncio.create_task(self._sync.run()),
            asyncio.create_task(_refused(self._discord)),
        ]
        if self._settings.discord_admin_channel:
            tasks.append(asyncio.create_task(self._admin.run()))
        try:
            waiting: set[asyncio.Task[None]] = set(tasks)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def failed(self, working: Working, error: RedraftError | None) -> None:
        """Tell somebody that what they asked for could not be done."""
        if self._messages is not None and working.job.payload.get("user"):
            # What was shown of it before stays.
            first = not any(working.progress.get(name) for name in ("done", "pages", "posted"))
            await self._messages.tell(origin_of(working), texts.of_error(error), first=first)

    def figures(self) -> Mapping[str, float]:
        """How the connection is."""
        if self._discord is None:
            return {"connected": 0.0}
        return self._heard.figures(self._discord)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._discord is not None:
            with contextlib.suppress(Exception):
                await self._discord.close()


class _Heard:
    """Counts what the gateway delivers."""

    def __init__(self) -> None:
        self.connections = self.deliveries = 0
        self.at = 0.0
        #: Shards that are connected.
        self.up: set[int] = set()

    def listen(self, discord: Discord) -> None:
        self.up.clear()

        async def on_shard_connect(shard: int) -> None:
            self.connections += 1
            self.up.add(shard)

        async def on_shard_resumed(shard: int) -> None:
            await on_shard_connect(shard)

        async def on_shard_disconnect(shard: int) -> None:
            self.up.discard(shard)

        async def on_socket_event_type(_name: str) -> None:
            self.deliveries += 1
            self.at = time.monotonic()

        for listener in (on_shard_connect, on_shard_resumed, on_shard_disconnect, on_socket_event_type):
            discord.client.event(listener)

    def figures(self, discord: Discord) -> dict[str, float]:
        client = discord.client
        up = not client.is_closed() and bool(self.up) and len(self.up) >= (client.shard_count or 1)
        found = {"connected": float(up), "connections": float(self.connections), "deliveries": float(self.deliveries)}
        if self.at:
            found["silence_seconds"] = round(time.monotonic() - self.at, 1)
        return found


async def _refused(discord: Discord) -> None:
    """Wait until a call finds the token refused, which the gateway learns only when it has to connect again."""
    await discord.refused.wait()
    raise TokenRefused(
        "Discord does not take the bot's token any more.",
        "Reset it on the Bot page of the developer portal, and set DISCORD_BOT_TOKEN to the new one.",
    )
