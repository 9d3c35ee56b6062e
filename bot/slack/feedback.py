"""What people do with a summary in Slack: Correct, Write my own, thumbs, Share, Sources, and reviewers' decisions.

Jobs that were accepted from clicks and submitted modals, done by the use cases of :mod:`bot.feedback`. Whoever clicks
is asked for their right to read the conversation each time, in the home too. A trigger lives three seconds, so that a
modal opens with "one moment" and is filled when the right was asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from bot import feedback, sharing, texts
from bot.answers import Shown, record_shown, shown
from bot.chat import Forbidden, NotThere
from bot.jobs import Working
from bot.slack import blocks, modals
from bot.slack.client import Slack, SlackRefused
from bot.slack.messages import Messages, Origin, gently
from bot.slack.modals import Remembered
from bot.slack.people import People
from engine.learning import corrections, pairs
from engine.learning.settings import LearningSettings
from storage import chat_queries as queries
from storage.database import Database
from storage.errors import CorrectionRefused, InputError, NotPermitted, PairRefused

_TOLD = (CorrectionRefused, PairRefused, NotPermitted, NotThere, InputError)


class Feedback:
    """Does the jobs.

    Args:
        changed_home: called with a user whose home shows something that has changed.
    """

    def __init__(
        self,
        database: Database,
        settings: LearningSettings,
        slack: Slack,
        people: People,
        messages: Messages,
        reviews: feedback.Reviews,
        changed_home: Callable[[str], Awaitable[None]],
    ) -> None:
        self._database, self._settings = database, settings
        self._slack, self._people, self._messages = slack, people, messages
        self._reviews, self._changed_home = reviews, changed_home

    async def click(self, working: Working) -> None:
        """A button; the payload has `action`, `value`, `user`, `trigger`, `respond`, `channel` and `thread`."""
        given = working.job.payload
        do = {
            blocks.CORRECT: self._open_correct,
            blocks.OWN: self._open_correct,
            blocks.UP: self._thumb,
            blocks.DOWN: self._thumb,
            blocks.SHARE: self._share,
            blocks.SOURCES: self._sources,
            blocks.SHOW: self._show,
            blocks.APPROVE: self._approve,
            blocks.REJECT: self._open_decision,
            blocks.EDIT: self._open_decision,
        }[str(given["action"])]
        try:
            await do(working, given)
        except _TOLD as error:
            await self._messages.tell(_origin(working), str(error))
        except SlackRefused as error:
            if error.code not in ("expired_trigger_id", "exchanged_trigger_id", "invalid_trigger_id", "view_expired"):
                raise
            await self._messages.tell(_origin(working), texts.CLICK_AGAIN)

    async def submitted(self, working: Working) -> None:
        """A modal; the payload has ``modal``, ``remembered``, ``text``, ``choice``, ``user``."""
        given = working.job.payload
        do = {
            modals.CORRECT: self._correct,
            modals.REASON: self._reason,
            modals.REJECT: self._reject,
            modals.EDIT: self._edit,
        }[str(given["modal"])]
        remembered = Remembered.load(str(given["remembered"]))
        origin = Origin(
            user=str(given["user"]),
            channel=remembered.channel,
            thread=remembered.thread,
            respond=remembered.respond,
            at=working.accepted_at,
        )
        try:
            await do(working, remembered, given, origin)
        except _TOLD as error:
            await self._messages.tell(origin, str(error))

    async def closed(self, working: Working) -> None:
        """A modal was closed without being saved: the draft that it hid is shown again."""
        remembered = Remembered.load(str(working.job.payload["remembered"]))
        try:
            found = await self._allowed(working, remembered.id)
        except _TOLD:
            return
        if remembered.respond and remembered.private:
            await self._messages.replace_private(remembered.respond, found)

    # Clicks --------------------------------------------------------

    async def _allowed(self, working: Working, summary_id: str) -> Shown:
        found = await asyncio.to_thread(shown, self._database, summary_id)
        if found is None:
            raise CorrectionRefused(texts.GONE)
        try:
            await self._people.require(working.job.person, found.place)
        except Forbidden:
            raise Forbidden(texts.NOT_YOURS_ANY_MORE) from None
        return found

    async def _opened(self, working: Working, title: str, make: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        """Open a modal at once, and put into it what takes a moment to find out."""
        view_id = str(working.progress.get("view") or "")
        if not view_id:
            trigger = str(working.job.payload["trigger"])
            answer = await self._slack.call("views_open", trigger_id=trigger, view=modals.loading(title))
            view_id = str(answer["view"]["id"])
            # A trigger opens one modal: done again, the job fills the one that is open.
            await working.save(view=view_id)
        try:
            view = await make()
        except _TOLD as error:
            view = modals.message(title, [blocks.section(blocks.escape(str(error)))])
        await self._slack.call("views_update", view_id=view_id, view=view)

    async def _open_correct(self, working: Working, given: dict[str, Any]) -> None:
        blind = given["action"] == blocks.OWN

        async def make() -> dict[str, Any]:
            found = await self._allowed(working, str(given["value"]))
            remembered = Remembered(
                id=found.id,
                builds_on="" if blind else found.correction,
                blind=blind,
                respond=str(given.get("respond") or ""),
                private=bool(given.get("private")),
                channel=str(given.get("channel") or ""),
                thread=str(given.get("thread") or ""),
            )
            return modals.correct(found, remembered)

        await self._opened(working, texts.OWN_TITLE if blind else texts.CORRECT_TITLE, make)
        if blind and given.get("private") and given.get("respond"):
            await gently(self._messages.hide(str(given["respond"])))

    async def _sources(self, working: Working, given: dict[str, Any]) -> None:
        async def make() -> dict[str, Any]:
            found = await self._allowed(working, str(given["value"]))
            return modals.message(texts.SOURCES_TITLE, blocks.sources(found))

        await self._opened(working, texts.SOURCES_TITLE, make)

    async def _show(self, working: Working, given: dict[str, Any]) -> None:
        async def make() -> dict[str, Any]:
            found = await self._allowed(working, str(given["value"]))
            pages = blocks.answer(found, public=True)
            everything = [block for page in pages for block in page]
            return modals.message(texts.SUMMARY_LABEL, everything[: blocks.VIEW_BLOCKS])

        await self._opened(working, texts.SUMMARY_LABEL, make)

    async def _thumb(self, working: Working, given: dict[str, Any]) -> None:
        up = given["action"] == blocks.UP
        summary_id = str(given["value"])

        async def take() -> None:
            await self._allowed(working, summary_id)
            await asyncio.to_thread(
                corrections.thumb,
                self._database,
                summary_id=summary_id,
                author_id=working.job.person,
                thumb="up" if up else "down",
            )

        if up:
            await take()
            await self._messages.tell(_origin(working), texts.THANKS_UP)
            return

        async def make() -> dict[str, Any]:
            await take()
            remembered = Remembered(
                id=summary_id,
                respond=str(given.get("respond") or ""),
                channel=str(given.get("channel") or ""),
                thread=str(given.get("thread") or ""),
            )
            return modals.reason(remembered)

        await self._opened(working, texts.REASON_TITLE, make)

    async def _share(self, working: Working, given: dict[str, Any]) -> None:
        found = await self._allowed(working, str(given["value"]))
        claim = await asyncio.to_thread(
            sharing.claim, self._database, platform="slack", summary_id=found.id, job=working.job.key,
            now=working.accepted_at,
        )  # fmt: skip
        if claim != "yours" and not working.progress.get("posted"):
            said = texts.SHARED_ALREADY if claim == "shared" else texts.BEING_SHARED
            await self._messages.tell(_origin(working), said)
            return
        user = await self._people.user(str(given["user"]))
        # Into the channel that it is of, and nowhere else: whoever reads it there may read what it is made of.
        message = await self._messages.post(
            working, found.place.channel, found, thread=found.place.thread, shared_by=user.name
        )
        await asyncio.to_thread(
            record_shown,
            self._database,
            summary_id=found.id,
            platform="slack",
            person=working.job.person,
            private=False,
            channel=found.place.channel,
            thread=found.place.thread,
            message=message,
            older=found.older,
            answer_id=f"{found.id}-shared",
        )
        await asyncio.to_thread(sharing.let_go, self._database, platform="slack", summary_id=found.id)
        await self._messages.tell(_origin(working), texts.SHARED)

    def _answers(self, summary_id: str) -> list[Any]:
        with self._database.read() as session:
            return list(queries.answers_of(session=session, summary_id=summary_id))

    # Submitted --------------------------------------------------------

    async def _correct(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        await self._allowed(working, remembered.id)
        user = await self._people.user(origin.user)
        sentence = str(working.progress.get("thanks") or "") or await asyncio.to_thread(
            feedback.correct,
            self._database,
            self._settings,
            summary_id=remembered.id,
            person=working.job.person,
            name=user.name,
            text=str(given["text"]),
            blind=remembered.blind,
            about=str(given.get("choice") or ""),
            builds_on=remembered.builds_on,
        )
        await working.save(thanks=sentence)
        await self._show_anew(working, remembered, origin)
        await self._messages.tell(origin, sentence)
        await gently(self._changed_home(origin.user))

    async def _show_anew(self, working: Working, remembered: Remembered, origin: Origin) -> None:
        """Bring every place where a summary is shown to what it says now, as far as Slack allows."""
        now = await asyncio.to_thread(shown, self._database, remembered.id)
        if now is None:
            return
        if remembered.private and not (
            origin.respond_now and await self._messages.replace_private(origin.respond_now, now)
        ):

            async def may_read() -> None:
                await self._people.require(f"slack:{origin.user}", now.place)

            await self._messages.answer(origin, now, may_read, working)
        public = [row for row in await asyncio.to_thread(self._answers, remembered.id) if not row.private]
        for row in filter(lambda row: row.message, public):
            sharer = ""
            if row.id.endswith("-shared"):
                sharer = (await self._people.user(row.person.partition(":")[2])).name

            async def grown(message: str, row: Any = row) -> None:
                row.message = message
                await asyncio.to_thread(self._save_answer, row)

            message = await self._messages.change(
                row.channel, row.message, now, grown, thread=row.thread, shared_by=sharer
            )
            if message not in ("", row.message):
                await grown(message)

    def _save_answer(self, row: Any) -> None:
        with self._database.write() as session:
            queries.save_answer(session=session, answer=row)

    async def _reason(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        await self._allowed(working, remembered.id)
        await asyncio.to_thread(
            corrections.thumb,
            self._database,
            summary_id=remembered.id,
            author_id=working.job.person,
            thumb="down",
            reason=str(given["text"]),
        )
        await self._messages.tell(origin, texts.THANKS_DOWN)

    # Reviewers --------------------------------------------------------

    async def _may_decide(self, working: Working, pair_id: str) -> None:
        channel = await asyncio.to_thread(self._reviews.channel_of, working.job.person, pair_id)
        if not await self._people.is_member(channel, working.job.person.partition(":")[2]):
            raise NotPermitted(texts.NO_REVIEWER)

    async def _approve(self, working: Working, given: dict[str, Any]) -> None:
        pair_id, _, seen = str(given["value"]).partition(" ")
        await self._may_decide(working, pair_id)
        await asyncio.to_thread(self._reviews.approve, working.job.person, pair_id, seen)
        await gently(self._changed_home(str(given["user"])))

    async def _open_decision(self, working: Working, given: dict[str, Any]) -> None:
        pair_id, _, seen = str(given["value"]).partition(" ")
        rejecting = given["action"] == blocks.REJECT

        async def make() -> dict[str, Any]:
            await self._may_decide(working, pair_id)
            remembered = Remembered(id=pair_id, seen=seen)
            if rejecting:
                return modals.reject(remembered)
            return modals.edit(await asyncio.to_thread(self._text_of_pair, working.job.person, pair_id), remembered)

        await self._opened(working, texts.REJECT if rejecting else texts.EDIT_TITLE, make)

    def _text_of_pair(self, person: str, pair_id: str) -> str:
        return pairs.open_pair(self._database, pair_id=pair_id, by=person).summary

    async def _reject(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        await self._may_decide(working, remembered.id)
        await asyncio.to_thread(
            self._reviews.reject, working.job.person, remembered.id, remembered.seen, str(given["text"])
        )
        await gently(self._changed_home(origin.user))

    async def _edit(self, working: Working, remembered: Remembered, given: dict[str, Any], origin: Origin) -> None:
        await self._may_decide(working, remembered.id)
        await asyncio.to_thread(
            self._reviews.edit, working.job.person, remembered.id, remembered.seen, str(given["text"])
        )
        await gently(self._changed_home(origin.user))


def _origin(working: Working) -> Origin:
    given = working.job.payload
    return Origin(
        user=str(given["user"]),
        channel=str(given.get("channel") or ""),
        thread=str(given.get("thread") or ""),
        respond=str(given.get("respond") or ""),
        at=working.accepted_at,
    )
