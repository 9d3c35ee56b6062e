"""Filling the local Discord with people, guilds, channels, threads, messages; the app is told nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from tests.discord_server import objects
from tests.discord_server.world import (
    DM,
    EVERYONE,
    FORUM,
    INSTALLED,
    MANAGE_THREADS,
    NEWS_THREAD,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    TEXT,
    VIEW_CHANNEL,
    Channel,
    Guild,
    Member,
    Message,
    Role,
    User,
    snowflake,
    stamp,
)  # fmt: skip

#: Types of messages: a reply, the note that a thread was made, the first message of a thread made from a message.
DEFAULT, JOINED, THREAD_CREATED, REPLY, THREAD_STARTER = 0, 7, 18, 19, 21
HAS_THREAD, IS_FORWARD = 1 << 5, 1 << 14


class Seeds:
    """The part of the server that holds the world."""

    def __init__(self) -> None:
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        #: All channels and threads by id, direct messages too.
        self.channels: dict[int, Channel] = {}
        self.app = self.person("redraft", "Redraft", bot=True)

    def person(self, name: str, shown: str | None = None, **given: Any) -> User:
        made = User(snowflake(), name, shown, **given)
        self.users[made.id] = made
        return made

    def guild(
        self, name: str, *, owner: User | None = None, with_app: bool = True, installed: int = INSTALLED
    ) -> Guild:
        """A guild, the app in it by a role of its own with the permissions that it was installed with."""
        an_id = snowflake()
        owner = owner or self.person(f"{name.lower()}.owner")
        made = Guild(an_id, name, owner.id, with_app=with_app)
        made.roles[an_id] = Role(an_id, "@everyone", EVERYONE, 0)
        self.guilds[an_id] = made
        self.member(made, owner)
        if with_app:
            own = self.role(made, "Redraft", installed, managed=True)
            self.member(made, self.app, own)
        return made

    def role(self, guild: Guild, name: str, permissions: int = 0, **given: Any) -> Role:
        made = Role(snowflake(), name, permissions, len(guild.roles), **given)
        guild.roles[made.id] = made
        return made

    def member(self, guild: Guild, who: User, *roles: Role, nick: str | None = None) -> Member:
        made = guild.members[who.id] = Member(who, [role.id for role in roles], nick)
        return made

    def app_role(self, guild: Guild) -> Role:
        """The role that the app's installation made."""
        return next(role for role in guild.roles.values() if role.managed)

    def channel(
        self, guild: Guild, name: str, kind: int = TEXT, *, only: Iterable[User | Role] | None = None, **given: Any
    ) -> Channel:
        """A channel; with ``only``, a private one: seen by those named (and by the app, if it is among them)."""
        made = Channel(snowflake(), name, kind, guild, **given)
        if only is not None:
            made.allow(guild.everyone, 0, VIEW_CHANNEL)
            for each in only:
                made.allow(each, VIEW_CHANNEL)
        return self._placed(made)

    def _placed(self, channel: Channel) -> Channel:
        self.channels[channel.id] = channel
        if channel.guild is not None:
            channel.guild.channels[channel.id] = channel
        return channel

    def thread(
        self, parent: Channel, name: str, owner: User, *, starter: Message | None = None, private: bool = False,
        members: Iterable[User] = (), text: str = "", ago: float = 600.0, **given: Any,
    ) -> Channel:  # fmt: skip
        """A thread of a channel: from a message, without one, private, or a forum's post with its first ``text``."""
        an_id = starter.id if starter else snowflake(time.time() - ago)
        kind = PRIVATE_THREAD if private else NEWS_THREAD if parent.kind == 5 else PUBLIC_THREAD
        made = Channel(an_id, name, kind, parent.guild, parent, owner=owner.id, **given)
        made.members = {owner.id, *(each.id for each in members)}
        self._placed(made)
        if starter is not None:
            starter.thread, starter.flags = made, starter.flags | HAS_THREAD
            note = {"channel_id": parent.id, "message_id": starter.id, "guild_id": self._guild_of(parent).id, "type": 0}
            self.write(made, owner, "", at=time.time() - ago, type=THREAD_STARTER, reference=note)
        elif parent.kind == FORUM:
            made.history.put(an_id, Message(an_id, made, owner, text))
        elif not private:
            note = {"channel_id": made.id, "guild_id": self._guild_of(parent).id, "type": 0}
            self.write(parent, owner, name, at=time.time() - ago, type=THREAD_CREATED, reference=note)
        return made

    @staticmethod
    def _guild_of(channel: Channel) -> Guild:
        assert channel.guild is not None
        return channel.guild

    def direct(self, who: User) -> Channel:
        """The direct messages between somebody and the app."""
        for channel in self.channels.values():
            if channel.kind == DM and who in channel.recipients:
                return channel
        return self._placed(Channel(snowflake(), "", DM, recipients=[who, self.app]))

    def write(
        self, channel: Channel, author: User, content: str, *, ago: float = 600.0, at: float | None = None,
        reply: Message | None = None, **given: Any,
    ) -> Message:  # fmt: skip
        """A message that was there before, so many seconds ago (or at a time); nobody is told of it."""
        made = Message(snowflake(time.time() - ago if at is None else at), channel, author, content, **given)
        if reply is not None:
            made.type = REPLY
            made.reference = {"type": 0, "channel_id": reply.channel.id, "message_id": reply.id}
            if channel.guild is not None:
                made.reference["guild_id"] = channel.guild.id
        if channel.is_thread and channel.kind != PRIVATE_THREAD:
            channel.members.add(author.id)
        channel.history.put(made.id, made)
        return made

    def forward(self, channel: Channel, author: User, of: Message, *, ago: float = 600.0) -> Message:
        """A forwarded message: it has no text of its own, and a snapshot of the other."""
        shot = {
            "type": of.type, "content": of.content, "embeds": of.embeds, "attachments": of.attachments,
            "timestamp": stamp(time.time() - ago), "edited_timestamp": None, "flags": of.flags, "mentions": [],
            "mention_roles": [], "components": [], "sticker_items": of.stickers,
        }  # fmt: skip
        where = {"type": 1, "channel_id": of.channel.id, "message_id": of.id}
        if of.channel.guild is not None:
            where["guild_id"] = of.channel.guild.id
        return self.write(
            channel, author, "", ago=ago, flags=IS_FORWARD, reference=where, snapshots=[{"message": shot}]
        )

    def ask(self, channel: Channel, author: User, question: str, *answers: str, ago: float = 600.0) -> Message:
        """A poll: it has no text of its own."""
        given = {"question": {"text": question}, "answers": [{"poll_media": {"text": one}} for one in answers]}
        return self.write(channel, author, "", ago=ago, poll=objects.poll(given, time.time()))

    def stick(self, channel: Channel, author: User, name: str, *, ago: float = 600.0) -> Message:
        """A message that is a sticker and nothing else."""
        sticker = {"id": str(snowflake()), "name": name, "format_type": 1}
        return self.write(channel, author, "", ago=ago, stickers=[sticker])

    def backlog(
        self, channel: Channel, number: int, made: Callable[[int], tuple[User, str]], *, ago: float, step: float = 60.0
    ) -> list[int]:
        """So many messages, the first so many seconds ago, each written only when it is looked at; their ids."""
        start = time.time() - ago
        ids = [snowflake(start + step * n) for n in range(number)]
        for n, an_id in enumerate(ids):
            channel.history.put(an_id, lambda n=n, an_id=an_id: Message(an_id, channel, *made(n)))  # type: ignore[misc]
        return ids

    def moderator(self, guild: Guild, who: User) -> Role:
        """A role that sees every private thread, given to somebody."""
        made = self.role(guild, "Moderators", MANAGE_THREADS)
        guild.members[who.id].roles.append(made.id)
        return made

    def without_history(self, channel: Channel, target: Role | User) -> None:
        """Take the reading of history from somebody, in one channel."""
        channel.allow(target, 0, READ_MESSAGE_HISTORY)

    def mute(self, channel: Channel, target: Role | User) -> None:
        channel.allow(target, 0, SEND_MESSAGES)
