"""Slack's users and channels: names and time zones kept for a while, rights asked for anew.

Names go stale slowly, so they are cached with an expiry; whether somebody may read a channel is asked each time. It
implements :class:`bot.chat.Access`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from bot import texts
from bot.chat import Forbidden, NotThere, Place
from bot.slack.client import Slack, SlackRefused
from engine.formats.slack_index import Index
from engine.formats.values import as_dict, clean_name

_NAMES_S = 3600.0
_NAMES = ("display_name", "display_name_normalized", "real_name", "real_name_normalized")
_MOST_CACHED = 20_000
#: Calls for names at once.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class User:
    """A user; ``full`` is a member of this workspace who is neither a guest nor from a connected one nor gone."""

    id: str
    name: str
    tz: str
    full: bool
    bot: bool


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as the app sees it.

    Attributes:
        title: ``#name``, or empty for one without a name.
        public: whether everyone in the workspace may read it.
        direct: a direct message, of two or of several.
        member: whether the app is in it.
    """

    id: str
    title: str
    public: bool
    direct: bool
    member: bool
    archived: bool


class People:
    """Looks users and channels up.

    Args:
        slack: the client.
        team: the workspace's id.
        app: the app's name, as one would invite it.
        clock: for tests.
    """

    def __init__(self, slack: Slack, team: str, app: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._slack, self._team, self._app, self._clock = slack, team, app, clock
        self._users: dict[str, tuple[float, User]] = {}
        self._channels: dict[str, tuple[float, str]] = {}
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def user(self, user_id: str, *, fresh: bool = False) -> User:
        """A user; one that cannot be looked up is told by the id, and has no right to anything.

        Args:
            fresh: ask Slack even where it is known.
        """
        known = self._users.get(user_id)
        if known is not None and not fresh and known[0] > self._clock():
            return known[1]
        async with self._limit:
            try:
                found = as_dict((await self._slack.call("users_info", user=user_id)).get("user"))
            except (NotThere, SlackRefused):
                found = {}
        user = _user(user_id, found, self._team)
        self._keep(self._users, user_id, user)
        return user

    async def all_names(self, user_id: str) -> frozenset[str]:
        """Everything that a user is called in messages: Slack names the author of a shared one in several ways."""
        try:
            found = as_dict((await self._slack.call("users_info", user=user_id)).get("user"))
        except (NotThere, SlackRefused):
            return frozenset()
        profile = as_dict(found.get("profile"))
        given = (found.get("name"), found.get("real_name"), *(profile.get(name) for name in _NAMES))
        return frozenset(filter(None, map(clean_name, given)))

    async def names(self, user_ids: Iterable[str]) -> dict[str, User]:
        """Users by id."""
        wanted = list(dict.fromkeys(user_ids))
        return dict(zip(wanted, await asyncio.gather(*map(self.user, wanted)), strict=True))

    async def channel_names(self, channel_ids: Iterable[str]) -> dict[str, str]:
        """Names of channels that are mentioned, without their ``#``; of a private one only that it is private."""
        found = {}
        for channel_id in dict.fromkeys(channel_ids):
            known = self._channels.get(channel_id)
            if known is None or known[0] <= self._clock():
                try:
                    channel = await self.channel(channel_id)
                    # As Slack does for those who are not in it, whom a summary may reach as well.
                    name = channel.title.removeprefix("#") if channel.public else texts.PRIVATE_CHANNEL
                except (NotThere, SlackRefused):
                    name = ""
                self._keep(self._channels, channel_id, name)
            else:
                name = known[1]
            if name:
                found[channel_id] = name
        return found

    async def channel(self, channel_id: str) -> Channel:
        """A channel, as it is now.

        Raises:
            NotThere: the app cannot see it.
        """
        if channel_id.startswith("D"):
            raise NotThere(texts.DIRECT_ONLY)
        try:
            found = as_dict((await self._slack.call("conversations_info", channel=channel_id)).get("channel"))
        except SlackRefused as error:
            # Direct messages, which the app asks for no scope to read.
            if error.code in ("missing_scope", "method_not_supported_for_channel_type"):
                raise NotThere(texts.DIRECT_ONLY) from None
            raise
        except NotThere:
            # Slack does not tell a private channel without us from none at all.
            raise NotThere(texts.not_in_channel(texts.THE_CHANNEL, self._app)) from None
        direct = found.get("is_im") is True or found.get("is_mpim") is True
        private = found.get("is_private") is True or direct
        name = clean_name(found.get("name_normalized") or found.get("name"))
        return Channel(
            id=channel_id,
            title=f"#{name}" if name and not direct else "",
            public=not private,
            direct=direct,
            member=found.get("is_member") is True or direct,
            archived=found.get("is_archived") is True,
        )

    async def is_member(self, channel_id: str, user_id: str) -> bool:
        """Whether a user is in a channel now."""
        async for page in self._slack.pages("conversations_members", channel=channel_id, limit=1000):
            if user_id in (page.get("members") or ()):
                return True
        return False

    async def readable(self, channel_id: str) -> Channel:
        """A channel that the app can read.

        Raises:
            NotThere: it cannot; the sentence says what to type.
        """
        channel = await self.channel(channel_id)
        if not channel.member:
            raise NotThere(texts.not_in_channel(channel.title or texts.THE_CHANNEL, self._app))
        return channel

    async def require(self, person: str, place: Place) -> None:
        """See :meth:`bot.chat.Access.require`: members may; of a public channel, so may full members of the workspace.

        Raises:
            Forbidden: they may not.
            NotThere: the app cannot read it, or it is another workspace's.
        """
        if place.workspace != self._team:
            raise NotThere(texts.OTHER_WORKSPACE)
        user_id = person.partition(":")[2]
        channel = await self.channel(place.channel)
        if await self.is_member(place.channel, user_id):
            return
        if channel.public and (await self.user(user_id, fresh=True)).full:
            return
        raise Forbidden(texts.NOT_YOURS)

    async def zone(self, user_id: str) -> ZoneInfo:
        """The time zone of a user; UTC where Slack knows none."""
        name = (await self.user(user_id)).tz
        try:
            return ZoneInfo(name) if name else ZoneInfo("UTC")
        except (ValueError, KeyError, OSError):
            return ZoneInfo("UTC")

    def _keep(self, cache: dict[str, Any], key: str, value: object) -> None:
        if len(cache) >= _MOST_CACHED:
            cache.clear()
        cache[key] = (self._clock() + _NAMES_S, value)


def _user(user_id: str, found: dict[str, Any], team: str) -> User:
    enterprise = as_dict(found.get("enterprise_user"))
    teams = enterprise.get("teams") or [found.get("team_id")]
    guest = any(found.get(name) is True for name in ("is_restricted", "is_ultra_restricted", "is_stranger", "deleted"))
    return User(
        id=user_id,
        name=Index.name_of(found) or user_id,
        tz=str(found.get("tz") or ""),
        full=bool(found) and not guest and team in teams and found.get("is_bot") is not True,
        bot=found.get("is_bot") is True or user_id == "USLACKBOT",
    )
