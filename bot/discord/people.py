"""Discord's members and channels: names kept for a while, rights asked for anew.

Whether somebody may read a channel or thread is reckoned from the member and the channel as Discord gives them at that
moment, and from the roles that the gateway tells of. It implements :class:`bot.chat.Access`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import discord
from discord.abc import GuildChannel

from bot import texts
from bot.chat import Forbidden, NotThere, Place
from bot.discord.client import Discord, DiscordRefused
from bot.discord.reading import Raw, account_name, id_of
from bot.jobs import Later
from engine.formats.values import clean_name

_NAMES_S = 3600.0
_MOST_CACHED = 20_000
#: Members asked for at once, and for one reading; beyond it people are called by the names of their accounts.
_AT_ONCE, _NICKNAMES = 8, 60
#: What the app needs to read, and to post.
TO_READ = ("view_channel", "read_message_history")
TO_POST = ("view_channel", "send_messages", "embed_links")
TO_POST_IN_THREADS = ("view_channel", "send_messages_in_threads", "embed_links")
_KINDS = (discord.ForumChannel, discord.CategoryChannel)
#: Their chats are for those who may come in.
_VOICES = (discord.VoiceChannel, discord.StageChannel)


@dataclass(frozen=True, slots=True)
class Seen:
    """A channel or thread as the app sees it.

    Attributes:
        guild: of it.
        raw: the library's.
        title: ``#name``, or a thread's own name.
        public: whether everyone in the guild may read it.
        place: the thread's place, or the channel's; a private thread is a channel of its own, because its members are
            not its channel's.
    """

    guild: discord.Guild
    raw: GuildChannel | discord.Thread
    title: str
    public: bool
    place: Place

    @property
    def id(self) -> int:
        """Of the channel or thread that messages are read from."""
        return self.raw.id


def channel_of(place: Place) -> int:
    """The id of the channel or thread in which a place's messages are."""
    return int(place.thread or place.channel)


class People:
    """Looks members and channels up.

    Args:
        clock: for tests.
    """

    def __init__(self, connection: Discord, clock: Callable[[], float] = time.monotonic) -> None:
        self._discord, self._clock = connection, clock
        self._names: dict[tuple[int, int], tuple[float, str]] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def channel(self, guild_id: int, channel_id: int, *, of_posts: bool = False) -> Seen:
        """A channel or thread, as it is now.

        Args:
            of_posts: one that holds threads alone, as a forum does, will do.

        Raises:
            NotThere: the app cannot see it, or it holds no messages of its own.
            Later: Discord does not tell at the moment.
        """
        guild = self._discord.guild(guild_id)
        raw = await self._discord.call(guild.fetch_channel(channel_id))
        if isinstance(raw, _KINDS) and not of_posts:
            raise NotThere(texts.CHOOSE_POST if isinstance(raw, discord.ForumChannel) else texts.NO_MESSAGES_THERE)
        everyone = guild.default_role
        if isinstance(raw, discord.Thread):
            if raw.parent is None:
                raise NotThere(texts.NO_ACCESS)
            private = raw.is_private()
            public = not private and _may(raw.parent.permissions_for(everyone), TO_READ)
            place = Place("discord", str(guild.id), str(raw.id if private else raw.parent_id), str(raw.id))
            return Seen(guild, raw, clean_name(raw.name), public, place)
        name = clean_name(raw.name)
        public = _may(raw.permissions_for(everyone), _reading(raw))
        return Seen(guild, raw, f"#{name}" if name else "", public, Place("discord", str(guild.id), str(raw.id)))

    async def readable(self, guild_id: int, channel_id: int, *, of_posts: bool = False) -> Seen:
        """A channel or thread that the app can read; without its history, Discord would show it as empty.

        Raises:
            NotThere: it cannot; the sentence says what it lacks.
        """
        seen = await self.channel(guild_id, channel_id, of_posts=of_posts)
        if missing := _missing(seen.raw.permissions_for(seen.guild.me), _reading(seen.raw)):
            raise NotThere(texts.permissions_missing(seen.title, missing))
        return seen

    async def require(self, person: str, place: Place) -> None:
        """See :meth:`bot.chat.Access.require`: who sees the channel and its history; of a private thread, its members.

        Raises:
            Forbidden: they may not.
            NotThere: the app cannot read it.
        """
        # A forum's pairs are of its posts, and their reviewers of the forum.
        seen = await self.readable(int(place.workspace), channel_of(place), of_posts=not place.thread)
        await self.reader(person, seen)

    async def reader(self, person: str, seen: Seen) -> discord.Member:
        """Somebody who may read a channel or thread; see :meth:`require`."""
        user_id = int(person.partition(":")[2])
        member = await self._discord.call(seen.guild.fetch_member(user_id))
        rights = seen.raw.permissions_for(member)
        if not _may(rights, _reading(seen.raw)):
            raise Forbidden(texts.NOT_YOURS_HERE)
        if isinstance(seen.raw, discord.Thread) and seen.raw.is_private() and not rights.manage_threads:
            try:
                await self._discord.call(seen.raw.fetch_member(user_id))
            except NotThere as error:
                raise Forbidden(texts.NOT_YOURS_HERE) from error
        return member

    async def require_writer(self, person: str, seen: Seen) -> None:
        """Return if somebody may read a place and write in it themselves.

        Raises:
            Forbidden: they may not; nobody has the app say what they could not.
        """
        member = await self.reader(person, seen)
        if not _may(seen.raw.permissions_for(member), (_writing(seen),)):
            raise Forbidden(texts.NOT_YOURS_TO_WRITE)

    def require_post(self, seen: Seen) -> None:
        """Return if the app may post an answer there.

        Raises:
            NotThere: it may not; the sentence says what it lacks.
        """
        wanted = TO_POST_IN_THREADS if isinstance(seen.raw, discord.Thread) else TO_POST
        if missing := _missing(seen.raw.permissions_for(seen.guild.me), wanted):
            raise NotThere(texts.permissions_missing(seen.title, missing))

    # Names -----------------------------------------------------------------------------------------------------------

    async def names(self, guild: discord.Guild, users: Iterable[Raw]) -> dict[int, str]:
        """What people are called in a guild, by id; beyond a number of unknown ones, by their accounts.

        Args:
            users: as Discord's API gives them with messages; the first ones are asked for.
        """
        found: dict[int, str] = {}
        unknown: list[Raw] = []
        for user in users:
            if (user_id := id_of(user)) in found:
                continue
            known = self._names.get((guild.id, user_id))
            fresh = known is not None and known[0] > self._clock()
            found[user_id] = known[1] if known is not None and fresh else account_name(user)
            if not fresh and user.get("bot") is not True:
                unknown.append(user)
        asked = unknown[:_NICKNAMES]
        named = await asyncio.gather(*(self._nickname(guild, user) for user in asked))
        return found | {id_of(user): name for user, name in zip(asked, named, strict=True)}

    async def called(self, guild_id: int, user_id: int) -> str:
        """What one person is called in a guild; by the id where they are no member any more."""
        known = self._names.get((guild_id, user_id))
        if known is not None and known[0] > self._clock():
            return known[1]
        try:
            return name_of(await self._discord.call(self._discord.guild(guild_id).fetch_member(user_id)))
        except (NotThere, Forbidden, DiscordRefused):
            return str(user_id)

    async def _nickname(self, guild: discord.Guild, user: Raw) -> str:
        async with self._limit:
            try:
                name = name_of(await self._discord.call(guild.fetch_member(id_of(user))))
            except (NotThere, Forbidden, DiscordRefused, Later):  # no member any more, or a webhook
                name = account_name(user)
        if len(self._names) >= _MOST_CACHED:
            self._names.clear()
        self._names[guild.id, id_of(user)] = (self._clock() + _NAMES_S, name)
        return name

    def channel_names(self, guild: discord.Guild, channel_ids: Iterable[int]) -> dict[str, str]:
        """Names of channels that are mentioned, without their ``#``; of a private one only that it is private."""
        found = {}
        for one in channel_ids:
            channel = guild.get_channel_or_thread(one)
            if channel is None:
                continue
            parent = channel.parent if isinstance(channel, discord.Thread) else channel
            hidden = isinstance(channel, discord.Thread) and channel.is_private()
            shown = parent is not None and not hidden and parent.permissions_for(guild.default_role).view_channel
            # As Discord does for those who do not see it, whom a summary may reach as well.
            found[str(one)] = clean_name(channel.name) if shown else texts.PRIVATE_CHANNEL
        return found


def name_of(user: discord.abc.User) -> str:
    """What somebody is called: in the guild, else by their account."""
    return clean_name(user.display_name) or clean_name(user.name) or str(user.id)


def _reading(raw: GuildChannel | discord.Thread) -> tuple[str, ...]:
    return (*TO_READ, "connect") if isinstance(raw, _VOICES) else TO_READ


def _writing(seen: Seen) -> str:
    return "send_messages_in_threads" if isinstance(seen.raw, discord.Thread) else "send_messages"


def _may(rights: discord.Permissions, wanted: Iterable[str]) -> bool:
    return not _missing(rights, wanted)


def _missing(rights: discord.Permissions, wanted: Iterable[str]) -> list[str]:
    return [name for name in wanted if not getattr(rights, name)]
