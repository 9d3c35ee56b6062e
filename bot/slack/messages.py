"""Posting to Slack: private and public answers, answers that stream as they are written, and their later changes.

A private answer goes by the ``response_url`` of what was asked while that lasts (5 uses, 30 minutes), else as an
ephemeral message, else to the person's own messages with the app. Nothing unfurls. What stands where is the caller's to
remember; what it says is :mod:`bot.slack.blocks`'.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot import texts
from bot.answers import Shown
from bot.chat import Forbidden, NotThere, Quiet, Sink
from bot.jobs import Working
from bot.slack import blocks
from bot.slack.blocks import Block
from bot.slack.client import Slack, SlackRefused
from engine.formats.values import dicts
from engine.text.escape import escape_discord

#: Slack's 30 minutes, and a margin.
_RESPOND_S = 27 * 60
#: Uses of a ``response_url`` that one answer may take; the rest is for what comes after it.
_RESPOND_USES = 3
#: Seconds between two pieces of a streamed answer, and characters in one (Slack takes 12,000).
_STREAM_EVERY_S, _STREAM_PIECE = 1.0, 10_000


@dataclass(frozen=True, slots=True)
class Origin:
    """Where somebody asked, so that they can be answered there.

    Attributes:
        user: who asked.
        channel: where they stood; empty in the home.
        thread: the thread that they stood in, or empty.
        respond: a ``response_url``, or empty.
        at: when they asked (aware).
    """

    user: str
    channel: str = ""
    thread: str = ""
    respond: str = ""
    at: datetime | None = None

    @property
    def respond_now(self) -> str:
        """The ``response_url`` while it lasts."""
        if not self.respond or self.at is None:
            return ""
        return self.respond if (datetime.now(UTC) - self.at).total_seconds() < _RESPOND_S else ""


class Messages:
    """Posts messages."""

    def __init__(self, slack: Slack) -> None:
        self._slack = slack

    async def tell(self, origin: Origin, text: str, block_list: Sequence[Block] = ()) -> None:
        """Tell the asker something that only they see."""
        escaped = blocks.escape(text)
        content: dict[str, Any] = {"text": escaped} | ({"blocks": list(block_list)} if block_list else {})
        await self._privately(origin, [content])

    async def answer(
        self, origin: Origin, shown: Shown, may_read: Callable[[], Awaitable[None]], working: Working
    ) -> None:
        """Show the asker a summary that only they see; pages that the job has shown before are not shown again.

        Args:
            may_read: raises where they may not read what was summarised; asked before it goes anywhere but to the
                place in which they asked.

        Raises:
            Forbidden: they have left the channel in which they asked.
            NotThere: it cannot be known whether they may read it.
        """
        pages = blocks.answer(shown, public=False, private_note=bool(origin.channel))
        contents = [{"text": blocks.fallback(shown), "blocks": page} for page in pages]
        await self._privately(origin, contents, may_read, working)

    async def _privately(
        self,
        origin: Origin,
        contents: Sequence[dict[str, Any]],
        may_read: Callable[[], Awaitable[None]] | None = None,
        working: Working | None = None,
    ) -> None:
        """Show something to one person; without ``may_read`` it is what they may be told wherever they are."""
        done = int(working.progress.get("pages") or 0) if working is not None else 0
        for number, content in enumerate(contents[done:], done):
            await self._one_privately(origin, content, len(contents), may_read)
            # Slack has no way to ask whether somebody was shown something: it is remembered at once, page by page.
            if working is not None and number + 1 < len(contents):
                await working.save(pages=number + 1)

    async def _one_privately(
        self, origin: Origin, content: dict[str, Any], pages: int, may_read: Callable[[], Awaitable[None]] | None
    ) -> None:
        if origin.respond_now and pages <= _RESPOND_USES:
            thread = {"thread_ts": origin.thread} if origin.thread else {}
            message = {"response_type": "ephemeral", "replace_original": False, **content, **thread}
            if await self._slack.respond(origin.respond_now, **message):
                return
        if origin.channel:
            thread = {"thread_ts": origin.thread} if origin.thread else {}
            try:
                await self._slack.call(
                    "chat_postEphemeral", channel=origin.channel, user=origin.user, **content, **thread
                )
                return
            except (NotThere, SlackRefused):
                pass  # the app is not in there: the person's own messages remain
            except Forbidden:
                if may_read is not None:
                    raise
            if may_read is not None:
                await may_read()
        await self._slack.call(
            "chat_postMessage", channel=origin.user, unfurl_links=False, unfurl_media=False, **content
        )

    async def post(self, working: Working, channel: str, shown: Shown, *, thread: str = "", shared_by: str = "") -> str:
        """Post a summary for everybody in a channel, each page once however often the job is begun.

        Returns:
            The ``ts`` of its messages, with spaces between.

        Raises:
            NotThere: the app may not post there; the sentence says why.
        """
        pages = blocks.answer(shown, public=True, shared_by=shared_by)
        return " ".join(
            [
                await self.post_once(working, number, channel, blocks.fallback(shown), page, thread=thread)
                for number, page in enumerate(pages)
            ]
        )

    async def post_once(
        self, working: Working, number: int, channel: str, text: str, page: Sequence[Block], *, thread: str = ""
    ) -> str:
        """Post the so-manieth message of a job, unless an earlier attempt has; its ``ts``.

        That it is about to be posted is remembered before, its ``ts`` after. Whoever finds only the first does not
        know whether it was posted, and looks for it in Slack by the name that its first block has.

        Raises:
            NotThere: the app may not post there.
        """
        posted = [str(ts) for ts in working.progress.get("posted", ())]
        if number < len(posted):
            return posted[number]
        name = f"{hashlib.sha256(working.job.key.encode()).hexdigest()[:32]}.{number}"
        ts = ""
        if working.progress.get("posting") == number:
            ts = await self._find(channel, thread, name, working.accepted_at)
        else:
            await working.save(posting=number)
        ts = ts or await self.say(channel, text, [{**page[0], "block_id": name}, *page[1:]], thread=thread)
        await working.save(posted=[*posted, ts])
        return ts

    async def _find(self, channel: str, thread: str, name: str, since: datetime) -> str:
        """The ``ts`` of a message whose first block has a name, or empty; it was posted after a time."""
        given: dict[str, Any] = {"ts": thread} if thread else {}
        # Slack's clock and this machine's may differ.
        oldest = f"{since.timestamp() - 600:.6f}"
        method = "conversations_replies" if thread else "conversations_history"
        try:
            async for page in self._slack.pages(method, channel=channel, oldest=oldest, limit=200, **given):
                for message in dicts(page.get("messages")):
                    if any(block.get("block_id") == name for block in dicts(message.get("blocks"))[:1]):
                        return str(message["ts"])
        except (NotThere, SlackRefused):
            return ""  # then it cannot be posted either
        return ""

    async def say(self, channel: str, text: str, page: Sequence[Block] = (), *, thread: str = "") -> str:
        """Post one message; ``text`` is escaped already."""
        given: dict[str, Any] = {"thread_ts": thread} if thread else {}
        if page:
            given["blocks"] = list(page)
        try:
            answer = await self._slack.call(
                "chat_postMessage", channel=channel, text=text, unfurl_links=False, unfurl_media=False, **given
            )
        except SlackRefused as error:
            if error.code in ("is_archived", "not_in_channel", "restricted_action", "no_permission"):
                sentence = texts.CANNOT_POST_ARCHIVED if error.code == "is_archived" else texts.CANNOT_POST
                raise NotThere(sentence) from error
            raise
        return str(answer.get("ts") or "")

    async def change(
        self,
        channel: str,
        ts: str,
        shown: Shown,
        grown: Callable[[str], Awaitable[None]],
        *,
        thread: str = "",
        shared_by: str = "",
    ) -> str:
        """Show a public summary as it is now; the ``ts`` of its messages, empty where none can be changed any more.

        Args:
            ts: what :meth:`post` gave.
            grown: called with all of them each time that one more had to be posted.
        """
        there = ts.split()
        now: list[str] = []
        for number, page in enumerate(blocks.answer(shown, public=True, shared_by=shared_by)):
            given: dict[str, Any] = {"text": blocks.fallback(shown), "blocks": page}
            try:
                if number < len(there):
                    await self._slack.call("chat_update", channel=channel, ts=there[number], **given)
                    now.append(there[number])
                else:
                    now.append(await self.say(channel, given["text"], page, thread=thread))
                    await grown(" ".join(now))
            except (NotThere, SlackRefused):
                return ""
        for extra in there[len(now) :]:
            await self.remove(channel, extra)
        return " ".join(now)

    async def replace_private(self, respond: str, shown: Shown) -> bool:
        """Show a private summary as it is now, in place of the message whose ``response_url`` this is."""
        pages = blocks.answer(shown, public=False, private_note=True)
        if len(pages) > 1:
            return False
        return await self._slack.respond(respond, replace_original=True, text=blocks.fallback(shown), blocks=pages[0])

    async def hide(self, respond: str) -> bool:
        """Take a private summary out of sight while its reader writes without it."""
        return await self._slack.respond(respond, replace_original=True, text=blocks.escape(texts.HIDDEN_WHILE_WRITING))

    async def remove(self, channel: str, ts: str) -> None:
        """Delete a message of ours; one that is gone is no failure."""
        try:
            await self._slack.call("chat_delete", channel=channel, ts=ts)
        except (NotThere, SlackRefused):
            return

    def streamer(
        self, channel: str, thread: str, user: str, team: str, started: Callable[[str], Awaitable[None]]
    ) -> Streamer:
        """A public answer in a thread that shows as it is written."""
        return Streamer(self._slack, channel, thread, user, team, started)


class Waiting:
    """A :class:`bot.chat.Sink` that tells the asker once that their request waits in a line longer than usual.

    Args:
        inner: hears everything else; None where nobody does.
        usual: requests before theirs that are told of at acceptance, and not again.
    """

    def __init__(self, messages: Messages, origin: Origin, working: Working, inner: Sink | None, usual: int) -> None:
        self._messages, self._origin, self._working = messages, origin, working
        self._inner, self._usual = inner or Quiet(), usual

    async def queued(self, ahead: int, message: str) -> None:
        """Tell, unless it was told."""
        if (ahead >= self._usual or message) and not self._working.progress.get("told"):
            await self._working.save(told=True)
            await gently(self._messages.tell(self._origin, texts.in_line(ahead, message)))

    async def progress(self, done: int, total: int) -> None:
        """Pass it on."""
        await self._inner.progress(done, total)

    async def sentence(self, text: str) -> None:
        """Pass it on."""
        await self._inner.sentence(text)


class Streamer:
    """A :class:`bot.chat.Sink` whose sentences appear in a thread, in batches that Slack's limits allow.

    Where Slack refuses to stream, nothing is shown before the end, and :meth:`finish` says so.

    Attributes:
        ts: of the message, once there is one.
    """

    def __init__(
        self,
        slack: Slack,
        channel: str,
        thread: str,
        user: str,
        team: str,
        started: Callable[[str], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slack, self._channel, self._thread, self._user, self._team = slack, channel, thread, user, team
        self._started, self._clock = started, clock
        self._buffer = ""
        self._sent_at = 0.0
        self._refused = False
        self.ts = ""

    async def queued(self, ahead: int, message: str) -> None:
        """Nothing is shown while it waits."""

    async def progress(self, done: int, total: int) -> None:
        """Nothing is shown while it reads."""

    async def sentence(self, text: str) -> None:
        """Show one more sentence, with those before it that have not been shown yet."""
        joint = "\n" if text.lstrip().startswith(("-", "•", "*")) else " "
        self._buffer += (joint if self._buffer or self.ts else "") + escape_discord(text)
        if self._clock() - self._sent_at >= _STREAM_EVERY_S:
            await self._flush()

    async def finish(self, shown: Shown) -> bool:
        """End the message with the small print and the buttons; False where not all of it was streamed."""
        await self._flush()
        if not self.ts or self._refused:
            return False
        tail = [*blocks.small_print(shown), blocks.buttons(shown, public=True)]
        try:
            await self._slack.call("chat_stopStream", channel=self._channel, ts=self.ts, blocks=tail)
        except SlackRefused:
            return False
        return True

    async def _flush(self) -> None:
        while self._buffer and not self._refused:
            piece, self._buffer = self._buffer[:_STREAM_PIECE], self._buffer[_STREAM_PIECE:]
            try:
                if self.ts:
                    await self._slack.call("chat_appendStream", channel=self._channel, ts=self.ts, markdown_text=piece)
                else:
                    answer = await self._slack.call(
                        "chat_startStream",
                        channel=self._channel,
                        thread_ts=self._thread,
                        recipient_user_id=self._user,
                        recipient_team_id=self._team,
                        markdown_text=piece,
                    )
                    self.ts = str(answer.get("ts") or "")
                    await self._started(self.ts)
            except (SlackRefused, NotThere):
                self._refused = True
        self._sent_at = self._clock()


async def gently(*calls: Awaitable[object]) -> None:
    """Await calls whose failures are nobody's business: a display that could not be brought up to date."""
    await asyncio.gather(*calls, return_exceptions=True)
