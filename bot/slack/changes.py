"""Edits and deletions in Slack: told by events, and looked for at start and hourly, because events are missed.

What a message says now is read from Slack anew rather than taken from the event, so that deliveries in any order end at
the same. What becomes of what is stored is :mod:`engine.learning.changes`'.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from bot import texts
from bot.chat import MessageGone, NotThere
from bot.jobs import Later, Working
from bot.slack.client import Slack, SlackRefused
from bot.slack.history import History
from bot.slack.people import People
from engine.formats.values import dicts, unix_time
from engine.learning import changes
from storage import change_queries as queries
from storage import queries as stored
from storage.database import Database
from storage.errors import StorageError

_HOUR_S = 3600.0
_PAGE = 200


class Changes:
    """Does the jobs, and sweeps.

    Args:
        sleep: for tests.
    """

    def __init__(
        self,
        database: Database,
        slack: Slack,
        history: History,
        people: People,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database, self._slack, self._history, self._people = database, slack, history, people
        self._sleep = sleep
        self._log = structlog.get_logger("slack.changes")

    async def changed(self, working: Working) -> None:
        """A message was edited or deleted; the payload has ``channel``, ``ts`` and ``deleted``."""
        given = working.job.payload
        channel, ts = str(given["channel"]), str(given["ts"])
        # Somebody who waits for an answer may need the same calls.
        await self._slack.web.pace.leisure("conversations.replies")
        known = await asyncio.to_thread(self._known, channel, ts)
        if known is None:
            return
        try:
            text = None if given["deleted"] else await self._text_now(channel, ts, known)
        except NotThere:
            return  # the app was taken out of the channel, or Slack hides it: nothing can be said of it
        await self._store(channel, ts, text)

    def _known(self, channel: str, ts: str) -> str | None:
        """The thread of a message that is stored, empty for one that is in none; None where it is not stored."""
        with self._database.read() as session:
            rows = queries.messages_with_id(session=session, platform="slack", channel=channel, message_id=ts)
            return max((row.thread for row in rows), default=None)

    async def _text_now(self, channel: str, ts: str, thread: str) -> str | None:
        """What a message says now; None where it is gone.

        Raises:
            NotThere: the channel cannot be read any more, or Slack hides what is so old.
        """
        raw: list[dict[str, Any]] = []
        with contextlib.suppress(MessageGone):
            answer = await self._slack.call("conversations_replies", channel=channel, ts=ts, limit=1)
            raw = [one for one in dicts(answer.get("messages")) if one.get("ts") == ts]
        if not raw:
            if await self._hidden(channel, thread or ts):
                raise NotThere(texts.CHANNEL_GONE)
            return None
        messages = await self._history.readable(channel, raw[:1])
        return messages[0].text if messages and raw[0].get("subtype") != "tombstone" else None

    async def _hidden(self, channel: str, ts: str) -> bool:
        """Whether Slack hides what a channel held at a time, as it does on free plans after 90 days.

        It says that a history is limited, and shows nothing of that time or before. What is hidden is not deleted.
        """
        answer = await self._slack.call("conversations_history", channel=channel, latest=ts, inclusive=True, limit=1)
        return answer.get("is_limited") is True and not dicts(answer.get("messages"))

    async def _store(self, channel: str, ts: str, text: str | None) -> None:
        taken_back = await asyncio.to_thread(
            changes.message_changed,
            self._database,
            platform="slack",
            channel=channel,
            message_id=ts,
            text=text,
            now=datetime.now(UTC),
        )
        if taken_back:
            self._log.info("pairs were taken back", pairs=taken_back, edited=text is not None)

    async def hourly(self) -> None:
        """Sweep at once, then each hour, until cancelled."""
        while True:
            try:
                await self.sweep()
            except (StorageError, SlackRefused, NotThere, Later) as error:
                self._log.warning("the sweep was cut short", reason=type(error).__name__)
            except Exception as error:
                self._log.error("the sweep broke", exc_info=error)
            await asyncio.sleep(_HOUR_S)

    async def sweep(self) -> int:
        """Compare what is stored with Slack; how many messages had changed."""
        last, found = "", 0
        seen: set[str] = set()
        while rows := await asyncio.to_thread(self._page, last):
            for conversation_id, channel, thread, read_at in rows:
                last = conversation_id
                for method in ("conversations.history", "conversations.replies"):
                    await self._slack.web.pace.leisure(method)
                try:
                    if channel not in seen:
                        await self._closed(channel)
                        seen.add(channel)
                    found += await self._compare(conversation_id, channel, thread, read_at)
                except (NotThere, SlackRefused):
                    continue  # the app was taken out of the channel: nothing can be said of it
                except Later as later:
                    await self._sleep(min(later.seconds, 60.0))
        return found

    async def _closed(self, channel: str) -> None:
        """A channel that was public when it was read and is private now; one that is not shown to us may be."""
        try:
            public = (await self._people.channel(channel)).public
        except NotThere:
            public = False
        if not public:
            await asyncio.to_thread(
                changes.channel_closed, self._database, platform="slack", channel=channel, now=datetime.now(UTC)
            )

    def _page(self, after: str) -> list[tuple[str, str, str, datetime]]:
        with self._database.read() as session:
            return list(queries.stored_conversations(session=session, platform="slack", after=after))

    def _messages(self, conversation_id: str) -> dict[str, tuple[str, str]]:
        with self._database.read() as session:
            rows = stored.messages_of(session=session, conversation_id=conversation_id)
            return {row.id: (row.text, row.thread) for row in rows}

    async def _compare(self, conversation_id: str, channel: str, thread: str, read_at: datetime) -> int:
        ours = await asyncio.to_thread(self._messages, conversation_id)
        if not ours:
            return 0
        theirs = await self._now(channel, thread, ours)
        # Of a thread, its beginning counts: Slack hides it as a whole.
        began = {ts: parent or thread or ts for ts, (_, parent) in ours.items()}
        shown_from = await self._shown_from(channel, sorted({began[ts] for ts in ours if ts not in theirs}))
        changed = 0
        for ts, (text, _) in ours.items():
            raw = theirs.get(ts)
            if raw is None and began[ts] < shown_from:
                continue
            if raw is None or raw.get("subtype") == "tombstone":
                await self._store(channel, ts, None)
                changed += 1
                continue
            edited = unix_time((raw.get("edited") or {}).get("ts"))
            # Names and titles of files change as well; only what its author has edited since counts.
            if edited is None or edited < read_at:
                continue
            messages = await self._history.readable(channel, [raw])
            if messages and messages[0].text != text:
                await self._store(channel, ts, messages[0].text)
                changed += 1
        return changed

    async def _shown_from(self, channel: str, missing: list[str]) -> str:
        """The first of some times in order of which Slack hides nothing; beyond them all where it hides them all."""
        low, high = 0, len(missing)
        while low < high:
            middle = (low + high) // 2
            if await self._hidden(channel, missing[middle]):
                low = middle + 1
            else:
                high = middle
        return missing[low] if low < len(missing) else "~"

    async def _now(self, channel: str, thread: str, ours: dict[str, tuple[str, str]]) -> dict[str, dict[str, Any]]:
        """The messages as Slack has them now, of those that are stored."""
        threads = {thread} if thread else {parent for _, parent in ours.values() if parent}
        found: dict[str, dict[str, Any]] = {}
        if not thread:
            # A thread's first message comes with its replies; it may be far older than the stretch.
            tops = sorted(ts for ts, (_, parent) in ours.items() if not parent and ts not in threads)
            if tops:
                async for page in self._slack.pages(
                    "conversations_history", channel=channel, oldest=tops[0], latest=tops[-1], inclusive=True,
                    limit=_PAGE,
                ):  # fmt: skip
                    found |= {str(one.get("ts")): one for one in dicts(page.get("messages"))}
        for parent in sorted(threads):
            try:
                async for page in self._slack.pages("conversations_replies", channel=channel, ts=parent, limit=_PAGE):
                    found |= {str(one.get("ts")): one for one in dicts(page.get("messages"))}
            except MessageGone:
                continue  # the whole thread is gone
        return found
