"""Summaries that were asked for in Slack: from the accepted job to the answer.

One job may ask for several conversations (links); each is read, written and shown by itself, and remembered as done, so
that a job that is done again shows none twice. What somebody may not read, or what is not there, is told to them and
ends that part; everything else that goes wrong is the job's to try again.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from bot import texts
from bot.answers import Summaries, record_shown, shown
from bot.chat import NotThere, Place, Read
from bot.jobs import Working
from bot.slack.history import History
from bot.slack.messages import Messages, Origin, Streamer, Waiting
from bot.slack.people import People
from bot.slack.words import Words
from bot.when import LONGEST_FOCUS, Ask, NotUnderstood, parse, since
from engine.formats.slack_text import Names, readable
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import InputError, NotPermitted, OptionNotHonoured

#: What `/summarize` alone means: a day, but at least so many messages.
_DAY, _AT_LEAST = timedelta(days=1), 20
_USER, _CHANNEL = re.compile(r"<@([UW][A-Z0-9]+)"), re.compile(r"<#([CG][A-Z0-9]+)>")
#: What is told to the asker and ends there.
_TOLD = (NotUnderstood, NotThere, NotPermitted, InputError, OptionNotHonoured)


@dataclass(frozen=True, slots=True)
class Target:
    """One conversation to summarise: the thread of a message, or a stretch of a channel."""

    place: Place
    ask: Ask
    here: bool


class Summarize:
    """Does the jobs.

    Args:
        team: the workspace's id.
        at_once: summaries under way at once here; people are told where more than those are before theirs.
    """

    def __init__(
        self,
        database: Database,
        summaries: Summaries,
        history: History,
        people: People,
        messages: Messages,
        words: Words,
        *,
        team: str,
        at_once: int = 8,
    ) -> None:
        self._database, self._summaries, self._history = database, summaries, history
        self._people, self._messages, self._words, self._team = people, messages, words, team
        self._at_once = at_once

    async def run(self, working: Working) -> None:
        """Summarise what a job asks for.

        The payload has ``user``, ``channel``, ``text``, and where they apply ``thread`` (the thread that is meant when
        nothing else is said), ``reply_to`` (the thread to answer in), ``respond`` and ``public``.
        """
        given = working.job.payload
        origin = Origin(
            user=str(given["user"]),
            channel=str(given["channel"]),
            thread=str(given.get("reply_to") or ""),
            respond=str(given.get("respond") or ""),
            at=working.accepted_at,
        )
        try:
            targets = self._targets(given)
        except NotUnderstood as error:
            await self._messages.tell(origin, str(error))
            return
        for number, target in enumerate(targets):
            if number in working.progress.get("done", ()):
                continue
            try:
                await self._one(working, origin, target, public=bool(given.get("public")))
            except _TOLD as error:
                await self._messages.tell(origin, str(error))
            if number + 1 < len(targets):  # the last one ends the job
                done = [*working.progress.get("done", ()), number]
                await working.save(
                    done=done, summary="", stream="", older=0, more=False, pages=0, posted=[], posting=-1
                )

    def _targets(self, given: dict[str, Any]) -> list[Target]:
        ask = parse(str(given.get("text") or ""), self._words.read)
        channel = str(given["channel"])
        if ask.links:
            return [
                Target(self._place(link.channel, link.thread or link.id), ask, link.channel == channel)
                for link in ask.links
            ]
        thread = str(given.get("thread") or "")
        if thread and ask.plain and not ask.channel:
            return [Target(self._place(channel, thread), ask, True)]
        return [Target(self._place(ask.channel or channel), ask, ask.channel in ("", channel))]

    async def _focus(self, ask: Ask) -> Ask:
        """A topic as a person would read it: Slack writes `&amp;` and ids into commands."""
        if not any(mark in ask.focus for mark in "<&"):
            return ask
        users = await self._people.names(_USER.findall(ask.focus))
        channels = await self._people.channel_names(_CHANNEL.findall(ask.focus))
        names = Names({key: user.name for key, user in users.items()}, channels)
        return replace(ask, focus=readable(ask.focus, names)[:LONGEST_FOCUS])

    def _place(self, channel: str, thread: str = "") -> Place:
        return Place("slack", self._team, channel, thread)

    async def _one(self, working: Working, origin: Origin, target: Target, *, public: bool) -> None:
        person, place, ask = working.job.person, target.place, await self._focus(target.ask)
        if not target.here:
            await self._people.require(person, place)
            # What is of another place is nobody's business here.
            public = False
        summary_id = str(working.progress.get("summary") or "")
        streamer = await self._streamer(working, origin) if public and not summary_id else None
        if not summary_id:
            await self._summaries.ready(working.accepted_at)
            began = datetime.now(UTC)
            read = replace(await self._read(person, target, working.accepted_at), began=began)

            async def still_allowed() -> None:
                if not target.here:
                    await self._people.require(person, place)

            summary_id = await self._summaries.write(
                person=person,
                read=read,
                style=ask.style,
                focus=ask.focus,
                accepted_at=working.accepted_at,
                still_allowed=still_allowed,
                sink=Waiting(self._messages, origin, working, streamer, self._at_once),
            )
            await working.save(summary=summary_id, older=read.older, more=read.more)
        await self._show(working, origin, target, summary_id, streamer, public=public)

    async def _read(self, person: str, target: Target, asked_at: datetime) -> Read:
        channel = await self._people.readable(target.place.channel)
        ask = target.ask
        if target.place.thread:
            return await self._history.thread(channel, target.place.thread)
        if ask.count:
            return await self._history.stretch(channel, count=ask.count)
        if ask.when is not None:
            zone = await self._people.zone(person.partition(":")[2])
            return await self._history.stretch(channel, oldest=since(ask.when, asked_at.astimezone(zone)))
        if ask.new and (last := await asyncio.to_thread(self._last_seen, person, channel.id)) is not None:
            return await self._history.stretch(channel, oldest=last)
        return await self._history.stretch(channel, oldest=asked_at - _DAY, at_least=_AT_LEAST)

    def _last_seen(self, person: str, channel: str) -> datetime | None:
        with self._database.read() as session:
            return queries.last_seen(session=session, person=person, channel=channel)

    async def _streamer(self, working: Working, origin: Origin) -> Streamer:
        """A stream into the thread; what an attempt before has begun to write there goes."""
        if before := working.progress.get("stream"):
            await self._messages.remove(origin.channel, str(before))

        async def started(ts: str) -> None:
            await working.save(stream=ts)

        return self._messages.streamer(origin.channel, origin.thread, origin.user, self._team, started)

    async def _show(
        self,
        working: Working,
        origin: Origin,
        target: Target,
        summary_id: str,
        streamer: Streamer | None,
        *,
        public: bool,
    ) -> None:
        def record(message: str = "") -> None:
            record_shown(
                self._database,
                summary_id=summary_id,
                platform="slack",
                person=working.job.person,
                private=not public,
                channel=origin.channel if public else "",
                thread=origin.thread if public else "",
                message=message,
                older=int(working.progress.get("older") or 0),
                more=bool(working.progress.get("more")),
                seen_channel=target.place.channel if not target.place.thread else "",
                # The same when it is shown again after a crash.
                answer_id=f"{summary_id}-asked",
                now=working.accepted_at,
            )

        await asyncio.to_thread(record)
        answer = await asyncio.to_thread(shown, self._database, summary_id)
        if answer is None:
            raise InputError(texts.GONE)
        if not public:

            async def may_read() -> None:
                await self._people.require(working.job.person, target.place)

            await self._messages.answer(origin, answer, may_read, working)
        elif streamer is not None and await streamer.finish(answer):
            await asyncio.to_thread(record, streamer.ts)
        else:
            if stream := working.progress.get("stream"):
                await self._messages.remove(origin.channel, str(stream))
            message = await self._messages.post(working, origin.channel, answer, thread=origin.thread)
            await asyncio.to_thread(record, message)
