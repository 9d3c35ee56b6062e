"""Edits and deletions in Discord: told by events, and looked for at start and hourly, because events are missed.

What a message says now is read from Discord anew rather than taken from the event, so that deliveries in any order end
at the same. Only messages that are stored are looked at: the gateway tells of every change in every channel. What
becomes of what is stored is :mod:`engine.learning.changes`'.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import UTC, datetime

import structlog

from bot.chat import Forbidden, MessageGone, NotThere
from bot.discord.client import ChannelGone, Discord, DiscordRefused
from bot.discord.history import History
from bot.discord.people import People, Seen
from bot.discord.reading import Raw, edited_at, id_of
from bot.jobs import Later, Working
from engine.learning import changes
from storage import change_queries as queries
from storage import queries as stored
from storage.database import Database
from storage.errors import StorageError

_HOUR_S = 3600.0
#: Changes of messages that are not stored are remembered so long, for those which are just being read.
_RECENT_S, _MOST_RECENT = 1200.0, 20_000
_IDS = 100


class Changes:
    """Does the jobs, and sweeps.

    Args:
        accept: stores a job: guild, channel, the ids of messages, and whether they were deleted.
    """

    def __init__(
        self,
        database: Database,
        connection: Discord,
        history: History,
        people: People,
        accept: Callable[[int, int, list[str], bool], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database, self._discord, self._history, self._people = database, connection, history, people
        self._accept, self._clock = accept, clock
        #: By id: when it was heard of, the guild, the channel, and whether it was deleted.
        self._recent: OrderedDict[str, tuple[float, int, int, bool]] = OrderedDict()
        #: Channels that one sweep has found to be private.
        self._closed: set[str] = set()
        self._log = structlog.get_logger("discord.changes")

    async def heard(self, guild: int, channel: int, ids: Iterable[int], *, deleted: bool) -> None:
        """Messages were edited or deleted; those that are stored make a job."""
        now = self._clock()
        wanted = [str(one) for one in ids]
        for one in wanted:
            self._recent[one] = (now, guild, channel, deleted)
            self._recent.move_to_end(one)
        while self._recent and (
            len(self._recent) > _MOST_RECENT or next(iter(self._recent.values()))[0] < now - _RECENT_S
        ):
            self._recent.popitem(last=False)
        known = await asyncio.to_thread(self._known, wanted)
        if known:
            await self._accept(guild, channel, known, deleted)

    def waiting(self, message_id: str) -> bool:
        """Whether a change of a message was heard of lately."""
        return message_id in self._recent

    async def again(self, ids: Collection[str], began: datetime) -> None:
        """Messages have just been stored that were read from ``began`` on: what was heard of them since counts now."""
        since = self._clock() - (datetime.now(UTC) - began).total_seconds() - 1.0
        found: dict[tuple[int, int, bool], list[str]] = {}
        for one in ids:
            heard = self._recent.get(one)
            if heard is not None and heard[0] >= since:
                found.setdefault(heard[1:], []).append(one)
        for (guild, channel, deleted), ones in found.items():
            await self._accept(guild, channel, ones, deleted)

    def _known(self, ids: list[str]) -> list[str]:
        with self._database.read() as session:
            return sorted(queries.stored_messages(session=session, platform="discord", ids=ids))

    async def changed(self, working: Working) -> None:
        """Messages were edited or deleted; the payload has ``guild``, ``place`` (the channel), ``ids``, ``deleted``."""
        given = working.job.payload
        ids = [str(one) for one in given["ids"]]
        if given["deleted"]:
            for one in ids:
                await self._store(one, None)
            return
        try:
            seen = await self._people.readable(int(given["guild"]), int(given["place"]))
        except ChannelGone:
            for one in ids:
                # A thread's first message has the thread's id, and may stand in its channel still.
                if one != str(given["place"]):
                    await self._store(one, None)
            return
        except NotThere:
            return  # the app was taken out of the channel: nothing can be said of it
        for one in ids:
            try:
                await self._bring_up_to_date(seen, one, await self._history.message(seen.id, int(one)))
            except MessageGone:
                await self._store(one, None)
            except (NotThere, Forbidden, DiscordRefused):
                continue  # the app was taken out meanwhile; the others may have been told of before

    async def _bring_up_to_date(self, seen: Seen, message_id: str, raw: Raw) -> None:
        [message] = await self._history.readable(seen, [raw])
        await self._store(message_id, message.text)

    async def _store(self, message_id: str, text: str | None) -> None:
        taken_back = await asyncio.to_thread(self._store_now, message_id, text)
        if taken_back:
            self._log.info("pairs were taken back", pairs=taken_back, edited=text is not None)

    def _store_now(self, message_id: str, text: str | None) -> int:
        # A message's id is its own in all of Discord; its first one may be stored in a channel and under its thread.
        with self._database.read() as session:
            channels = queries.channels_with_message(session=session, platform="discord", message_id=message_id)
        return sum(
            changes.message_changed(
                self._database, platform="discord", channel=channel, message_id=message_id, text=text,
                now=datetime.now(UTC),
            )
            for channel in channels
        )  # fmt: skip

    async def gone(self, *, channel: str = "", thread: str = "", beginning: bool = True) -> None:
        """A channel or thread was deleted, with all its messages.

        Args:
            beginning: whether a thread's first message went as well: a forum post's is in it, another's in its channel.
        """
        ids = await asyncio.to_thread(self._held, channel, thread)
        ids = [one for one in ids if beginning or one != thread]
        for start in range(0, len(ids), _IDS):
            await self._accept(0, int(thread or channel), ids[start : start + _IDS], True)

    def _held(self, channel: str, thread: str) -> list[str]:
        with self._database.read() as session:
            return sorted(queries.messages_held(session=session, platform="discord", channel=channel, thread=thread))

    async def closed(self, channel: str) -> None:
        """A channel that may have been public is so no more."""
        await asyncio.to_thread(
            changes.channel_closed, self._database, platform="discord", channel=channel, now=datetime.now(UTC)
        )

    # The sweep -------------------------------------------------------------------------------------------------------

    async def hourly(self) -> None:
        """Sweep as soon as the gateway has told what there is, then each hour, until cancelled."""
        await self._discord.client.wait_until_ready()
        while True:
            try:
                await self.sweep()
            except (StorageError, DiscordRefused, NotThere, Later) as error:
                self._log.warning("the sweep was cut short", reason=type(error).__name__)
            except Exception as error:
                self._log.error("the sweep broke", exc_info=error)
            await asyncio.sleep(_HOUR_S)

    async def sweep(self) -> int:
        """Compare what is stored with Discord; how many messages had changed."""
        last, found = "", 0
        self._closed.clear()
        while rows := await asyncio.to_thread(self._page, last):
            for conversation_id, workspace, channel, thread, read_at in rows:
                last = conversation_id
                if not workspace.isdigit() or not (thread or channel).isdigit():
                    continue  # read from a file
                while True:
                    try:
                        found += await self._compare(
                            conversation_id, int(workspace), int(thread or channel), int(channel or thread), read_at
                        )
                    except Later as later:
                        await asyncio.sleep(min(later.seconds, 60.0))
                        continue
                    except (NotThere, Forbidden):
                        # The app was taken out of the channel: nothing can be said of its messages, and who can read it
                        # is not known any more.
                        await self._close(channel or thread)
                    except DiscordRefused:
                        pass
                    break
        return found

    def _page(self, after: str) -> list[tuple[str, str, str, str, datetime]]:
        with self._database.read() as session:
            return list(queries.stored_places(session=session, platform="discord", after=after))

    def _messages(self, conversation_id: str) -> dict[str, str]:
        with self._database.read() as session:
            return {row.id: row.text for row in stored.messages_of(session=session, conversation_id=conversation_id)}

    async def _close(self, channel: str) -> None:
        if channel not in self._closed:
            self._closed.add(channel)
            await self.closed(channel)

    async def _deleted(self, channel: int, message_id: int) -> bool:
        """Whether Discord says that a message is not there: without the right to its history it shows none at all."""
        try:
            await self._history.message(channel, message_id)
        except (MessageGone, ChannelGone):
            return True
        except (NotThere, Forbidden, DiscordRefused):
            return False
        return False

    async def _compare(self, conversation_id: str, guild: int, channel: int, parent: int, read_at: datetime) -> int:
        ours = await asyncio.to_thread(self._messages, conversation_id)
        if not ours:
            return 0
        try:
            seen = await self._people.readable(guild, channel)
        except ChannelGone:
            # A thread's first message may stand in its channel still.
            gone = [
                one for one in ours if int(one) != channel or parent == channel or await self._deleted(parent, channel)
            ]
            for one in gone:
                await self._store(one, None)
            return len(gone)
        if not seen.public:
            await self._close(seen.place.channel)
        theirs = await self._now(seen, {int(one) for one in ours})
        changed = 0
        for one, text in ours.items():
            raw = theirs.get(int(one))
            if raw is None:
                where = self._history.beginning(seen) if int(one) == seen.id else seen.id
                if await self._deleted(where, int(one)):
                    await self._store(one, None)
                    changed += 1
                continue
            # Previews of links and names change as well; only what its author has edited since counts.
            if (edited := edited_at(raw)) is None or edited < read_at:
                continue
            [message] = await self._history.readable(seen, [raw])
            if message.text != text:
                await self._store(one, message.text)
                changed += 1
        return changed

    async def _now(self, seen: Seen, ids: set[int]) -> dict[int, Raw]:
        """The messages as Discord has them now, of those that are stored."""
        found: dict[int, Raw] = {}
        # A thread's first message may stand in its channel.
        here = {one for one in ids if one != seen.id}
        before = max(here) + 1 if here else 0
        while before:
            page = await self._history.page(seen, before=before)
            found |= {id_of(one): one for one in page if id_of(one) in ids}
            before = id_of(page[-1]) if page and id_of(page[-1]) > min(here) else 0
        if seen.id in ids and seen.id not in found:
            first = await self._history.first(seen)
            if first is not None:
                found[seen.id] = first
        return found
