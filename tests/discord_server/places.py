"""The local Discord's REST routes about threads, guilds, roles and members."""

from __future__ import annotations

from typing import Any

from tests.discord_server import objects
from tests.discord_server.payloads import GUILD_MEMBERS
from tests.discord_server.rest import Params, Query, Rest
from tests.discord_server.values import ARCHIVED, UNKNOWN_MEMBER, Refused
from tests.discord_server.world import (
    MANAGE_THREADS,
    PRIVATE_THREAD,
    READ_MESSAGE_HISTORY,
    VIEW_CHANNEL,
    Channel,
    born,
    permissions,
    stamp,
)  # fmt: skip


class Places(Rest):
    """What an app asks about guilds and threads."""

    # Threads -------------------------------------------------------------------------------------------------------

    def _thread(self, params: Params) -> Channel:
        found = self._channel(params)
        if not found.is_thread:
            raise Refused(400, 50024, "Cannot execute action on this channel type")
        return found

    def _in_thread(self, thread: Channel, who: int, query: Query) -> dict[str, Any]:
        found = objects.thread_member(thread, who)
        assert thread.guild is not None
        if query.get("with_member") in ("true", "True", "1") and who in thread.guild.members:
            found["member"] = objects.member(thread.guild.members[who])
        return found

    async def _thread_members(self, params: Params, query: Query, body: None, files: int) -> Any:
        self._needs(GUILD_MEMBERS)
        thread = self._thread(params)
        after = int(query.get("after", "0"))
        found = sorted(who for who in thread.members if who > after)
        if "with_member" in query:
            found = found[: int(query.get("limit", "100"))]
        return [self._in_thread(thread, who, query) for who in found]

    async def _thread_member(self, params: Params, query: Query, body: None, files: int) -> Any:
        thread = self._thread(params)
        if int(params["user"]) not in thread.members:
            raise UNKNOWN_MEMBER
        return self._in_thread(thread, int(params["user"]), query)

    async def _join_thread(self, params: Params, query: Query, body: None, files: int) -> Any:
        thread = self._thread(params)
        if thread.archived:
            raise ARCHIVED
        thread.members.add(self.app.id)

    async def _leave_thread(self, params: Params, query: Query, body: None, files: int) -> Any:
        thread = self._thread(params)
        if thread.archived:
            raise ARCHIVED
        thread.members.discard(self.app.id)

    def _archive(self, found: list[Channel], query: Query) -> dict[str, Any]:
        found = sorted((one for one in found if one.archived), key=lambda one: -one.id)
        if "before" in query:
            before = query["before"]
            found = [
                one for one in found
                if (one.id < int(before) if before.isdigit() else stamp(born(one.id)) < before)
            ]  # fmt: skip
        limit = int(query.get("limit", "50"))
        return {**self._threads(found[:limit]), "has_more": len(found) > limit}

    def _threads(self, found: list[Channel]) -> dict[str, Any]:
        return {
            "threads": [objects.channel(one, reader=self.app.id) for one in found],
            "members": [objects.thread_member(one, self.app.id) for one in found if self.app.id in one.members],
        }

    def _of(self, parent: Channel, *, private: bool) -> list[Channel]:
        assert parent.guild is not None
        return [
            one for one in parent.guild.threads if one.parent is parent and (one.kind == PRIVATE_THREAD) == private
        ]  # fmt: skip

    async def _archived(self, params: Params, query: Query, body: None, files: int) -> Any:
        parent = self._channel(params, READ_MESSAGE_HISTORY)
        return self._archive(self._of(parent, private=False), query)

    async def _archived_private(self, params: Params, query: Query, body: None, files: int) -> Any:
        parent = self._channel(params, READ_MESSAGE_HISTORY | MANAGE_THREADS)
        return self._archive(self._of(parent, private=True), query)

    async def _archived_joined(self, params: Params, query: Query, body: None, files: int) -> Any:
        parent = self._channel(params, READ_MESSAGE_HISTORY)
        mine = [one for one in self._of(parent, private=True) if self.app.id in one.members]
        return self._archive(mine, query)

    # Guilds --------------------------------------------------------------------------------------------------------

    async def _guild_info(self, params: Params, query: Query, body: None, files: int) -> Any:
        guild = self._guild(params)
        found = objects.guild(guild)
        if query.get("with_counts") in ("true", "True", "1"):
            found |= {"approximate_member_count": len(guild.members), "approximate_presence_count": 1}
        return found

    async def _guild_channels(self, params: Params, query: Query, body: None, files: int) -> Any:
        guild = self._guild(params)
        return [objects.channel(one, reader=self.app.id) for one in guild.channels.values() if not one.is_thread]

    async def _active_threads(self, params: Params, query: Query, body: None, files: int) -> Any:
        guild = self._guild(params)
        return self._threads(
            [one for one in guild.threads if not one.archived and permissions(self.app.id, one) & VIEW_CHANNEL]
        )

    async def _guild_roles(self, params: Params, query: Query, body: None, files: int) -> Any:
        return [objects.role(one) for one in self._guild(params).roles.values()]

    async def _guild_role(self, params: Params, query: Query, body: None, files: int) -> Any:
        found = self._guild(params).roles.get(int(params["role"]))
        if found is None:
            raise Refused(404, 10011, "Unknown Role")
        return objects.role(found)

    async def _guild_members(self, params: Params, query: Query, body: None, files: int) -> Any:
        self._needs(GUILD_MEMBERS)
        guild = self._guild(params)
        after = int(query.get("after", "0"))
        found = sorted((one for one in guild.members.values() if one.user.id > after), key=lambda one: one.user.id)
        return [objects.member(one) for one in found[: int(query.get("limit", "1"))]]

    async def _guild_member(self, params: Params, query: Query, body: None, files: int) -> Any:
        found = self._guild(params).members.get(int(params["user"]))
        if found is None:
            raise UNKNOWN_MEMBER
        return objects.member(found)
