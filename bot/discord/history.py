"""Reading Discord's messages: threads, forum posts and stretches of channels, into conversations.

Newest first within the limit, as Discord gives them whatever is asked for; what of a stretch did not fit is counted as
far as two further pages. Whoever opted out is left out before anything is made of the messages, and so are the app's
own. Rights are asked elsewhere.
"""

from __future__ import annotations

import asyncio
import re
from datetime import datetime

import discord

from bot import texts
from bot.chat import MessageGone, NotThere, Read
from bot.discord.client import Discord, DiscordRefused
from bot.discord.people import People, Seen
from bot.discord.reading import THREAD_STARTER, Raw, author_of, id_of, mentioned_in, readable
from engine.conversation import Conversation, Message
from engine.formats.values import as_dict, clean, clean_name, conversation_id, dicts, identifier
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import NotPermitted

_PAGE = 100
#: Messages that are read only to count what was left out.
_COUNTED = 200
_CHANNEL = re.compile(r"<#(\d{15,20})>")


class History:
    """Reads messages.

    Args:
        people: names.
        database: says who opted out.
        limit: most messages of one conversation.
    """

    def __init__(self, connection: Discord, people: People, database: Database, *, limit: int) -> None:
        self._discord, self._people, self._database, self._limit = connection, people, database, limit

    async def whole(self, seen: Seen) -> Read:
        """A thread or forum post from its first message on.

        Raises:
            NotThere: there is nothing in it.
        """
        raw, more = await self._newest(seen, self._limit, 0)
        if not more and (first := await self.first(seen)) is not None and id_of(first) not in set(map(id_of, raw)):
            raw.append(first)
        if not raw:
            raise NotThere(texts.THREAD_GONE)
        return await self._read(seen, raw, more=more, whole=True)

    async def stretch(
        self, seen: Seen, *, oldest: datetime | int | None = None, count: int = 0, at_least: int = 0
    ) -> Read:
        """A stretch of a channel or thread up to now.

        Args:
            oldest: where it begins: a moment, or the id of its first message; None reaches back as ``count`` wants.
            count: so many of the newest messages.
            at_least: where fewer were written since ``oldest``, so many of the newest.
        """
        if isinstance(oldest, datetime):
            oldest = discord.utils.time_snowflake(oldest)
        wanted = min(count or self._limit, self._limit)
        raw, more = await self._newest(seen, wanted, 0 if count else oldest or 0, counting=not count)
        if len(raw) < at_least:
            raw, more, wanted, count = (await self._newest(seen, at_least, 0, counting=False))[0], False, at_least, 1
        return await self._read(seen, raw, limit=wanted, more=more, counted=count > 0)

    async def message(self, channel: int, message_id: int) -> Raw:
        """One message of a channel or thread, as it is now.

        Raises:
            MessageGone: it is not there any more.
        """
        path = "/channels/{channel_id}/messages/{message_id}"
        found = await self._discord.request("GET", path, channel_id=channel, message_id=message_id)
        return found if isinstance(found, dict) else {}

    async def _newest(self, seen: Seen, wanted: int, first: int, *, counting: bool = True) -> tuple[list[Raw], bool]:
        """The newest messages from ``first`` on, and further ones for counting; whether there are more still.

        The app's own do not count, and neither do those of the system.
        """
        found: list[Raw] = []
        most = wanted + (_COUNTED if counting else 0)
        before = 0
        while True:
            page = await self.page(seen, before=before)
            for message in page:
                if id_of(message) < first:
                    return found, False
                if self._counts(message):
                    if len(found) == most:
                        return found, counting
                    found.append(message)
            if len(page) < _PAGE:
                return found, False
            before = id_of(page[-1])

    async def page(self, seen: Seen, *, before: int = 0) -> list[Raw]:
        """Up to a hundred messages, newest first; those before one, or the newest of all."""
        query = {"limit": _PAGE} | ({"before": before} if before else {})
        found = await self._discord.request("GET", "/channels/{channel_id}/messages", query=query, channel_id=seen.id)
        # Not trusted to be in order, because what is left out depends on it.
        return sorted(dicts(found), key=id_of, reverse=True)

    def _counts(self, message: Raw) -> bool:
        me = self._discord.client.user
        return message.get("type") != THREAD_STARTER and (me is None or id_of(author_of(message)) != me.id)

    def beginning(self, seen: Seen) -> int:
        """The id of the channel or thread in which the message is that a thread hangs under."""
        thread = seen.raw
        if not isinstance(thread, discord.Thread) or isinstance(thread.parent, discord.ForumChannel):
            return thread.id
        return thread.parent_id

    async def first(self, seen: Seen) -> Raw | None:
        """The message that a thread hangs under, which has the thread's id: in its channel, or a forum post's own."""
        thread = seen.raw
        if not isinstance(thread, discord.Thread) or thread.is_private():
            return None
        try:
            return await self.message(self.beginning(seen), thread.id)
        except (MessageGone, NotThere):  # a thread that hangs under none
            return None

    async def _read(
        self,
        seen: Seen,
        raw: list[Raw],
        *,
        limit: int = 0,
        more: bool = False,
        counted: bool = False,
        whole: bool = False,
    ) -> Read:
        out = await asyncio.to_thread(self._opted_out)
        raw = [one for one in raw if id_of(author_of(one)) not in out]
        older, most = 0, limit or self._limit
        if len(raw) > most:
            # Of a number that was asked for, the rest is not left out: it was not wanted.
            older = 0 if counted else len(raw) - most
            raw = sorted(raw, key=id_of)[-most:]
        messages = await self.readable(seen, raw)
        place = seen.place
        ids = sorted(map(id_of, raw))
        name = ("thread", place.thread) if whole else ("stretch", *map(str, (*ids[:1], *ids[-1:])))
        conversation = Conversation(
            id=conversation_id("discord", (place.workspace, place.channel, *name)),
            messages=messages,
            platform="discord",
            title=seen.title,
            workspace=place.workspace,
            channel=place.channel,
            thread=place.thread,
            public=seen.public,
        )
        return Read(conversation, older, more)

    async def readable(self, seen: Seen, raw: list[Raw]) -> tuple[Message, ...]:
        """Messages as people read them; what somebody forwards of who opted out is left out of theirs."""
        if out := await asyncio.to_thread(self._opted_out):
            raw = [await self._without_forwarded(one, out) for one in raw]
        # Those who wrote come first: of very many, not all are asked for what they are called here.
        people = [author_of(one) for one in raw] + [user for one in raw for user in mentioned_in(one)]
        names = await self._people.names(seen.guild, people)
        said = " ".join(clean(one.get("content")) for one in raw)
        channels = self._people.channel_names(seen.guild, {int(one) for one in _CHANNEL.findall(said)})
        roles = {str(role.id): clean_name(role.name) for role in seen.guild.roles}
        return await asyncio.to_thread(
            readable, raw, users=names, roles=roles, channels=channels, guild=seen.guild.id, channel=seen.id
        )

    async def _without_forwarded(self, raw: Raw, out: frozenset[int]) -> Raw:
        """A message without what it forwards, where that is of somebody in ``out`` or nobody can tell whose it is."""
        if not raw.get("message_snapshots"):
            return raw
        of = as_dict(raw.get("message_reference"))
        channel, message = identifier(of.get("channel_id")), identifier(of.get("message_id"))
        try:
            if channel.isdigit() and message.isdigit():
                original = await self.message(int(channel), int(message))
                if id_of(author_of(original)) not in out:
                    return raw
        except (NotThere, NotPermitted, DiscordRefused):
            pass
        return raw | {"message_snapshots": []}

    def _opted_out(self) -> frozenset[int]:
        with self._database.read() as session:
            found = queries.opted_out(session=session, platform="discord")
        return frozenset(int(account) for one in found if (account := one.partition(":")[2]).isdigit())
