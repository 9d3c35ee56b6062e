"""What `/redraft` shows a person: the answers that they asked for, reviews that wait for them, and their data.

Made anew each time from what is stored, and shown to them alone; of a summary whose channel they cannot read any more,
only that is told.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from bot import feedback, texts
from bot.answers import Shown, shown
from bot.chat import NotThere, Place
from bot.discord import embeds
from bot.discord.client import DiscordRefused
from bot.discord.embeds import Content
from bot.discord.messages import Messages, Origin
from bot.discord.people import People
from bot.discord.summarize import origin_of
from bot.jobs import Later, Working
from storage import chat_queries as queries
from storage import pair_queries
from storage.database import Database
from storage.errors import NotPermitted

#: Reviews shown at once: each is a message of its own, that its decision takes the place of.
_REVIEWS = 5


class Home:
    """Does what `/redraft` says."""

    def __init__(self, database: Database, people: People, messages: Messages, reviews: feedback.Reviews) -> None:
        self._database, self._people = database, people
        self._messages, self._reviews = messages, reviews

    async def command(self, working: Working) -> None:
        """The payload has ``word`` and what an origin has."""
        origin, person = origin_of(working), working.job.person
        match working.job.payload["word"]:
            case "mydata":
                text = await asyncio.to_thread(feedback.my_data, self._database, person)
                out = await asyncio.to_thread(feedback.opted_out, self._database, person)
                await self._messages.tell(origin, f"{text}\n{texts.OPTED_OUT if out else texts.OPT_OUT_EXPLAINED}")
            case "optout":
                now = datetime.now(UTC)
                await self._messages.tell(
                    origin, await asyncio.to_thread(feedback.opt_out, self._database, person, now=now)
                )
            case "optin":
                await self._messages.tell(origin, await asyncio.to_thread(feedback.opt_in, self._database, person))
            case "recent":
                await self._recent(origin, person)
            case _:
                await self._review(origin, person)

    async def _recent(self, origin: Origin, person: str) -> None:
        found = [await self._may_see(person, one) for one in await asyncio.to_thread(self._asked_by, person)]
        content = embeds.recent(found) if found else embeds.notice(texts.HOME_NONE)
        await self._messages.privately(origin, [content, *await self._corrections(person)])

    def _asked_by(self, person: str) -> list[Shown]:
        with self._database.read() as session:
            rows = queries.asked_by(session=session, platform="discord", person=person, limit=embeds.EMBEDS)
        answers = [shown(self._database, summary.id) for summary, _ in rows]
        return [one for one in answers if one is not None]

    async def _may_see(self, person: str, one: Shown) -> Shown | None:
        try:
            await self._people.require(person, one.place)
        except (NotPermitted, NotThere):
            return None
        return one

    async def _corrections(self, person: str) -> list[Content]:
        said = []
        for one in await asyncio.to_thread(feedback.corrections_of, self._database, person):
            if one.place.platform != "discord":
                continue
            try:
                await self._people.require(person, one.place)
            except (NotPermitted, NotThere):
                said.append(f"-# {embeds.moment(one.at)} · {embeds.escape(texts.NOT_YOURS_ANY_MORE)}")
            else:
                said.append(f"{embeds.short(one.text, 240)}\n-# {embeds.moment(one.at)} · {embeds.escape(one.state)}")
        return [embeds.titled(texts.HOME_CORRECTIONS, "\n\n".join(said))] if said else []

    async def _review(self, origin: Origin, person: str) -> None:
        channels = self._reviews.channels(person)
        if not channels:
            await self._messages.tell(origin, texts.NOT_REVIEWER)
            return
        found: list[Content] = []
        for channel in channels:
            reviews = await asyncio.to_thread(self._reviews.waiting, person, channel)
            if not reviews:
                continue
            workspace = await asyncio.to_thread(self._workspace_of, reviews[0].pair_id)
            try:
                await self._people.require(person, Place("discord", workspace, channel))
                where = (await self._people.channel(int(workspace), int(channel))).title
            except (NotThere, NotPermitted, DiscordRefused, Later):
                continue
            found += [embeds.review(one.pair_id, one.mark, where, one.author, one.at, one.diff) for one in reviews]
        if not found:
            await self._messages.tell(origin, texts.NO_REVIEWS)
            return
        await self._messages.privately(origin, found[:_REVIEWS])
        if len(found) > _REVIEWS:
            await self._messages.tell(origin, texts.MORE_REVIEWS_DISCORD, first=False)

    def _workspace_of(self, pair_id: str) -> str:
        with self._database.read() as session:
            pair = pair_queries.get_pair(session=session, pair_id=pair_id)
            return pair.workspace if pair is not None else "0"
