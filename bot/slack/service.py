"""Slack in the bot's process: put together from the settings, started, and ended in good order.

The one place where Slack's parts meet. It asks Slack once who we are; after that, deliveries wait for nothing but the
database.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from urllib.parse import urlsplit

import structlog

from bot import alerting, feedback, texts
from bot.answers import Summaries
from bot.jobs import Handler, Intake, Later, Working
from bot.settings import BotSettings
from bot.slack.admin_channel import AdminChannel
from bot.slack.app import Identity, Listeners
from bot.slack.changes import Changes
from bot.slack.client import Pace, Slack, SlackRefused, TokenRefused
from bot.slack.feedback import Feedback
from bot.slack.history import History
from bot.slack.home import Home
from bot.slack.messages import Messages, Origin
from bot.slack.people import People
from bot.slack.socket import Socket
from bot.slack.summarize import Summarize
from bot.slack.words import Words
from engine.learning.settings import LearningSettings
from engine.protocols import EngineClient
from storage.database import Database
from storage.errors import RedraftError


class SlackService:
    """Slack's part of the process.

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
        self._tasks: list[asyncio.Task[None]] = []
        self._slack: Slack | None = None
        self._socket: Socket | None = None
        self._messages: Messages | None = None
        self._log = structlog.get_logger("slack")

    async def connect(self) -> Mapping[tuple[str, str], Handler]:
        """Learn who we are, and put everything together; what does Slack's jobs.

        Raises:
            TokenRefused: Slack does not take the bot's token.
            Later: Slack cannot be reached.
        """
        settings = self._settings
        assert settings.slack_bot_token is not None
        slack = self._slack = self._slack or Slack(
            settings.slack_bot_token.get_secret_value(), settings.slack_api_url, Pace(settings.slack_pace)
        )
        identity = await self._identity(slack)
        words = Words(identity.host)
        people = People(slack, identity.team, identity.name)
        messages = self._messages = Messages(slack)
        history = History(
            slack, people, self._database, team=identity.team, host=identity.host, bot_user=identity.user,
            limit=settings.chat_max_messages,
        )  # fmt: skip
        reviewers = {
            channel: frozenset(f"slack:{user}" for user in users)
            for channel, users in settings.slack_reviewers_by_channel.items()
        }
        reviews = feedback.Reviews(self._database, self._learning, platform="slack", reviewers=reviewers)
        home = Home(self._database, slack, people, messages, reviews)
        said = Feedback(self._database, self._learning, slack, people, messages, reviews, home.publish)
        summarize = Summarize(
            self._database, Summaries(self._database, self._client), history, people, messages, words,
            team=identity.team, at_once=settings.chat_summaries_at_once,
        )  # fmt: skip
        admin = self._admin = AdminChannel(self._database, messages, settings.slack_admin_channel)
        changes = self._changes = Changes(self._database, slack, history, people)
        self._listeners = Listeners(
            slack, self._intake, identity, words,
            at_once=settings.chat_summaries_at_once, reaction=settings.slack_reaction,
        )  # fmt: skip

        async def unclear(working: Working) -> None:
            given = working.job.payload
            origin = Origin(str(given["user"]), str(given["channel"]), str(given.get("thread") or ""))
            await messages.tell(origin, texts.MENTION_HELP)

        return {
            ("slack", "summarize"): summarize.run,
            ("slack", "click"): said.click,
            ("slack", "submitted"): said.submitted,
            ("slack", "closed"): said.closed,
            ("slack", "home"): home.opened,
            ("slack", "redraft"): home.command,
            ("slack", "changed"): changes.changed,
            ("slack", "unclear"): unclear,
            ("slack", alerting.KIND): admin.post,
        }

    async def _identity(self, slack: Slack) -> Identity:
        me = await slack.call("auth_test")
        host = urlsplit(str(me.get("url") or "")).hostname or ""
        self._log.info("who we are", team=me.get("team_id"), user=me.get("user_id"))
        return Identity(
            team=str(me.get("team_id") or ""),
            enterprise=str(me.get("enterprise_id") or ""),
            user=str(me.get("user_id") or ""),
            bot=str(me.get("bot_id") or ""),
            name=str(me.get("user") or "redraft"),
            host=host,
        )

    async def run(self) -> None:
        """Listen until cancelled.

        Raises:
            TokenRefused: Slack does not take a token any more.
        """
        assert self._slack is not None and self._messages is not None and self._settings.slack_app_token is not None
        app_token = self._settings.slack_app_token.get_secret_value()
        slack = self._slack

        async def address() -> str:
            try:
                return str((await slack.call("apps_connections_open", app_token=app_token))["url"])
            except Later as later:
                await asyncio.sleep(min(later.seconds, 30.0))
                raise
            except SlackRefused as error:
                raise TokenRefused(
                    f"Slack opens no connection for the app token ({error.code}).",
                    "Run `redraft doctor`, which names the switch.",
                ) from error

        self._socket = Socket(slack.session, address, self._listeners.take, proxy=slack.web.proxy)
        tasks = [
            asyncio.create_task(self._socket.run()),
            asyncio.create_task(self._changes.hourly()),
            asyncio.create_task(_refused(slack)),
        ]
        if self._settings.slack_admin_channel:
            tasks.append(asyncio.create_task(self._admin.run()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def failed(self, working: Working, error: RedraftError | None) -> None:
        """Tell somebody that what they asked for could not be done."""
        given = working.job.payload
        if self._messages is None or not given.get("user"):
            return
        origin = Origin(
            user=str(given["user"]),
            channel=str(given.get("channel") or ""),
            thread=str(given.get("reply_to") or given.get("thread") or ""),
            respond=str(given.get("respond") or ""),
            at=working.accepted_at,
        )
        await self._messages.tell(origin, texts.of_error(error))

    def figures(self) -> Mapping[str, float]:
        """How the connection is."""
        if self._socket is None:
            return {"connected": 0.0}
        state = self._socket.state
        return {
            "connected": float(state.connected),
            "connections": float(state.connections),
            "deliveries": float(state.envelopes),
            "silence_seconds": round(self._socket.silence(), 1),
        }

    async def close(self) -> None:
        """Let go of the connections."""
        if self._slack is not None:
            with contextlib.suppress(Exception):
                await self._slack.close()


async def _refused(slack: Slack) -> None:
    """Wait until a call finds the token refused, which the socket learns only when it has to connect again."""
    await slack.refused.wait()
    raise TokenRefused(
        "Slack does not take the bot's token any more.", "Reinstall the app and set its tokens in the .env."
    )
