"""What happens in the local Discord without the app, and what of it the app is told: messages, channels, roles, guilds.

Who is told is decided by intents and permissions, as documented; permissions themselves are computed anew for each
request, so a test that only takes something away need not tell of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from tests.discord_server import objects
from tests.discord_server.payloads import GUILD_MEMBERS, GUILDS
from tests.discord_server.world import Channel, Guild, Message, Role, User, permissions


class Happenings:
    """The part of the server that is life going on."""

    channels: dict[int, Channel]
    users: dict[int, User]
    app: User
    dispatch: Any
    write: Any
    tell: Any
    edited: Any
    removed: Any
    thread: Any
    channel: Any
    role: Any
    member: Any
    app_role: Any

    # Messages ------------------------------------------------------------------------------------------------------

    async def say(self, author: User, channel: Channel, content: str, **given: Any) -> Message:
        """Write a message now; the app is told, if its intents ask for it."""
        made: Message = self.write(channel, author, content, at=time.time(), **given)
        await self.tell("MESSAGE_CREATE", made)
        return made

    async def edit(self, message: Message, content: str) -> None:
        """Edit one's own message."""
        await self.edited(message, {"content": content})

    async def unfurl(self, message: Message, title: str = "A page") -> None:
        """Discord adds the preview of a link: an update of a message that nobody has edited."""
        message.embeds = [{"type": "link", "url": link, "title": title} for link in objects.unfurled(message)]
        await self.tell("MESSAGE_UPDATE", message)

    async def delete(self, message: Message) -> None:
        """Delete a message, or dismiss one that only one person sees."""
        await self.removed(message)

    async def bulk_delete(self, channel: Channel, messages: Iterable[Message]) -> None:
        """Many at once, as moderators and bots do."""
        gone = list(messages)
        for one in gone:
            one.deleted = True
            channel.history.drop(one.id)
        assert channel.guild is not None
        data = {"ids": [str(one.id) for one in gone], "channel_id": str(channel.id), "guild_id": str(channel.guild.id)}
        await self.tell("MESSAGE_DELETE_BULK", gone[0], data)

    # Channels and threads ------------------------------------------------------------------------------------------

    async def open_channel(self, guild: Guild, name: str, **given: Any) -> Channel:
        """Make a channel now."""
        made: Channel = self.channel(guild, name, **given)
        await self.dispatch("CHANNEL_CREATE", objects.channel(made), guild=guild.id, intents=GUILDS)
        return made

    async def channel_changed(self, channel: Channel) -> None:
        """Tell of a channel's or thread's new permissions, name or state."""
        assert channel.guild is not None
        name = "THREAD_UPDATE" if channel.is_thread else "CHANNEL_UPDATE"
        await self.dispatch(name, objects.channel(channel), guild=channel.guild.id, intents=GUILDS)

    async def remove_channel(self, channel: Channel) -> None:
        """Delete a channel or a thread with all that is in it."""
        guild = channel.guild
        assert guild is not None
        data = objects.channel(channel)
        self.channels.pop(channel.id)
        guild.channels.pop(channel.id)
        for one in channel.history:
            one.deleted = True
        if channel.is_thread:
            data = {name: data[name] for name in ("id", "guild_id", "parent_id", "type")}
        name = "THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE"
        await self.dispatch(name, data, guild=guild.id, intents=GUILDS)

    async def open_thread(self, parent: Channel, name: str, owner: User, **given: Any) -> Channel:
        """Make a thread now; the app is told if it may see it."""
        made: Channel = self.thread(parent, name, owner, ago=0, **given)
        assert made.guild is not None
        if permissions(self.app.id, made):
            data = objects.channel(made, reader=self.app.id) | {"newly_created": True}
            await self.dispatch("THREAD_CREATE", data, guild=made.guild.id, intents=GUILDS)
        return made

    async def add_to_thread(self, thread: Channel, who: User) -> None:
        """Somebody joins a thread, or is added; an app without the members intent is told only of itself."""
        await self._membership(thread, who, added=True)

    async def remove_from_thread(self, thread: Channel, who: User) -> None:
        await self._membership(thread, who, added=False)

    async def _membership(self, thread: Channel, who: User, *, added: bool) -> None:
        guild = thread.guild
        assert guild is not None
        if added:
            thread.members.add(who.id)
        else:
            thread.members.discard(who.id)
        if who is self.app and added:
            data = objects.channel(thread, reader=self.app.id)
            await self.dispatch("THREAD_CREATE", data, guild=guild.id, intents=GUILDS)
        change: dict[str, Any] = {
            "id": str(thread.id), "guild_id": str(guild.id), "member_count": len(thread.members),
            "added_members": [objects.thread_member(thread, who.id)] if added else [],
            "removed_member_ids": [] if added else [str(who.id)],
        }  # fmt: skip
        intents = GUILDS if who is self.app else GUILD_MEMBERS
        await self.dispatch("THREAD_MEMBERS_UPDATE", change, guild=guild.id, intents=intents)

    # Guilds --------------------------------------------------------------------------------------------------------

    async def throw_out(self, guild: Guild) -> None:
        """The app is removed from a guild."""
        guild.with_app = False
        guild.members.pop(self.app.id, None)
        await self.dispatch("GUILD_DELETE", {"id": str(guild.id)}, guild=guild.id, intents=GUILDS)

    async def take_in(self, guild: Guild) -> None:
        """The app is installed in a guild (again)."""
        guild.with_app = True
        if self.app.id not in guild.members:
            self.member(guild, self.app, self.app_role(guild))
        await self.dispatch("GUILD_CREATE", objects.guild_create(guild, self.app.id), guild=guild.id, intents=GUILDS)

    async def outage(self, guild: Guild, *, over: bool = False) -> None:
        """A guild is not available for a while, or is again."""
        guild.available = over
        if over:
            await self.take_in(guild)
        else:
            gone = {"id": str(guild.id), "unavailable": True}
            await self.dispatch("GUILD_DELETE", gone, guild=guild.id, intents=GUILDS)

    async def leave(self, guild: Guild, who: User) -> None:
        """Somebody leaves a guild, or is made to."""
        guild.members.pop(who.id)
        data = {"guild_id": str(guild.id), "user": objects.user(who)}
        await self.dispatch("GUILD_MEMBER_REMOVE", data, guild=guild.id, intents=GUILD_MEMBERS)

    async def take_role(self, guild: Guild, who: User, role: Role) -> None:
        """Somebody loses a role."""
        guild.members[who.id].roles.remove(role.id)
        await self._member_changed(guild, who)

    async def give_role(self, guild: Guild, who: User, role: Role) -> None:
        guild.members[who.id].roles.append(role.id)
        await self._member_changed(guild, who)

    async def _member_changed(self, guild: Guild, who: User) -> None:
        # Of itself an app is told whatever its intents are.
        data = objects.member(guild.members[who.id]) | {"guild_id": str(guild.id)}
        intents = 0 if who is self.app else GUILD_MEMBERS
        await self.dispatch("GUILD_MEMBER_UPDATE", data, guild=guild.id, intents=intents)

    async def role_changed(self, guild: Guild, role: Role, permissions: int) -> None:
        """A role allows something else from now on; @everyone is one as well."""
        role.permissions = permissions
        data = {"guild_id": str(guild.id), "role": objects.role(role)}
        await self.dispatch("GUILD_ROLE_UPDATE", data, guild=guild.id, intents=GUILDS)

    async def new_role(self, guild: Guild, name: str, permissions: int = 0) -> Role:
        made: Role = self.role(guild, name, permissions)
        data = {"guild_id": str(guild.id), "role": objects.role(made)}
        await self.dispatch("GUILD_ROLE_CREATE", data, guild=guild.id, intents=GUILDS)
        return made
