"""What there is in the local Discord: guilds, roles, members, channels, threads, messages; and who may do what.

Ids are snowflakes that tell a time. :func:`permissions` is Discord's documented computation: roles, then the channel's
overwrites (everyone, roles, the member), then what follows from a permission that is missing.
"""

from __future__ import annotations

import bisect
import datetime
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

EPOCH_MS = 1_420_070_400_000

ADMINISTRATOR, MANAGE_GUILD, ADD_REACTIONS, VIEW_CHANNEL = 1 << 3, 1 << 5, 1 << 6, 1 << 10
SEND_MESSAGES, MANAGE_MESSAGES, EMBED_LINKS, ATTACH_FILES = 1 << 11, 1 << 13, 1 << 14, 1 << 15
READ_MESSAGE_HISTORY, MENTION_EVERYONE, CONNECT = 1 << 16, 1 << 17, 1 << 20
USE_APPLICATION_COMMANDS, MANAGE_THREADS, SEND_MESSAGES_IN_THREADS = 1 << 31, 1 << 34, 1 << 38
EVERYTHING = (1 << 53) - 1
#: What @everyone may do in a new guild, and what the app asks for when it is installed.
EVERYONE = (
    VIEW_CHANNEL | SEND_MESSAGES | EMBED_LINKS | ATTACH_FILES | READ_MESSAGE_HISTORY | ADD_REACTIONS | CONNECT
    | USE_APPLICATION_COMMANDS | SEND_MESSAGES_IN_THREADS
)  # fmt: skip
INSTALLED = VIEW_CHANNEL | SEND_MESSAGES | SEND_MESSAGES_IN_THREADS | READ_MESSAGE_HISTORY | EMBED_LINKS

TEXT, DM, VOICE, CATEGORY, NEWS, NEWS_THREAD, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 0, 1, 2, 4, 5, 10, 11, 12, 15
THREADS = (NEWS_THREAD, PUBLIC_THREAD, PRIVATE_THREAD)

_numbers = itertools.count(1)


def snowflake(at: float | None = None) -> int:
    """A new id that tells a time, in seconds since 1970; without one: now."""
    ms = int((time.time() if at is None else at) * 1000)
    return ((ms - EPOCH_MS) << 22) | (next(_numbers) & 0x3FFFFF)


def born(an_id: int) -> float:
    """The time that an id tells, in seconds since 1970."""
    return ((an_id >> 22) + EPOCH_MS) / 1000


def stamp(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat()


@dataclass(eq=False)
class User:
    id: int
    name: str
    global_name: str | None = None
    bot: bool = False
    #: Takes no direct messages.
    closed: bool = False
    locale: str = "en-GB"


@dataclass(eq=False)
class Role:
    id: int
    name: str
    permissions: int = 0
    position: int = 1
    managed: bool = False


@dataclass(eq=False)
class Member:
    user: User
    roles: list[int] = field(default_factory=list)
    nick: str | None = None
    #: Until when the member may only read, in seconds since 1970.
    timed_out: float = 0.0
    joined: float = field(default_factory=lambda: time.time() - 86_400 * 30)


@dataclass(eq=False)
class Message:
    id: int
    channel: Channel
    author: User
    content: str = ""
    type: int = 0
    embeds: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list)
    stickers: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    reactions: list[dict[str, Any]] = field(default_factory=list)
    poll: dict[str, Any] | None = None
    reference: dict[str, Any] | None = None
    flags: int = 0
    edited: float | None = None
    webhook: int | None = None
    nonce: str | int | None = None
    thread: Channel | None = None
    #: Whom an ephemeral message is shown to; and the interaction that a message answers.
    seen_by: User | None = None
    interaction: dict[str, Any] | None = None
    deleted: bool = False
    #: Whom it pinged: user ids, role ids, "everyone".
    pinged: set[int | str] = field(default_factory=set)
    #: The texts that it has had, oldest first, and when, by the server's clock.
    drafts: list[tuple[float, str]] = field(default_factory=list)

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & 1 << 6)

    @property
    def loading(self) -> bool:
        return bool(self.flags & 1 << 7)


class History:
    """The messages of a channel by id; one may be made when it is first looked at."""

    def __init__(self) -> None:
        self._ids: list[int] = []
        self._rows: dict[int, Message | Callable[[], Message]] = {}

    def put(self, an_id: int, row: Message | Callable[[], Message]) -> None:
        bisect.insort(self._ids, an_id)
        self._rows[an_id] = row

    def get(self, an_id: int) -> Message | None:
        row = self._rows.get(an_id)
        if row is not None and not isinstance(row, Message):
            row = self._rows[an_id] = row()
        return row

    def drop(self, an_id: int) -> None:
        if self._rows.pop(an_id, None) is not None:
            self._ids.remove(an_id)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[Message]:
        """Oldest first."""
        return (one for one in map(self.get, tuple(self._ids)) if one is not None)

    @property
    def last(self) -> int | None:
        return self._ids[-1] if self._ids else None

    def page(self, limit: int, before: int | None, after: int | None, around: int | None) -> list[Message]:
        """A page of history: whatever the cursor, the newest first."""
        ids = self._ids
        if around is not None:
            middle = bisect.bisect_left(ids, around)
            least = max(0, middle - limit // 2)
            found = ids[least : least + limit]
        elif after is not None:
            least = bisect.bisect_right(ids, after)
            found = ids[least : least + limit]
        else:
            most = len(ids) if before is None else bisect.bisect_left(ids, before)
            found = ids[max(0, most - limit) : most]
        return [one for one in map(self.get, reversed(found)) if one is not None]


@dataclass(eq=False)
class Channel:
    id: int
    name: str
    kind: int
    guild: Guild | None = None
    parent: Channel | None = None
    topic: str | None = None
    nsfw: bool = False
    #: (is it a member's, allowed, denied) by role's or member's id.
    overwrites: dict[int, tuple[bool, int, int]] = field(default_factory=dict)
    owner: int = 0
    archived: bool = False
    locked: bool = False
    members: set[int] = field(default_factory=set)
    recipients: list[User] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    history: History = field(default_factory=History)

    @property
    def is_thread(self) -> bool:
        return self.kind in THREADS

    def allow(self, target: Role | Member | User, allowed: int = 0, denied: int = 0) -> None:
        """Set an overwrite."""
        an_id = target.user.id if isinstance(target, Member) else target.id
        self.overwrites[an_id] = (not isinstance(target, Role), allowed, denied)


@dataclass(eq=False)
class Guild:
    id: int
    name: str
    owner: int
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    available: bool = True
    locale: str = "en-US"
    with_app: bool = True

    @property
    def everyone(self) -> Role:
        return self.roles[self.id]

    @property
    def threads(self) -> list[Channel]:
        return [one for one in self.channels.values() if one.is_thread]


def permissions(user: int, channel: Channel) -> int:
    """What somebody may do in a channel or thread; nothing where they may not see it."""
    guild = channel.guild
    if guild is None:
        inside = any(one.id == user for one in channel.recipients)
        return VIEW_CHANNEL | SEND_MESSAGES | READ_MESSAGE_HISTORY | EMBED_LINKS | ATTACH_FILES if inside else 0
    member = guild.members.get(user)
    if member is None:
        return 0
    if guild.owner == user:
        return EVERYTHING
    found = guild.everyone.permissions
    for role in member.roles:
        found |= guild.roles[role].permissions
    if found & ADMINISTRATOR:
        return EVERYTHING
    place = channel.parent if channel.is_thread and channel.parent is not None else channel
    found = _overwritten(found, member, place, guild)
    if member.timed_out > time.time():
        found &= VIEW_CHANNEL | READ_MESSAGE_HISTORY
    if channel.kind == PRIVATE_THREAD and user not in channel.members and not found & MANAGE_THREADS:
        return 0
    if not found & VIEW_CHANNEL or (channel.kind == VOICE and not found & CONNECT):
        return 0
    if not found & (SEND_MESSAGES_IN_THREADS if channel.is_thread else SEND_MESSAGES):
        found &= ~(MENTION_EVERYONE | EMBED_LINKS | ATTACH_FILES)
    return found


def _overwritten(found: int, member: Member, place: Channel, guild: Guild) -> int:
    _, allowed, denied = place.overwrites.get(guild.id, (False, 0, 0))
    found = found & ~denied | allowed
    allowed = denied = 0
    for role in member.roles:
        _, more, fewer = place.overwrites.get(role, (False, 0, 0))
        allowed, denied = allowed | more, denied | fewer
    found = found & ~denied | allowed
    _, allowed, denied = place.overwrites.get(member.user.id, (True, 0, 0))
    return found & ~denied | allowed
