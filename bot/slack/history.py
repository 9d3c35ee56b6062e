"""Reading Slack's messages: threads and stretches of channels, with their replies, into conversations.

Newest first within the limit; what of a stretch did not fit is counted as far as two further pages. Whoever opted out
is left out before anything is made of the messages, and so are requests to the app itself. Rights are asked elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import re
from datetime import UTC, datetime
from typing import Any

from bot import texts
from bot.chat import MessageGone, NotThere, Read
from bot.slack.client import Slack
from bot.slack.left_out import without
from bot.slack.people import Channel, People
from engine.conversation import Conversation, Message
from engine.formats.slack import messages_of
from engine.formats.values import conversation_id, dicts
from storage import chat_queries as queries
from storage.database import Database

_PAGE = 200
#: Pages that are read only to count what was left out.
_COUNTED_PAGES = 2
#: Threads read at once; calls are paced beside that.
_AT_ONCE = 4
_USER = re.compile(r'<@([UW][A-Z0-9]+)|"user_id": "([UW][A-Z0-9]+)"')
_CHANNEL = re.compile(r'<#([CG][A-Z0-9]+)(?:>|\|>)|"channel_id": "([CG][A-Z0-9]+)"')


class History:
    """Reads messages.

    Args:
        slack: the client.
        people: names.
        database: says who opted out.
        team, host: the workspace's id and its host, for permalinks.
        bot_user: the app's own user.
        limit: most messages of one conversation.
    """

    def __init__(
        self, slack: Slack, people: People, database: Database, *, team: str, host: str, bot_user: str, limit: int
    ) -> None:
        self._slack, self._people, self._database = slack, people, database
        self._team, self._host, self._bot_user, self._limit = team, host, bot_user, limit

    async def thread(self, channel: Channel, ts: str) -> Read:
        """The thread of a message, which may be a reply in it or stand alone.

        Raises:
            NotThere: there is no such message.
        """
        raw = await self._replies(channel.id, ts)
        root = str(raw[0].get("thread_ts") or ts) if raw else ts
        if raw and root != ts and root != str(raw[0].get("ts")):
            raw = await self._replies(channel.id, root)
        if not raw:
            raise NotThere(texts.THREAD_GONE)
        return await self._read(channel, raw, thread=root)

    async def stretch(
        self, channel: Channel, *, oldest: datetime | None = None, count: int = 0, at_least: int = 0
    ) -> Read:
        """A stretch of a channel up to now, with the replies to its messages.

        Args:
            oldest: where it begins; None reaches back as far as ``count`` wants.
            count: so many of the newest messages.
            at_least: where fewer were written since ``oldest``, so many of the newest.
        """
        since = f"{oldest.timestamp():.6f}" if oldest is not None and not count else ""
        wanted = min(count or self._limit, self._limit)
        raw, more = await self._newest(channel.id, wanted, since)
        if len(raw) < at_least:
            raw, more, wanted, since = (await self._newest(channel.id, at_least, ""))[0], False, at_least, ""
            count = at_least
        found = await self._with_replies(channel.id, raw, since, wanted)
        if since:
            found += await self._older_threads(channel.id, since)
        return await self._read(channel, found, limit=wanted, more=more, counted=count > 0)

    async def _newest(self, channel: str, wanted: int, oldest: str) -> tuple[list[dict[str, Any]], bool]:
        """The newest messages of a channel, and further ones for counting; whether there are more still."""
        found: list[dict[str, Any]] = []
        beyond = 0
        given = {"oldest": oldest, "inclusive": True} if oldest else {}
        async for page in self._slack.pages("conversations_history", channel=channel, limit=_PAGE, **given):
            found += dicts(page.get("messages"))
            if len(found) >= wanted:
                beyond += 1
                if not oldest or beyond > _COUNTED_PAGES:
                    return found, bool(page.get("has_more")) and bool(oldest)
        return found, False

    async def _with_replies(
        self, channel: str, raw: list[dict[str, Any]], oldest: str, most: int
    ) -> list[dict[str, Any]]:
        limit = asyncio.Semaphore(_AT_ONCE)
        # The newest come first; what is beyond the limit is only counted, and its replies are not read.
        parents = [
            one
            for one in raw[:most]
            if one.get("reply_count") and float(one.get("latest_reply") or 0) >= float(oldest or 0)
        ]

        async def replies(parent: dict[str, Any]) -> list[dict[str, Any]]:
            async with limit:
                try:
                    return await self._replies(channel, str(parent["ts"]), oldest)
                except MessageGone:  # since the page was read
                    return []

        read = await asyncio.gather(*(replies(parent) for parent in parents))
        known = {str(one.get("ts")) for one in raw}
        return raw + [one for thread in read for one in thread if str(one.get("ts")) not in known]

    async def _older_threads(self, channel: str, since: str) -> list[dict[str, Any]]:
        """What was answered since in threads that had begun before, as far back as one page; with their first messages.

        Slack lists a channel's messages by when threads began, so that what goes on in older ones is not among them.
        """
        answer = await self._slack.call("conversations_history", channel=channel, latest=since, limit=_PAGE)
        raw = dicts(answer.get("messages"))
        alive = [one for one in raw if float(one.get("latest_reply") or 0) >= float(since)]
        return await self._with_replies(channel, alive, since, len(alive)) if alive else []

    async def _replies(self, channel: str, ts: str, oldest: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        given = {"oldest": oldest, "inclusive": True} if oldest else {}
        async for page in self._slack.pages("conversations_replies", channel=channel, ts=ts, limit=_PAGE, **given):
            found += dicts(page.get("messages"))
        return found

    async def _read(
        self,
        channel: Channel,
        raw: list[dict[str, Any]],
        *,
        thread: str = "",
        limit: int = 0,
        more: bool = False,
        counted: bool = False,
    ) -> Read:
        raw = [one for one in raw if not self._to_the_app(one)]
        messages = await self.readable(channel.id, raw)
        older = 0
        if len(messages) > (most := limit or self._limit):
            kept = {one.id for one in sorted(messages, key=_order)[-most:]}
            # Of a number that was asked for, the rest is not left out: it was not wanted.
            older = 0 if counted else len(messages) - most
            messages = tuple(one for one in messages if one.id in kept)
        ordered = sorted(one.id for one in messages)
        name = ("thread", thread) if thread else ("stretch", *ordered[:1], *ordered[-1:])
        conversation = Conversation(
            id=conversation_id("slack", (self._team, channel.id, *name)),
            messages=messages,
            platform="slack",
            title=channel.title,
            workspace=self._team,
            channel=channel.id,
            thread=thread,
            public=channel.public,
            direct=channel.direct,
        )
        return Read(conversation, older, more)

    async def readable(self, channel_id: str, raw: list[dict[str, Any]]) -> tuple[Message, ...]:
        """Messages as people read them, without what people wrote who opted out, also where others share it."""
        raw = without(raw, await asyncio.to_thread(self._opted_out))
        said = json.dumps(raw)
        users = {str(one.get("user")) for one in raw if one.get("user")} | _found(_USER, said)
        people = await self._people.names(users)
        channels = await self._people.channel_names(_found(_CHANNEL, said))
        return await asyncio.to_thread(
            messages_of,
            raw,
            users={key: user.name for key, user in people.items()},
            channels=channels,
            bots={key for key, user in people.items() if user.bot},
            channel=channel_id,
            host=self._host,
        )

    def _opted_out(self) -> frozenset[str]:
        with self._database.read() as session:
            return frozenset(one.partition(":")[2] for one in queries.opted_out(session=session, platform="slack"))

    def _to_the_app(self, raw: dict[str, Any]) -> bool:
        """Whether a message is a request to the app: it begins with a mention of it."""
        return str(raw.get("text") or "").lstrip().startswith(f"<@{self._bot_user}>") or (
            raw.get("user") == self._bot_user
        )


def _found(pattern: re.Pattern[str], text: str) -> set[str]:
    return {one or other for one, other in pattern.findall(text)}


def _order(message: Message) -> tuple[datetime, str]:
    return message.time or datetime.min.replace(tzinfo=UTC), message.id
