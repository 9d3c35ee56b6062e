"""The local Discord's REST routes, but for interactions': who the app is, its commands, channels, messages, members."""

from __future__ import annotations

from typing import Any

from tests.discord_server import objects, rules
from tests.discord_server.payloads import DIRECT_MESSAGES, GUILD_MESSAGES, MESSAGE_CONTENT
from tests.discord_server.values import (
    ARCHIVED,
    CLOSED_DMS,
    LOCKED,
    MISSING_ACCESS,
    MISSING_PERMISSIONS,
    NOT_A_TEXT_CHANNEL,
    NOT_YOURS,
    UNKNOWN_CHANNEL,
    UNKNOWN_GUILD,
    UNKNOWN_MESSAGE,
    UNKNOWN_USER,
    Broken,
    Refused,
)  # fmt: skip
from tests.discord_server.world import (
    CATEGORY,
    DM,
    EMBED_LINKS,
    FORUM,
    MANAGE_MESSAGES,
    MANAGE_THREADS,
    MENTION_EVERYONE,
    READ_MESSAGE_HISTORY,
    SEND_MESSAGES,
    SEND_MESSAGES_IN_THREADS,
    VIEW_CHANNEL,
    Channel,
    Guild,
    Message,
    User,
    permissions,
    snowflake,
)  # fmt: skip

Params = dict[str, str]
Query = dict[str, str]


class Rest:
    """The part of the server that answers to the app's token."""

    app: User
    users: dict[int, User]
    guilds: dict[int, Guild]
    channels: dict[int, Channel]
    base: str
    shards: int
    identifies: list[Any]
    privileged: int
    application_flags: Any
    dispatch: Any
    direct: Any
    fields: Any
    now: Any

    def __init__(self) -> None:
        #: Messages that the app posted or answered with, in order, deleted ones too.
        self.posts: list[Message] = []
        self.typed: list[Channel] = []

    # Messages, for all parts ---------------------------------------------------------------------------------------

    def readable(self, one: Message) -> bool:
        """May the app have a message's content without the message content intent?"""
        mine = one.author is self.app or self.app.id in objects.mentioned(one.content)
        return mine or one.channel.guild is None

    def render(self, one: Message, *, whole: bool = False) -> dict[str, Any]:
        """A message as REST gives it to the app; ``whole``: with its content whatever the intents are."""
        may = whole or bool(self.privileged & MESSAGE_CONTENT) or self.readable(one)
        return objects.message(one, self.users, readable=may)

    async def tell(self, name: str, one: Message, data: dict[str, Any] | None = None) -> None:
        """Dispatch an event about a message to the sessions whose intents and permissions let them have it."""
        channel = one.channel
        if one.seen_by is not None or not permissions(self.app.id, channel) & VIEW_CHANNEL:
            return
        guild = channel.guild

        def made(session: Any) -> dict[str, Any]:
            if data is not None:
                return data
            may = bool(session.intents & MESSAGE_CONTENT) or self.readable(one)
            found = objects.message(one, self.users, readable=may)
            if guild is not None:
                found["guild_id"] = str(guild.id)
                if member := guild.members.get(one.author.id):
                    found["member"] = objects.member(member, with_user=False)
            return found

        intents = GUILD_MESSAGES if guild else DIRECT_MESSAGES
        await self.dispatch(name, made, guild=guild.id if guild else None, intents=intents)

    def written(
        self, channel: Channel, body: dict[str, Any], *, default: tuple[str, ...] = ("users", "roles", "everyone"),
        **given: Any,
    ) -> Message:  # fmt: skip
        """A new message of the app; one that only one person sees is not in the channel's history."""
        made = Message(
            snowflake(self.now()), channel, self.app, flags=body.get("flags") or 0, nonce=body.get("nonce"), **given
        )
        self._fill(made, body, default)
        if made.seen_by is None:
            channel.history.put(made.id, made)
        self.posts.append(made)
        return made

    async def published(self, one: Message) -> None:
        await self.tell("MESSAGE_CREATE", one)

    def _fill(self, one: Message, body: dict[str, Any], default: tuple[str, ...]) -> None:
        for name in ("content", "embeds", "components", "poll"):
            if name in body:
                setattr(one, name, body[name] or (None if name == "poll" else "" if name == "content" else []))
        one.content = one.content.strip()
        if body.get("poll"):
            one.poll = objects.poll(body["poll"], self.now())
        one.embeds = [{"type": "rich", **each} for each in one.embeds]
        for number, each in enumerate(objects.components_of(one), 1):
            each.setdefault("id", number)
        if body.get("attachments") is not None:
            one.attachments = [
                {
                    "id": str(snowflake()), "filename": each.get("filename", "file"), "size": 1,
                    "url": f"{self.base}/attachments/{n}", "proxy_url": f"{self.base}/attachments/{n}",
                }
                for n, each in enumerate(body["attachments"])
            ]  # fmt: skip
        one.pinged = self._pinged(one, body.get("allowed_mentions"), default)
        one.drafts.append((self.now(), objects.text_of(one)))

    def _pinged(self, one: Message, allowed: dict[str, Any] | None, default: tuple[str, ...]) -> set[int | str]:
        """Whom a message pings: mentioned, and allowed to be."""
        text = objects.text_of(one, embeds=False)
        parse = set(default if allowed is None else allowed.get("parse", ()))
        listed = {int(each) for kind in ("users", "roles") for each in (allowed or {}).get(kind) or ()}
        found: set[int | str] = {an_id for an_id in objects.mentioned(text) if "users" in parse or an_id in listed}
        found |= {an_id for an_id in objects.mentioned_roles(text) if "roles" in parse or an_id in listed}
        may = one.channel.guild is None or permissions(self.app.id, one.channel) & MENTION_EVERYONE
        if may and ("@everyone" in text or "@here" in text) and "everyone" in parse:
            found.add("everyone")
        before = objects.referenced(one)
        if before is not None and (allowed is None or allowed.get("replied_user")):
            found.add(before.author.id)
        return found

    async def edited(self, one: Message, body: dict[str, Any]) -> None:
        """Change a message as an edit says; whoever wrote it."""
        kept = one.flags & (rules.EPHEMERAL | rules.COMPONENTS_V2)
        if body.get("flags") is not None:
            one.flags = body["flags"] | kept
        was_loading, one.flags = one.loading, one.flags & ~rules.LOADING
        self._fill(one, body, ("users",) if one.webhook else ("users", "roles", "everyone"))
        one.edited = None if was_loading else self.now()
        await self.tell("MESSAGE_UPDATE", one)

    async def removed(self, one: Message) -> None:
        one.deleted = True
        one.channel.history.drop(one.id)
        data = {"id": str(one.id), "channel_id": str(one.channel.id)}
        if one.channel.guild is not None:
            data["guild_id"] = str(one.channel.guild.id)
        await self.tell("MESSAGE_DELETE", one, data)

    # Finding things, or refusing them ------------------------------------------------------------------------------

    def _channel(self, params: Params, needed: int = VIEW_CHANNEL) -> Channel:
        found = self.channels.get(int(params["channel"]))
        if found is None:
            raise UNKNOWN_CHANNEL
        allowed = permissions(self.app.id, found)
        if not allowed & VIEW_CHANNEL:
            raise MISSING_ACCESS
        if allowed & needed != needed:
            raise MISSING_PERMISSIONS
        return found

    def _guild(self, params: Params) -> Guild:
        found = self.guilds.get(int(params["guild"]))
        if found is None:
            raise UNKNOWN_GUILD
        if not found.with_app:
            raise MISSING_ACCESS
        return found

    def _message(self, channel: Channel, params: Params) -> Message:
        found = channel.history.get(int(params["message"]))
        if found is None:
            raise UNKNOWN_MESSAGE
        return found

    def _needs(self, intent: int) -> None:
        """Some routes are only for apps whose privileged intent is on."""
        if not self.privileged & intent:
            raise MISSING_ACCESS

    # The app -------------------------------------------------------------------------------------------------------

    async def _gateway_bot(self, params: Params, query: Query, body: None, files: int) -> Any:
        return {
            "url": f"{self.base.replace('http', 'ws')}/gateway", "shards": self.shards,
            "session_start_limit": {
                "total": 1000, "remaining": max(0, 1000 - len(self.identifies)), "reset_after": 14_400_000,
                "max_concurrency": 1,
            },
        }  # fmt: skip

    async def _me(self, params: Params, query: Query, body: None, files: int) -> Any:
        return objects.user(self.app) | {"verified": True, "mfa_enabled": True, "locale": "en-US", "flags": 0}

    async def _user(self, params: Params, query: Query, body: None, files: int) -> Any:
        if int(params["user"]) not in self.users:
            raise UNKNOWN_USER
        return objects.user(self.users[int(params["user"])])

    async def _my_guilds(self, params: Params, query: Query, body: None, files: int) -> Any:
        mine = sorted((one for one in self.guilds.values() if one.with_app), key=lambda one: one.id)
        if "after" in query:
            mine = [one for one in mine if one.id > int(query["after"])]
        if "before" in query:
            mine = [one for one in mine if one.id < int(query["before"])]
        return [
            {
                "id": str(one.id), "name": one.name, "icon": None, "banner": None, "owner": False, "features": [],
                "permissions": str(self._base(one)),
                **({"approximate_member_count": len(one.members)} if "with_counts" in query else {}),
            }
            for one in mine[: int(query.get("limit", "200"))]
        ]  # fmt: skip

    def _base(self, guild: Guild) -> int:
        found = guild.everyone.permissions
        for role in guild.members[self.app.id].roles:
            found |= guild.roles[role].permissions
        return found

    async def _leave(self, params: Params, query: Query, body: None, files: int) -> Any:
        guild = self._guild(params)
        guild.with_app = False
        guild.members.pop(self.app.id)
        await self.dispatch("GUILD_DELETE", {"id": str(guild.id)}, guild=guild.id, intents=1)

    async def _application(self, params: Params, query: Query, body: None, files: int) -> Any:
        return {
            "id": str(self.app.id), "name": self.app.global_name, "icon": None, "description": "", "rpc_origins": [],
            "bot_public": False, "bot_require_code_grant": False, "verify_key": "0" * 64, "team": None, "tags": [],
            "flags": self.application_flags(), "owner": objects.user(self.app), "hook": True, "summary": "",
            "approximate_guild_count": sum(one.with_app for one in self.guilds.values()), "redirect_uris": [],
            "interactions_endpoint_url": None, "role_connections_verification_url": None,
            "integration_types_config": {"0": {}}, "approximate_user_install_count": 0,
        }  # fmt: skip

    async def _open_direct(self, params: Params, query: Query, body: dict[str, Any], files: int) -> Any:
        who = self.users.get(int(body["recipient_id"]))
        if who is None or who.bot:
            raise Refused(400, 50033, "Invalid Recipient(s)")
        return objects.channel(self.direct(who), reader=self.app.id)

    # Channels and messages -----------------------------------------------------------------------------------------

    async def _channel_info(self, params: Params, query: Query, body: None, files: int) -> Any:
        return objects.channel(self._channel(params), reader=self.app.id)

    async def _history(self, params: Params, query: Query, body: None, files: int) -> Any:
        cursors = {name: int(query[name]) for name in ("before", "after", "around") if name in query}
        if len(cursors) > 1:
            raise Broken(f"history: {sorted(cursors)} together")
        channel = self._channel(params)
        if channel.kind in (FORUM, CATEGORY):
            raise NOT_A_TEXT_CHANNEL
        if not permissions(self.app.id, channel) & READ_MESSAGE_HISTORY:
            return []
        found = channel.history.page(
            int(query.get("limit", "50")), cursors.get("before"), cursors.get("after"), cursors.get("around")
        )
        return [self.render(one) for one in found]

    async def _one_message(self, params: Params, query: Query, body: None, files: int) -> Any:
        return self.render(self._message(self._channel(params, READ_MESSAGE_HISTORY), params))

    def _writable(self, params: Params) -> Channel:
        channel = self._channel(params)
        if channel.kind in (FORUM, CATEGORY):
            raise NOT_A_TEXT_CHANNEL
        if channel.kind == DM:
            person = next(one for one in channel.recipients if one is not self.app)
            shared = any(person.id in one.members for one in self.guilds.values() if one.with_app)
            if person.closed or not shared:
                raise CLOSED_DMS
            return channel
        self._channel(params, SEND_MESSAGES_IN_THREADS if channel.is_thread else SEND_MESSAGES)
        if channel.locked and not permissions(self.app.id, channel) & MANAGE_THREADS:
            raise LOCKED
        channel.archived = False
        return channel

    async def _post(self, params: Params, query: Query, body: dict[str, Any], files: int) -> Any:
        channel = self._writable(params)
        rules.message("create", body, files=files)
        if body.get("embeds"):
            self._channel(params, EMBED_LINKS)
        if body.get("enforce_nonce"):
            for before in self.posts:
                if before.channel is channel and before.nonce == body.get("nonce"):
                    return self.render(before, whole=True)
        given: dict[str, Any] = {}
        if reference := body.get("message_reference"):
            given = {"reference": {"type": 0, "channel_id": channel.id, **reference}, "type": 19}
            self._channel(params, READ_MESSAGE_HISTORY)
            if channel.history.get(int(reference["message_id"])) is None and reference.get("fail_if_not_exists", True):
                raise Broken("message_reference: unknown message")
        made = self.written(channel, body, **given)
        await self.published(made)
        return self.render(made, whole=True)

    async def _edit_message(self, params: Params, query: Query, body: dict[str, Any], files: int) -> Any:
        channel = self._channel(params)
        found = self._message(channel, params)
        if found.author is not self.app:
            raise NOT_YOURS
        if channel.archived:
            raise ARCHIVED
        rules.message("edit", body, self.fields(found), files)
        await self.edited(found, body)
        return self.render(found, whole=True)

    async def _delete_message(self, params: Params, query: Query, body: None, files: int) -> Any:
        channel = self._channel(params)
        found = self._message(channel, params)
        if found.author is not self.app:
            self._channel(params, MANAGE_MESSAGES)
        await self.removed(found)

    async def _typing(self, params: Params, query: Query, body: None, files: int) -> Any:
        self.typed.append(self._writable(params))
