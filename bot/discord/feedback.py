"""What people do with a summary in Discord: Correct, Write my own, thumbs, Share, Sources, and reviewers' decisions.

Jobs that were accepted from pressed buttons and submitted modals, done by the use cases of :mod:`bot.feedback`. Whoever
presses is asked for their right to read the conversation each time. A modal has to open within three seconds and cannot
be filled later, so that it is made before anything is acknowledged (:meth:`Feedback.modal`).
"""

from __future__ import annotations

import asyncio
from typing import Any

import discord

from bot import feedback, sharing, texts
from bot.answers import Shown, record_shown, shown
from bot.chat import Forbidden, NotThere, Place
from bot.discord import embeds, modals
from bot.discord.embeds import Content, Press
from bot.discord.messages import Messages, Origin
from bot.discord.modals import Remembered
from bot.discord.people import People, channel_of
from bot.discord.summarize import origin_of
from bot.jobs import Working
from engine.learning import corrections, pairs
from engine.learning.settings import LearningSettings
from storage import chat_queries as queries
from storage import queries as stored_queries
from storage.chat_tables import ChatAnswerRow
from storage.database import Database
from storage.errors import CorrectionRefused, InputError, NotPermitted, PairRefused

#: What is told to whoever pressed, and ends there.
TOLD = (CorrectionRefused, PairRefused, NotPermitted, NotThere, InputError)


class Feedback:
    """Does the jobs, and makes the modals."""

    def __init__(
        self,
        database: Database,
        settings: LearningSettings,
        people: People,
        messages: Messages,
        reviews: feedback.Reviews,
    ) -> None:
        self._database, self._settings = database, settings
        self._people, self._messages, self._reviews = people, messages, reviews

    async def modal(self, person: str, action: str, value: str) -> discord.ui.Modal:
        """The modal that a button opens.

        Raises:
            RedraftError: there is nothing to open for this person; one of :data:`TOLD` is fit to show.
        """
        if action == embeds.DOWN:
            return modals.reason(value)
        if action in (embeds.REJECT, embeds.EDIT):
            pair_id, _, mark = value.partition(".")
            await self._may_decide(person, pair_id)
            if action == embeds.REJECT:
                return modals.reject(pair_id, mark)
            return modals.edit(await asyncio.to_thread(self._text_of_pair, person, pair_id), pair_id, mark)
        summary_id, _, start = value.partition(".")
        found = await self._allowed(person, summary_id)
        return modals.correct(found, blind=action != embeds.CORRECT, start=int(start or 0))

    async def pressed(self, working: Working) -> None:
        """A button that is no modal's; the payload has ``action``, ``value`` and what an origin has."""
        given = working.job.payload
        do = {
            embeds.UP: self._thumb,
            embeds.DOWN: self._thumb,
            embeds.SHARE: self._share,
            embeds.SOURCES: self._sources,
            embeds.SHOW: self._show,
            embeds.UNHIDE: self._unhide,
            embeds.APPROVE: self._approve,
        }[str(given["action"])]
        origin = origin_of(working)
        try:
            await do(working, str(given["value"]), origin)
        except TOLD as error:
            await self._messages.tell(origin, str(error))

    async def submitted(self, working: Working) -> None:
        """A modal; the payload has ``modal``, ``texts``, ``choice``, ``private`` and what an origin has."""
        given = working.job.payload
        remembered = Remembered.load(str(given["modal"]))
        if remembered is None:
            return
        do = {
            modals.SAVE: self._correct,
            modals.REASON: self._reason,
            modals.REJECT: self._reject,
            modals.EDIT: self._edit,
        }[remembered.kind]
        origin = origin_of(working)
        try:
            await do(working, remembered, given, origin)
        except TOLD as error:
            await self._messages.tell(origin, str(error))

    # Buttons ---------------------------------------------------------------------------------------------------------

    async def _allowed(self, person: str, summary_id: str) -> Shown:
        found = await asyncio.to_thread(shown, self._database, summary_id)
        if found is None:
            raise CorrectionRefused(texts.GONE)
        try:
            await self._people.require(person, found.place)
        except Forbidden:
            raise Forbidden(texts.NOT_YOURS_ANY_MORE) from None
        return found

    async def _privately(self, working: Working, origin: Origin, contents: list[Content], place: Place) -> None:
        async def may_read() -> None:
            await self._people.require(working.job.person, place)

        await self._messages.privately(origin, contents, may_read)

    async def _thumb(self, working: Working, value: str, origin: Origin) -> None:
        up = working.job.payload["action"] == embeds.UP
        await self._allowed(working.job.person, value)
        await asyncio.to_thread(
            corrections.thumb,
            self._database,
            summary_id=value,
            author_id=working.job.person,
            thumb="up" if up else "down",
        )
        if up:  # the other has a modal open
            await self._messages.tell(origin, texts.THANKS_UP)

    async def _sources(self, working: Working, value: str, origin: Origin) -> None:
        found = await self._allowed(working.job.person, value)
        await self._privately(working, origin, [embeds.sources(found)], found.place)

    async def _show(self, working: Working, value: str, origin: Origin) -> None:
        found = await self._allowed(working.job.person, value)
        pages = embeds.answer(found, public=False, private_note=True)
        await self._privately(working, origin, pages, found.place)

    async def _unhide(self, working: Working, value: str, origin: Origin) -> None:
        found = await self._allowed(working.job.person, value)
        if not await self._messages.replace_private(origin, found):
            await self._show(working, value, origin)

    async def _share(self, working: Working, value: str, origin: Origin) -> None:
        found = await self._allowed(working.job.person, value)
        # Into the place that it is of, and nowhere else: whoever reads it there may read what it is made of.
        seen = await self._people.readable(int(found.place.workspace), channel_of(found.place))
        await self._people.require_writer(working.job.person, seen)
        self._people.require_post(seen)
        claim = await asyncio.to_thread(
            sharing.claim, self._database, platform="discord", summary_id=found.id, job=working.job.key,
            now=working.accepted_at,
        )  # fmt: skip
        if claim != "yours" and not working.progress.get("posted"):
            await self._messages.tell(origin, texts.SHARED_ALREADY if claim == "shared" else texts.BEING_SHARED)
            return
        message = await self._messages.post(working, str(seen.id), found, shared_by=str(working.job.payload["name"]))
        await asyncio.to_thread(
            record_shown,
            self._database,
            summary_id=found.id,
            platform="discord",
            person=working.job.person,
            private=False,
            channel=str(seen.id),
            message=message,
            older=found.older,
            answer_id=f"{found.id}-shared",
        )
        await asyncio.to_thread(sharing.let_go, self._database, platform="discord", summary_id=found.id)
        await self._messages.tell(origin, texts.SHARED)

    def _answers(self, summary_id: str) -> list[ChatAnswerRow]:
        with self._database.read() as session:
            return list(queries.answers_of(session=session, summary_id=summary_id))

    # Submitted -------------------------------------------------------------------------------------------------------

    async def _correct(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        await self._allowed(working.job.person, remembered.id)
        before = "" if remembered.blind else await asyncio.to_thread(self._text_before, remembered)
        text = modals.whole(before, remembered, [str(one) for one in given["texts"]])
        sentence = str(working.progress.get("thanks") or "") or await asyncio.to_thread(
            feedback.correct,
            self._database,
            self._settings,
            summary_id=remembered.id,
            person=working.job.person,
            name=str(given["name"]),
            text=text,
            blind=remembered.blind,
            about=str(given.get("choice") or ""),
            builds_on=remembered.extra,
        )
        await working.save(thanks=sentence)
        now = await self._show_anew(working, remembered, bool(given.get("private")), origin)
        further = modals.next_start(before, remembered, now.text) if now is not None and before else 0
        content = embeds.notice(sentence)
        if further:
            content = Content(
                text=content.text, buttons=[Press(texts.NEXT_PART, embeds.CORRECT, f"{remembered.id}.{further}")]
            )
        await self._messages.privately(origin, [content])

    def _text_before(self, remembered: Remembered) -> str:
        """The text that a modal was made of: what the summary said then."""
        with self._database.read() as session:
            rows = corrections.corrections(session, remembered.id)
            stored = stored_queries.get_summary(session=session, summary_id=remembered.id)
        texts_then = (row.text for row in rows if row.id == remembered.extra)
        return next(texts_then, stored.text if stored is not None else "")

    async def _show_anew(self, working: Working, remembered: Remembered, private: bool, origin: Origin) -> Shown | None:
        """Bring every place where a summary is shown to what it says now, as far as Discord allows."""
        now = await asyncio.to_thread(shown, self._database, remembered.id)
        if now is None:
            return None
        if private and not (origin.update and await self._messages.replace_private(origin, now)):

            async def may_read() -> None:
                await self._people.require(working.job.person, now.place)

            await self._messages.answer(origin, now, may_read, working)
        public = [row for row in await asyncio.to_thread(self._answers, remembered.id) if not row.private]
        for row in filter(lambda row: row.message, public):
            sharer = ""
            if row.id.endswith("-shared"):
                sharer = await self._people.called(int(now.place.workspace), int(row.person.partition(":")[2]))

            async def grown(message: str, row: ChatAnswerRow = row) -> None:
                row.message = message
                await asyncio.to_thread(self._save_answer, row)

            message = await self._messages.change(row.channel, row.message, now, grown, shared_by=sharer)
            if message not in ("", row.message):
                await grown(message)
        return now

    def _save_answer(self, row: ChatAnswerRow) -> None:
        with self._database.write() as session:
            queries.save_answer(session=session, answer=row)

    async def _reason(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        await self._allowed(working.job.person, remembered.id)
        await asyncio.to_thread(
            corrections.thumb,
            self._database,
            summary_id=remembered.id,
            author_id=working.job.person,
            thumb="down",
            reason="".join(given["texts"]),
        )
        await self._messages.tell(origin, texts.THANKS_DOWN)

    # Reviewers -------------------------------------------------------------------------------------------------------

    async def _may_decide(self, person: str, pair_id: str) -> None:
        channel = await asyncio.to_thread(self._reviews.channel_of, person, pair_id)
        try:
            await self._people.require(person, await asyncio.to_thread(self._place_of, pair_id, channel))
        except Forbidden:
            raise NotPermitted(texts.NO_REVIEWER) from None

    def _place_of(self, pair_id: str, channel: str) -> Place:
        with self._database.read() as session:
            return Place("discord", pairs.find(session, pair_id).workspace, channel)

    def _text_of_pair(self, person: str, pair_id: str) -> str:
        return pairs.open_pair(self._database, pair_id=pair_id, by=person).summary

    def _text_before_edit(self, pair_id: str) -> str:
        with self._database.read() as session:
            return pairs.find(session, pair_id).summary

    async def _approve(self, working: Working, value: str, origin: Origin) -> None:
        pair_id, _, seen = value.partition(".")
        await self._may_decide(working.job.person, pair_id)
        await asyncio.to_thread(self._reviews.approve, working.job.person, pair_id, seen)
        await self._decided(origin, texts.APPROVED)

    async def _reject(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        person = working.job.person
        await self._may_decide(person, remembered.id)
        reason = "".join(given["texts"])
        await asyncio.to_thread(self._reviews.reject, person, remembered.id, remembered.extra, reason)
        await self._decided(origin, texts.REJECTED)

    async def _edit(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        person = working.job.person
        await self._may_decide(person, remembered.id)
        before = await asyncio.to_thread(self._text_before_edit, remembered.id)
        text = modals.whole(before, remembered, [str(one) for one in given["texts"]])
        await asyncio.to_thread(self._reviews.edit, person, remembered.id, remembered.extra, text)
        await self._decided(origin, texts.EDITED_PAIR)

    async def _decided(self, origin: Origin, sentence: str) -> None:
        if not await self._messages.replace(origin, embeds.notice(sentence)):
            await self._messages.tell(origin, sentence)
