"""Slack's deliveries, by bolt, into jobs: each is stored by one insert and then acknowledged; nothing else before it.

Listeners translate and hold no logic. bolt would ask Slack who we are before the first listener, and acknowledge events
before it runs them; both are told otherwise here. What a listener cannot store is not acknowledged, so that Slack
delivers it again, and says so where a person waits for an answer.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import structlog
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot import texts
from bot.jobs import Accepted, Intake, Job, Lane
from bot.slack import blocks, modals
from bot.slack.client import Slack
from bot.slack.modals import Remembered
from bot.slack.words import Words
from bot.when import NotUnderstood, parse
from storage.errors import StorageError

#: What these listeners are of, for the manifest's test.
COMMANDS = ("/summarize", "/redraft")
EVENTS = ("app_home_opened", "app_mention", "message.channels", "message.groups", "reaction_added")
SHORTCUT = "summarize_thread"
_CLICKS = (
    blocks.SHARE, blocks.CORRECT, blocks.OWN, blocks.UP, blocks.DOWN, blocks.SOURCES, blocks.SHOW,
    blocks.APPROVE, blocks.REJECT, blocks.EDIT,
)  # fmt: skip
_MODALS = (modals.CORRECT, modals.REASON, modals.REJECT, modals.EDIT)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are in Slack, as ``auth.test`` said at start."""

    team: str
    enterprise: str
    user: str
    bot: str
    name: str
    host: str


class Listeners:
    """bolt's app with our listeners.

    Args:
        at_once: summaries under way at once; beyond it people are told how many are before theirs.
        reaction: the emoji that asks for a summary, or empty.
    """

    def __init__(
        self, slack: Slack, intake: Intake, identity: Identity, words: Words, *, at_once: int, reaction: str
    ) -> None:
        self._intake, self._identity, self._words = intake, identity, words
        self._at_once, self._reaction = at_once, reaction
        self._log = structlog.get_logger("slack.app")
        logger = logging.getLogger("slack-bolt")
        # bolt logs the bodies of requests that nobody listens to.
        logger.setLevel(logging.CRITICAL)
        self._app = AsyncApp(
            name="redraft",
            client=slack.web,
            logger=logger,
            authorize=_authorizer(identity),
            process_before_response=True,
            request_verification_enabled=False,
            ssl_check_enabled=False,
            url_verification_enabled=False,
            attaching_function_token_enabled=False,
        )
        self._app.command("/summarize")(self._summarize)
        self._app.command("/redraft")(self._redraft)
        self._app.shortcut(SHORTCUT)(self._shortcut)
        self._app.event("app_mention")(self._mention)
        self._app.event("reaction_added")(self._reacted)
        self._app.event("app_home_opened")(self._home)
        self._app.event({"type": "message", "subtype": "message_changed"})(self._changed)
        self._app.event({"type": "message", "subtype": "message_deleted"})(self._changed)
        for action in (*_CLICKS, blocks.OPT_OUT, blocks.OPT_IN):
            self._app.action(action)(self._click)
        for callback in _MODALS:
            self._app.view(callback)(self._submitted)
        self._app.view_closed(modals.CORRECT)(self._closed)
        self._app.error(self._failed)

    async def take(self, envelope: dict[str, Any]) -> dict[str, Any] | None:
        """An envelope of Socket Mode; what is acknowledged with it.

        Raises:
            StorageError: it was not stored, and is to come again.
        """
        payload = envelope.get("payload")
        if not isinstance(payload, dict):
            return None
        request = AsyncBoltRequest(mode="socket_mode", body=payload)
        answer = await self._app.async_dispatch(request)
        if answer.status >= 500:
            raise StorageError("The delivery was not stored.")
        # 404: nobody listens to this one (messages as they are written, and whatever Slack adds).
        if answer.status != 200 or not answer.body:
            return None
        try:
            body = json.loads(answer.body)
        except ValueError:
            return {"text": answer.body}
        return body if isinstance(body, dict) else None

    async def _failed(self, error: Exception) -> BoltResponse:
        self._log.error("a delivery was not stored", exc_info=error)
        return BoltResponse(status=500)

    async def _accept(self, key: str, kind: str, lane: Lane, user: str, **payload: Any) -> Accepted:
        return await self._intake.accept(
            Job(
                key=f"slack:{self._identity.team}:{kind}:{key}",
                platform="slack",
                kind=kind,
                lane=lane,
                person=f"slack:{user}" if user else "",
                payload={"user": user, **payload},
            )
        )

    def _mine(self, body: dict[str, Any]) -> bool:
        """Whether it is of this workspace; a channel shared with another delivers that one's as well."""
        team = body.get("team_id") or (body.get("team") or {}).get("id")
        return team in (None, "", self._identity.team)

    # Commands, shortcut, events -------------------------------------------------------------------------------------

    async def _summarize(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        text = str(body.get("text") or "")
        try:
            ask = parse(text, self._words.read)
        except NotUnderstood as error:
            await ack(response_type="ephemeral", text=blocks.escape(str(error)))
            return
        if ask.help:
            await ack(response_type="ephemeral", text=_help("/summarize"))
            return
        try:
            accepted = await self._accept(
                str(body["trigger_id"]), "summarize", "summary", str(body["user_id"]),
                channel=str(body["channel_id"]), text=text, respond=str(body.get("response_url") or ""),
            )  # fmt: skip
        except StorageError:
            await ack(response_type="ephemeral", text=blocks.escape(texts.NOT_STORED))
            return
        if not accepted.new:
            await ack()
            return
        said = texts.waiting(accepted.ahead) if accepted.ahead >= self._at_once else texts.READING
        await ack(response_type="ephemeral", text=blocks.escape(said))

    async def _redraft(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        word, _, rest = str(body.get("text") or "").strip().partition(" ")
        if word.lower() == "summarize":
            await self._summarize(ack, {**body, "text": rest})
            return
        if word.lower() not in ("mydata", "optout", "optin", "recent"):
            await ack(response_type="ephemeral", text=blocks.escape(texts.REDRAFT_HELP))
            return
        try:
            await self._accept(
                str(body["trigger_id"]), "redraft", "light", str(body["user_id"]), word=word.lower(),
                channel=str(body["channel_id"]), respond=str(body.get("response_url") or ""),
            )  # fmt: skip
        except StorageError:
            await ack(response_type="ephemeral", text=blocks.escape(texts.NOT_STORED))
            return
        await ack()

    async def _shortcut(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        message = body["message"]
        thread = str(message.get("thread_ts") or message["ts"])
        await self._accept(
            str(body["trigger_id"]), "summarize", "summary", str(body["user"]["id"]),
            channel=str(body["channel"]["id"]), text="", thread=thread, reply_to=thread,
            respond=str(body.get("response_url") or ""),
        )  # fmt: skip
        await ack()

    async def _mention(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        event = body["event"]
        user, text = str(event.get("user") or ""), str(event.get("text") or "")
        if user and not event.get("bot_id") and self._mine(body):
            said = text.partition(f"<@{self._identity.user}>")[2].strip()
            word, _, rest = said.partition(" ")
            thread = str(event.get("thread_ts") or "")
            if word.lower() in ("summarize", "summarise", "summary", "tldr", ""):
                await self._accept(
                    str(body["event_id"]), "summarize", "summary", user, channel=str(event["channel"]),
                    text=rest.strip() if word else "", thread=thread, reply_to=thread or str(event["ts"]), public=True,
                )  # fmt: skip
            else:
                await self._accept(
                    str(body["event_id"]), "unclear", "light", user, channel=str(event["channel"]), thread=thread
                )
        await ack()

    async def _reacted(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        event = body["event"]
        item = event.get("item") or {}
        wanted = self._reaction and str(event.get("reaction") or "").partition("::")[0] == self._reaction
        if wanted and item.get("type") == "message" and self._mine(body):
            await self._accept(
                str(body["event_id"]), "summarize", "summary", str(event["user"]), channel=str(item["channel"]),
                text="", thread=str(item["ts"]), reply_to=str(item["ts"]),
            )  # fmt: skip
        await ack()

    async def _home(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        event = body["event"]
        if event.get("tab") == "home":
            await self._accept(str(body["event_id"]), "home", "light", str(event["user"]))
        await ack()

    async def _changed(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        event = body["event"]
        deleted = event["subtype"] == "message_deleted"
        message = event.get("message") or {}
        before = event.get("previous_message") or {}
        if message.get("subtype") == "tombstone":
            deleted = True
        if self._identity.bot in (message.get("bot_id"), before.get("bot_id")):
            await ack()  # an answer of ours that was brought up to date
            return
        # Slack also reports previews and counts of replies as changes.
        said = ("text", "blocks", "files", "attachments")
        if deleted or any(message.get(name) != before.get(name) for name in said):
            ts = str(event.get("deleted_ts") or message.get("ts") or before.get("ts"))
            await self._accept(
                str(body["event_id"]), "changed", "light", "", channel=str(event["channel"]), ts=ts, deleted=deleted
            )
        await ack()

    # Clicks and modals ----------------------------------------------------------------------------------------------

    async def _click(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        action, user = body["actions"][0], str(body["user"]["id"])
        where = body.get("container") or {}
        trigger = str(body["trigger_id"])
        if action["action_id"] in (blocks.OPT_OUT, blocks.OPT_IN):
            await self._accept(trigger, "redraft", "light", user, word=str(action["value"]))
        else:
            await self._accept(
                trigger, "click", "light", user, action=str(action["action_id"]), value=str(action["value"]),
                trigger=trigger, respond=str(body.get("response_url") or ""),
                channel=str(where.get("channel_id") or ""), thread=str(where.get("thread_ts") or ""),
                private=where.get("is_ephemeral") is True,
            )  # fmt: skip
        await ack()

    async def _closed(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        view = body["view"]
        await self._accept(
            f"{view['id']}.{view.get('hash', '')}", "closed", "light", str(body["user"]["id"]),
            remembered=str(view["private_metadata"]),
        )  # fmt: skip
        await ack()

    async def _submitted(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        view, user = body["view"], str(body["user"]["id"])
        remembered = Remembered.load(str(view["private_metadata"]))
        callback = str(view["callback_id"])
        texted = callback in (modals.CORRECT, modals.EDIT)
        text = modals.text_of(view, remembered) if texted else modals.value_of(view, "reason")
        block = "text0" if texted else "reason"
        if callback != modals.REASON and not any(character.isalnum() for character in text):
            await ack(response_action="errors", errors={block: texts.EMPTY_TEXT})
            return
        try:
            await self._accept(
                str(body["trigger_id"]), "submitted", "light", user, modal=callback,
                remembered=str(view["private_metadata"]), text=text, choice=modals.value_of(view, "about"),
            )  # fmt: skip
        except StorageError:
            await ack(response_action="errors", errors={block: texts.NOT_STORED})
            return
        await ack()


def _authorizer(me: Identity) -> Callable[..., Awaitable[AuthorizeResult]]:
    """What bolt asks before each listener; a function, because bolt hands a method's `self` in by name."""

    async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=me.enterprise or None, team_id=me.team, bot_user_id=me.user, bot_id=me.bot)

    return authorize


def _help(command: str) -> str:
    lines = [f"• `{command} {blocks.escape(what)}`: {blocks.escape(means)}" for what, means in texts.HELP[1:]]
    first = f"• `{command}`: {blocks.escape(texts.HELP[0][1])}"
    return "\n".join((blocks.escape(texts.HELP_TITLE), first, *lines, blocks.escape(texts.HELP_PARTS)))
