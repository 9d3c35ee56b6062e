"""Summaries that were asked for in Discord: from the accepted job to the answer.

One job may ask for several conversations (links); each is read, written and shown by itself, and remembered as done, so
that a job that is done again shows none twice. What somebody may not read, or what is not there, is told to them and
ends that part; everything else that goes wrong is the job's to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bot import texts
from bot.answers import Summaries, record_shown, shown
from bot.chat import NotThere, Read
from bot.discord.client import ChannelGone, Discord, TokenOver
from bot.discord.history import History
from bot.discord.messages import Messages, Origin, Writer
from bot.discord.people import People, Seen
from bot.discord.words import ask_of
from bot.jobs import Later, Working
from bot.when import Ask, NotUnderstood, since
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import InputError, NotPermitted, OptionNotHonoured

#: What `/summarize` alone means in a channel: a day, but at least so many messages.
_DAY, _AT_LEAST = timedelta(days=1), 20
#: What is told to the asker and ends there.
_TOLD = (NotUnderstood, NotThere, NotPermitted, InputError, OptionNotHonoured)


@dataclass(frozen=True, slots=True)
class Target:
    """One conversation to summarise.

    Attributes:
        channel: the channel or thread.
        message: the message whose thread is meant, or from which on, or 0.
        thread_only: it has to have a thread.
        start: it is read from that message on, whether it has a thread or not.
    """

    channel: int
    ask: Ask
    message: int = 0
    thread_only: bool = False
    start: bool = False


class Summarize:
    """Does the jobs.

    Args:
        zone: of what people type.
        stored: told of the messages of a summary and when they were read, once both are stored.
    """

    def __init__(
        self,
        database: Database,
        summaries: Summaries,
        connection: Discord,
        history: History,
        people: People,
        messages: Messages,
        *,
        zone: ZoneInfo,
        stored: Callable[[Collection[str], datetime], Awaitable[None]],
    ) -> None:
        self._database, self._summaries, self._discord = database, summaries, connection
        self._history, self._people, self._messages = history, people, messages
        self._zone, self._stored = zone, stored

    async def run(self, working: Working) -> None:
        """Summarise what a job asks for.

        The payload has ``user``, ``guild``, ``channel``, ``token``, ``options`` (see :func:`bot.discord.words.ask_of`),
        ``public``, and where a message's menu was used ``message`` and ``from_here``.
        """
        given = working.job.payload
        origin = origin_of(working)
        try:
            targets = self._targets(given)
            await self._may_read_contents()
        except _TOLD as error:
            await self._messages.tell(origin, str(error))
            return
        for number, target in enumerate(targets):
            if number in working.progress.get("done", ()):
                continue
            try:
                await self._one(working, origin, target, first=number == 0)
            except _TOLD as error:
                await self._messages.tell(origin, str(error), first=number == 0)
            if number + 1 < len(targets):  # the last one ends the job
                done = [*working.progress.get("done", ()), number]
                await working.save(done=done, summary="", older=0, more=False, pages=0, posted=[])

    def _targets(self, given: dict[str, Any]) -> list[Target]:
        ask = ask_of(given.get("options") or {}, str(given["guild"]))
        here = int(given["channel"])
        if message := int(given.get("message") or 0):
            from_here = bool(given.get("from_here"))
            return [Target(here, ask, message, thread_only=not from_here, start=from_here)]
        if ask.links:
            return [Target(int(link.channel), ask, int(link.id or 0)) for link in ask.links]
        return [Target(int(ask.channel or here), ask)]

    async def _may_read_contents(self) -> None:
        """Return if Discord shows this app what messages say; without, they would all seem empty.

        Raises:
            NotThere: it does not.
        """
        flags = self._discord.client.application_flags
        if flags.gateway_message_content or flags.gateway_message_content_limited:
            return
        # It may have been switched on since the start.
        flags = (await self._discord.call(self._discord.client.application_info())).flags
        if not (flags.gateway_message_content or flags.gateway_message_content_limited):
            raise NotThere(texts.NO_CONTENT)

    async def _seen(self, guild: int, target: Target) -> tuple[Seen, int]:
        """The channel or thread to read, and the message it is read from, or 0."""
        if target.message and not target.start:
            # A message's thread has its id.
            try:
                return await self._people.readable(guild, target.message), 0
            except ChannelGone:
                pass
        seen = await self._people.readable(guild, target.channel)
        if not target.message or (seen.place.thread and not target.start):
            return seen, 0
        if target.thread_only:
            raise NotThere(texts.NO_THREAD)
        return seen, target.message

    async def _one(self, working: Working, origin: Origin, target: Target, *, first: bool) -> None:
        person, ask = working.job.person, target.ask
        # What is of another place is nobody's business here.
        public = origin.public and target.channel == int(origin.channel)
        seen, start = await self._seen(int(origin.guild), target)
        await self._people.reader(person, seen)
        if public:
            await self._people.require_writer(person, seen)

        async def may_read() -> None:
            await self._people.require(person, seen.place)

        summary_id = str(working.progress.get("summary") or "")
        if not summary_id:
            await self._summaries.ready(working.accepted_at)
            began = datetime.now(UTC)
            read = replace(await self._read(person, seen, ask, start, working.accepted_at), began=began)
            writer = self._messages.writer(origin) if first and origin.open and not origin.update else None
            try:
                summary_id = await self._summaries.write(
                    person=person,
                    read=read,
                    style=ask.style,
                    focus=ask.focus,
                    accepted_at=working.accepted_at,
                    still_allowed=may_read,
                    sink=writer,
                )
            except Later:
                await _closed(writer, newest=True)
                raise
            finally:
                await _closed(writer)
            await working.save(summary=summary_id, older=read.older, more=read.more)
            await self._stored([message.id for message in read.conversation.messages], began)
        else:
            await may_read()
        await self._show(working, origin, seen, summary_id, may_read, public=public, first=first)

    async def _read(self, person: str, seen: Seen, ask: Ask, start: int, asked_at: datetime) -> Read:
        if start:
            return await self._history.stretch(seen, oldest=start)
        if ask.count:
            return await self._history.stretch(seen, count=ask.count)
        if ask.when is not None:
            return await self._history.stretch(seen, oldest=since(ask.when, asked_at.astimezone(self._zone)))
        if ask.new and (last := await asyncio.to_thread(self._last_seen, person, str(seen.id))) is not None:
            return await self._history.stretch(seen, oldest=last)
        if seen.place.thread:
            return await self._history.whole(seen)
        return await self._history.stretch(seen, oldest=asked_at - _DAY, at_least=_AT_LEAST)

    def _last_seen(self, person: str, channel: str) -> datetime | None:
        with self._database.read() as session:
            return queries.last_seen(session=session, person=person, channel=channel)

    async def _show(
        self,
        working: Working,
        origin: Origin,
        seen: Seen,
        summary_id: str,
        may_read: Callable[[], Awaitable[None]],
        *,
        public: bool,
        first: bool,
    ) -> None:
        def record(message: str = "") -> None:
            record_shown(
                self._database,
                summary_id=summary_id,
                platform="discord",
                person=working.job.person,
                private=not public,
                channel=origin.channel if public else "",
                message=message,
                older=int(working.progress.get("older") or 0),
                more=bool(working.progress.get("more")),
                seen_channel=str(seen.id),
                # The same when it is shown again after a crash.
                answer_id=f"{summary_id}-asked",
                now=working.accepted_at,
            )

        await asyncio.to_thread(record)
        answer = await asyncio.to_thread(shown, self._database, summary_id)
        if answer is None:
            raise InputError(texts.GONE)
        if not public:
            await self._messages.answer(origin, answer, may_read, working, first=first)
            return
        try:
            message = await self._messages.answer_all(origin, answer, working, first=first)
        except (TokenOver, NotThere):
            self._people.require_post(seen)
            message = await self._messages.post(working, origin.channel, answer)
        await asyncio.to_thread(record, message)


async def _closed(writer: Writer | None, *, newest: bool = False) -> None:
    if writer is not None:
        await writer.close(newest=newest)


def origin_of(working: Working) -> Origin:
    """Where a job was asked for."""
    given = working.job.payload
    return Origin(
        user=str(given["user"]),
        guild=str(given.get("guild") or ""),
        channel=str(given.get("channel") or ""),
        token=str(given.get("token") or ""),
        public=bool(given.get("public")),
        update=bool(given.get("update")),
        at=working.accepted_at,
    )
