"""The App Home: what Redraft is, the summaries that somebody asked for, their corrections, reviews, and their data.

Built anew each time from what is stored; of a summary whose channel the person has left, only that is told. It is
published to the person alone.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from bot import feedback, texts
from bot.answers import Shown, shown
from bot.chat import NotThere
from bot.jobs import Later, Working
from bot.slack import blocks
from bot.slack.blocks import Block
from bot.slack.client import Slack, SlackRefused
from bot.slack.messages import Messages, Origin
from bot.slack.people import People
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import NotPermitted

#: Summaries in the home, and characters of each.
_SUMMARIES, _BEGINNING = 10, 280


class Home:
    """Builds and publishes homes, and does what `/redraft` says."""

    def __init__(
        self, database: Database, slack: Slack, people: People, messages: Messages, reviews: feedback.Reviews
    ) -> None:
        self._database, self._slack, self._people = database, slack, people
        self._messages, self._reviews = messages, reviews

    async def opened(self, working: Working) -> None:
        """Somebody opened their home."""
        await self.publish(str(working.job.payload["user"]))

    async def command(self, working: Working) -> None:
        """`/redraft …`; the payload has ``word``, ``user``, ``channel``, ``respond``."""
        given = working.job.payload
        origin = Origin(
            user=str(given["user"]),
            channel=str(given.get("channel") or ""),
            respond=str(given.get("respond") or ""),
            at=working.accepted_at,
        )
        person = working.job.person
        match given["word"]:
            case "mydata":
                text = await asyncio.to_thread(feedback.my_data, self._database, person)
            case "optout":
                names = await self._people.all_names(origin.user)
                text = await asyncio.to_thread(
                    feedback.opt_out, self._database, person, now=datetime.now(UTC), names=names
                )  # fmt: skip
            case "optin":
                text = await asyncio.to_thread(feedback.opt_in, self._database, person)
            case _:
                text = texts.SENT_TO_HOME
        await self._messages.tell(origin, text)
        await self.publish(origin.user)

    async def publish(self, user: str) -> None:
        """Show a person their home as it is now."""
        view = {"type": "home", "blocks": await self._blocks(user)}
        try:
            await self._slack.call("views_publish", user_id=user, view=view)
        except SlackRefused as error:
            if error.code != "not_enabled":  # the app's home is switched off
                raise

    async def _blocks(self, user: str) -> list[Block]:
        person = f"slack:{user}"
        found: list[Block] = [blocks.section(blocks.escape(texts.HOME_WHAT))]
        found += [blocks.header(texts.HOME_SUMMARIES), *await self._summaries(person)]
        if reviews := await self._waiting(person, user):
            found += [blocks.header(texts.HOME_REVIEWS), *reviews]
        found += [blocks.header(texts.HOME_CORRECTIONS), *await self._corrections(person)]
        about = await self._about(person)
        # What is stored and the way out are always there, however much else there is to show.
        return found[: blocks.VIEW_BLOCKS - len(about)] + about

    async def _corrections(self, person: str) -> list[Block]:
        found: list[Block] = []
        for one in await asyncio.to_thread(feedback.corrections_of, self._database, person):
            try:
                await self._people.require(person, one.place)
            except (NotPermitted, NotThere):
                found.append(blocks.section(blocks.escape(texts.NOT_YOURS_ANY_MORE)))
            else:
                found.append(blocks.section(blocks.escaped_pieces(_beginning(one.text))[0]))
            found.append(blocks.context(f"{blocks.moment(one.at)} · {blocks.escape(one.state)}"))
        return found or [blocks.section(blocks.escape(texts.HOME_NONE))]

    async def _about(self, person: str) -> list[Block]:
        out = await asyncio.to_thread(feedback.opted_out, self._database, person)
        data = await asyncio.to_thread(feedback.my_data, self._database, person)
        return [
            blocks.header(texts.HOME_DATA),
            blocks.section(blocks.escape(data)),
            blocks.section(blocks.escape(texts.OPTED_OUT if out else texts.OPT_OUT_EXPLAINED)),
            blocks.actions(
                blocks.button(texts.OPT_IN, blocks.OPT_IN, "optin")
                if out
                else blocks.button(texts.OPT_OUT, blocks.OPT_OUT, "optout", style="danger")
            ),
        ]

    async def _summaries(self, person: str) -> list[Block]:
        rows = await asyncio.to_thread(self._asked_by, person)
        found: list[Block] = []
        for summary_id in rows:
            one = await asyncio.to_thread(shown, self._database, summary_id)
            if one is None:
                continue
            try:
                await self._people.require(person, one.place)
            except (NotPermitted, NotThere):
                found.append(blocks.section(blocks.escape(texts.NOT_YOURS_ANY_MORE)))
                continue
            found += _summary(one)
        return found or [blocks.section(blocks.escape(texts.HOME_NONE))]

    def _asked_by(self, person: str) -> list[str]:
        with self._database.read() as session:
            rows = queries.asked_by(session=session, platform="slack", person=person, limit=_SUMMARIES)
            return [summary.id for summary, _ in rows]

    async def _waiting(self, person: str, user: str) -> list[Block]:
        found: list[Block] = []
        for channel in self._reviews.channels(person):
            try:
                if not await self._people.is_member(channel, user):
                    continue
                title = (await self._people.channel(channel)).title
            except (NotThere, SlackRefused, Later):
                continue
            for review in await asyncio.to_thread(self._reviews.waiting, person, channel):
                if len(found) > blocks.VIEW_BLOCKS // 2:
                    return [*found, blocks.context(blocks.escape(texts.MORE_REVIEWS))]
                value = f"{review.pair_id} {review.mark}"
                found += [
                    blocks.context(
                        f"{blocks.escape(title)} · {blocks.escape(review.author)} · {blocks.moment(review.at)}"
                    ),
                    blocks.section(blocks.difference(review.diff)),
                    blocks.actions(
                        blocks.button(texts.APPROVE, blocks.APPROVE, value, style="primary"),
                        blocks.button(texts.REJECT, blocks.REJECT, value, style="danger"),
                        blocks.button(texts.EDIT, blocks.EDIT, value),
                    ),
                ]
        return found


def _summary(one: Shown) -> list[Block]:
    row = [
        blocks.button(texts.SHOW, blocks.SHOW, one.id),
        blocks.button(texts.SHARE, blocks.SHARE, one.id),
        blocks.button(texts.CORRECT, blocks.CORRECT, one.id),
        blocks.button(texts.SOURCES, blocks.SOURCES, one.id),
    ]
    return [
        blocks.section(
            f"*{blocks.escape(texts.title(one.title, one.focus, one.style, thread=bool(one.place.thread)))}*\n"
            f"{blocks.escaped_pieces(_beginning(one.text))[0]}"
        ),
        *blocks.small_print(one)[:1],
        blocks.actions(*row),
    ]


def _beginning(text: str) -> str:
    line = " ".join(text.split())
    return (line if len(line) <= _BEGINNING else line[: _BEGINNING - 1] + "…") or "…"
