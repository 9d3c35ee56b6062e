"""The local Discord's REST routes about commands, threads, guilds, roles and members."""

from __future__ import annotations

from typing import Any

from tests.discord_server import commands, objects
from tests.discord_server.payloads import GUILD_MEMBERS
from tests.discord_server.rest import Params, Query, Rest
from tests.discord_server.values import ARCHIVED, UNAUTHORISED, UNKNOWN_COMMAND, UNKNOWN_MEMBER, UNKNOWN_USER, Refused
from tests.discord_server.world import (
    MANAGE_THREADS,
    PRIVATE_THREAD,
    READ_MESSAGE_HISTORY,
    VIEW_CHANNEL,
    Channel,
    born,
    permissions,
    snowflake,
    stamp,
)  # fmt: skip


class Places(Rest):
    """What an app registers, and what it asks about guilds and threads."""

    def __init__(self) -> None:
        super().__init__()
        #: Registered commands by guild; the global ones by None.
        self.commands: dict[int | None, list[dict[str, Any]]] = {}

    # Commands ------------------------------------------------------------------------------------------------------

    def registered(self, guild: int | None) -> list[dict[str, Any]]:
        return self.commands.get(guild, [])

    def _place(self, params: Params) -> int | None:
        if int(params["application"]) != self.app.id:
            raise UNAUTHORISED
        return self._guild(params).id if "guild" in params else None

    def _made(self, body: dict[str, Any], guild: int | None) -> dict[str, Any]:
        before = {(one["type"], one["name"]): one["id"] for one in self.registered(guild)}
        kind = body.get("type", 1)
        found = {
            "id": before.get((kind, body["name"])) or str(snowflake()), "application_id": str(self.app.id),
            "type": kind, "version": str(snowflake()), "default_member_permissions": None, "dm_permission": True,
            "nsfw": False, "integration_types": [0], "contexts": None, "description": "", "name_localizations": None,
            "description_localizations": None, **body,
        }  # fmt: skip
        if found["default_member_permissions"] is not None:
            found["default_member_permissions"] = str(found["default_member_permissions"])
        return found | ({"guild_id": str(guild)} if guild else {})

    async def _commands(self, params: Params, query: Query, body: None, files: int) -> Any:
        return self.registered(self._place(params))

    async def _set_commands(self, params: Params, query: Query, body: list[dict[str, Any]], files: int) -> Any:
        guild = self._place(params)
        self.commands[guild] = [self._made(one, guild) for one in body]
        return self.commands[guild]

    async def _add_command(self, params: Params, query: Query, body: dict[str, Any], files: int) -> Any:
        guild = self._place(params)
        made = self._made(body, guild)
        kept = [one for one in self.registered(guild) if one["id"] != made["id"]]
        if sum(one["type"] == made["type"] for one in kept) >= commands.MOST[made["type"]]:
            raise Refused(400, 30032, "Maximum number of application commands reached")
        self.commands[guild] = [*kept, made]
        return made

    def _one(self, params: Params) -> dict[str, Any]:
        for one in self.registered(self._place(params)):
            if one["id"] == params["command"]:
                return one
        raise UNKNOWN_COMMAND

    async def _one_command(self, params: Params, query: Query, body: None, files: int) -> Any:
        return self._one(params)

    async def _drop_command(self, params: Params, query: Query, body: None, files: int) -> Any:
        self.registered(self._place(params)).remove(self._one(params))

    async def _command_permissions(self, params: Params, query: Query, body: None, files: int) -> Any:
        self._place(params)
        return []

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
            raise UNKNOWN_MEMBER if int(params["user"]) in self.users else UNKNOWN_USER
        return objects.member(found)
