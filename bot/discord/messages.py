"""Posting to Discord: private and public answers, answers that grow as they are written, and their later changes.

An answer goes by the token of what was asked while that lasts (15 minutes), else as a message: to the person's own
messages with the app where it was private, else to the channel. Nobody is pinged and nothing unfurls. What stands where
is the caller's to remember; what it says is :mod:`bot.discord.embeds`'.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from bot import texts
from bot.answers import Shown
from bot.chat import MessageGone, NotThere
from bot.discord import embeds
from bot.discord.client import Discord, DiscordRefused, NoDirectMessages, TokenOver
from bot.discord.embeds import Content, payload
from bot.jobs import Later, Working
from storage.errors import NotPermitted, RedraftError

#: Discord's 15 minutes, and a margin.
_TOKEN_S = 14.5 * 60
#: For so long after an interaction its message may not be there yet; it is tried again after these waits.
_YOUNG_S, _AGAIN_S = 10.0, (0.25, 0.5, 1.0, 2.0)
#: Seconds between two edits of an answer that is being written: Discord takes five in two seconds a token.
_EDIT_EVERY_S = 1.2
ORIGINAL = "@original"

MayRead = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where somebody asked, so that they can be answered there.

    Attributes:
        user: who asked.
        guild, channel: where they stood; empty in the app's messages to them.
        token: the interaction's.
        public: whether what answers the interaction is seen by everybody there.
        update: whether answering it changes the message whose button was pressed, rather than making a new one.
        at: when they asked (aware).
    """

    user: str
    guild: str = ""
    channel: str = ""
    token: str = field(default="", repr=False)
    public: bool = False
    update: bool = False
    at: datetime | None = None

    @property
    def age(self) -> float:
        """Seconds since they asked."""
        return (datetime.now(UTC) - self.at).total_seconds() if self.at is not None else 0.0

    @property
    def open(self) -> bool:
        """Whether the interaction can still be answered."""
        return bool(self.token) and self.age < _TOKEN_S


class Messages:
    """Posts messages.

    Args:
        sleep: for tests.
    """

    def __init__(self, connection: Discord, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._discord, self._sleep = connection, sleep
        self._log = structlog.get_logger("discord.messages")

    async def tell(self, origin: Origin, text: str, *, first: bool = True) -> None:
        """Tell the asker something that only they see.

        Args:
            first: it is what answers the interaction; what answered it before stays otherwise.
        """
        await self.privately(origin, [embeds.notice(text)], first=first)

    async def privately(
        self,
        origin: Origin,
        contents: Sequence[Content],
        may_read: MayRead | None = None,
        *,
        first: bool = True,
        working: Working | None = None,
    ) -> None:
        """Show something to one person; what the job has shown of it before is not shown again.

        Args:
            may_read: raises where they may not read what it is made of; asked before it goes anywhere but to the place
                in which they asked. Without it, it is what they may be told wherever they are.
            first: see :meth:`tell`.

        Raises:
            Forbidden, NotThere: see ``may_read``.
        """
        done = int(working.progress.get("pages") or 0) if working is not None else 0
        for number, content in enumerate(contents[done:], done):
            if not (origin.open and await self._answered(origin, content, first=first and number == 0)):
                if may_read is not None:
                    await may_read()
                try:
                    await self._say_to(origin.user, content)
                except NoDirectMessages:
                    self._log.info("a person takes no messages; what was asked for is in their recent ones")
                    return
            if working is not None and number + 1 < len(contents):
                await working.save(pages=number + 1)

    async def _answered(self, origin: Origin, content: Content, *, first: bool) -> bool:
        """Whether something could be shown by an interaction's token."""
        if first and origin.public:
            # What stands there for everybody goes, and what is only for the asker comes.
            with contextlib.suppress(RedraftError):
                await self._by_token("DELETE", origin, ORIGINAL)
            first = False
        if first and not origin.update:
            try:
                await self._by_token("PATCH", origin, ORIGINAL, payload(content, edit=True))
                return True
            except TokenOver:
                return False
            except MessageGone:  # its reader has dismissed it
                pass
        try:
            await self._by_token("POST", origin, "", payload(content, ephemeral=True))
        except (TokenOver, MessageGone):
            return False
        return True

    async def _by_token(
        self, method: str, origin: Origin, message: str, body: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A request by an interaction's token; for a moment after a deferral, its message may not be there yet."""
        path = "/webhooks/{webhook_id}/{webhook_token}" + (f"/messages/{message}" if message else "")
        waits = iter(_AGAIN_S if origin.age < _YOUNG_S else ())
        while True:
            try:
                answer = await self._discord.request(
                    method, path, body, webhook_id=self._discord.app, webhook_token=origin.token
                )
                return answer if isinstance(answer, dict) else {}
            except (TokenOver, MessageGone):
                wait = next(waits, None)
                if wait is None:
                    raise
                await self._sleep(wait)

    async def _say_to(self, user: str, content: Content) -> None:
        """Write to a person.

        Raises:
            NoDirectMessages: they take none.
        """
        channel = await self._discord.request("POST", "/users/@me/channels", {"recipient_id": user})
        await self.say(str(channel["id"]), content)

    async def say(self, channel: str, content: Content, name: str = "") -> str:
        """Post into a channel; the message's id.

        Args:
            name: two posts of one name within some minutes are one message.

        Raises:
            NotThere: the app may not post there.
        """
        body = payload(content) | ({"nonce": name, "enforce_nonce": True} if name else {})
        answer = await self._discord.request("POST", "/channels/{channel_id}/messages", body, channel_id=channel)
        return str(answer["id"])

    async def say_once(self, working: Working, channel: str, content: Content, number: int = 0) -> str:
        """Post the so-manieth message of a job, unless an earlier attempt has; its id.

        Where that attempt died before it could remember so, Discord knows the message by its name.

        Raises:
            NotThere: the app may not post there.
        """
        posted = [str(one) for one in working.progress.get("posted", ())]
        if number < len(posted):
            return posted[number]
        name = hashlib.sha256(f"{working.job.key} {number}".encode()).hexdigest()[:25]
        message = await self.say(channel, content, name)
        await working.save(posted=[*posted, message])
        return message

    # Answers ---------------------------------------------------------------------------------------------------------

    async def answer(
        self, origin: Origin, shown: Shown, may_read: MayRead, working: Working, *, first: bool = True
    ) -> None:
        """Show the asker a summary that only they see; see :meth:`privately`."""
        pages = embeds.answer(shown, public=False, private_note=True)
        await self.privately(origin, pages, may_read, first=first, working=working)

    async def answer_all(self, origin: Origin, shown: Shown, working: Working, *, first: bool) -> str:
        """Show a summary where it was asked for, to everybody there; the ids of its messages, joined by blanks.

        Raises:
            TokenOver: the interaction cannot be answered any more.
            NotThere: what it was to be shown in is gone.
        """
        if not origin.open:
            raise TokenOver("An interaction's token is over.")
        ids = [str(one) for one in working.progress.get("posted", ())]
        for number, content in enumerate(embeds.answer(shown, public=True)):
            if number < len(ids):
                continue
            if number == 0 and first:
                made = await self._by_token("PATCH", origin, ORIGINAL, payload(content, edit=True))
            else:
                made = await self._by_token("POST", origin, "", payload(content))
            ids.append(str(made["id"]))
            await working.save(posted=ids)
        return " ".join(ids)

    async def post(self, working: Working, channel: str, shown: Shown, *, shared_by: str = "") -> str:
        """Post a summary for everybody in a channel or thread, each page once however often the job is begun.

        Returns:
            The ids of its messages, joined by blanks.

        Raises:
            NotThere: the app may not post there.
        """
        pages = embeds.answer(shown, public=True, shared_by=shared_by)
        return " ".join([await self.say_once(working, channel, page, number) for number, page in enumerate(pages)])

    async def change(
        self,
        channel: str,
        message: str,
        shown: Shown,
        grown: Callable[[str], Awaitable[None]],
        *,
        shared_by: str = "",
    ) -> str:
        """Show a public summary as it is now; the ids of its messages, empty where none can be changed any more.

        Args:
            message: what :meth:`post` or :meth:`answer_all` gave.
            grown: called with all of them each time that one more had to be posted.
        """
        there = message.split()
        now: list[str] = []
        for number, page in enumerate(embeds.answer(shown, public=True, shared_by=shared_by)):
            try:
                if number < len(there):
                    await self._edit(channel, there[number], page)
                    now.append(there[number])
                else:
                    now.append(await self.say(channel, page))
                    await grown(" ".join(now))
            except (NotThere, NotPermitted, DiscordRefused):
                return ""
        for extra in there[len(now) :]:
            await self.remove(channel, extra)
        return " ".join(now)

    async def _edit(self, channel: str, message: str, content: Content) -> None:
        path = "/channels/{channel_id}/messages/{message_id}"
        await self._discord.request("PATCH", path, payload(content, edit=True), channel_id=channel, message_id=message)

    async def remove(self, channel: str, message: str) -> None:
        """Delete a message of ours; one that is gone is no failure."""
        path = "/channels/{channel_id}/messages/{message_id}"
        with contextlib.suppress(NotThere, NotPermitted, DiscordRefused):
            await self._discord.request("DELETE", path, channel_id=channel, message_id=message)

    async def replace(self, origin: Origin, content: Content) -> bool:
        """Put something in place of the message whose button was pressed; False where that cannot be any more."""
        if not origin.open:
            return False
        try:
            await self._by_token("PATCH", origin, ORIGINAL, payload(content, edit=True))
        except (TokenOver, MessageGone):
            return False
        return True

    async def replace_private(self, origin: Origin, shown: Shown) -> bool:
        """Show a private summary as it is now, in place of the message whose button was pressed."""
        pages = embeds.answer(shown, public=False, private_note=True)
        return len(pages) == 1 and await self.replace(origin, pages[0])

    def writer(self, origin: Origin) -> Writer:
        """An answer that shows as it is written."""

        async def show(content: Content) -> None:
            path = "/webhooks/{webhook_id}/{webhook_token}/messages/@original"
            await self._discord.request(
                "PATCH", path, payload(content, edit=True), webhook_id=self._discord.app, webhook_token=origin.token
            )

        return Writer(show)


class Writer:
    """A :class:`bot.chat.Sink` that edits what answers an interaction, as often as Discord lets it, with the newest.

    It never waits for Discord: whoever writes goes on, and an edit that failed is none that anybody misses.
    """

    def __init__(self, show: Callable[[Content], Awaitable[None]], every_s: float = _EDIT_EVERY_S) -> None:
        self._show, self._every_s = show, every_s
        self._text = ""
        self._next: Content | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()

    async def queued(self, ahead: int, message: str) -> None:
        """Waiting; whoever is next is told nothing of it."""
        if ahead:
            self._put(embeds.notice(texts.in_line(ahead, message)))

    async def progress(self, done: int, total: int) -> None:
        """Parts of a long conversation were read."""
        if not self._text:
            self._put(embeds.notice(texts.progress(done, total)))

    async def sentence(self, text: str) -> None:
        """Show one more sentence, with those before it."""
        joint = "\n" if text.lstrip().startswith(("-", "•", "*")) else " "
        self._text += (joint if self._text else "") + text
        self._put(embeds.writing(self._text))

    async def close(self, *, newest: bool = False) -> None:
        """Show nothing more; what is under way is waited for, so that it does not overtake what comes after it.

        Args:
            newest: show what came last, because nothing comes after it for a while.
        """
        self._ended.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)
        if newest and self._next is not None:
            await gently(self._show(self._next))

    def _put(self, content: Content) -> None:
        self._next = content
        if (self._task is None or self._task.done()) and not self._ended.is_set():
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        while self._next is not None and not self._ended.is_set():
            content, self._next = self._next, None
            try:
                await self._show(content)
            except (RedraftError, Later):
                self._ended.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._ended.wait()


async def gently(*calls: Awaitable[object]) -> None:
    """Await calls whose failures are nobody's business: a display that could not be brought up to date."""
    await asyncio.gather(*calls, return_exceptions=True)
