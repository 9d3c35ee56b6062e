"""What people do with the app in the local Discord, delivered to it: commands, context menus, clicks, modals.

A person can do only what Discord's client would let them: type a command that is registered, with options that fit it;
press a button that is there and enabled; see what they see. Anything else is the test's own mistake, and is raised.
"""

from __future__ import annotations

from typing import Any

from tests.discord_server import components, objects
from tests.discord_server.commands import (
    A_USER,
    BOOLEAN,
    CHANNEL,
    CHAT,
    GROUP,
    INTEGER,
    MESSAGE,
    NUMBER,
    ROLE,
    STRING,
    SUB,
    USER,
)  # fmt: skip
from tests.discord_server.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, MODAL, Interaction
from tests.discord_server.world import (
    USE_APPLICATION_COMMANDS,
    VIEW_CHANNEL,
    Channel,
    Guild,
    Member,
    Message,
    User,
    permissions,
)  # fmt: skip


class People:
    """The part of the server that is the people on it."""

    users: dict[int, User]
    guilds: dict[int, Guild]
    channels: dict[int, Channel]
    app: User
    begin: Any
    payload: Any
    dispatch: Any
    connected: Any
    render: Any
    registered: Any
    now: Any
    write: Any
    tell: Any
    edited: Any
    removed: Any
    thread: Any

    # Commands ------------------------------------------------------------------------------------------------------

    async def _deliver(self, one: Interaction) -> Interaction:
        await self.connected()
        one.sent = self.now()
        guild = one.channel.guild
        await self.dispatch("INTERACTION_CREATE", self.payload(one), guild=guild.id if guild else None)
        return one

    def command(self, channel: Channel, name: str, kind: int = CHAT) -> dict[str, Any]:
        """A registered command as the client would offer it in a channel."""
        guild = channel.guild.id if channel.guild else None
        for one in (*self.registered(guild), *(self.registered(None) if guild else ())):
            if one["name"] == name and one["type"] == kind:
                if guild is None:
                    assert 1 in (one["contexts"] or ([0, 1] if one["dm_permission"] else [0])), (
                        "not for direct messages"
                    )
                return dict(one)
        raise AssertionError(f"there is no command {name!r} of type {kind}: it is not registered")

    async def slash(
        self, user: User, channel: Channel, name: str, /, *, user_installed: bool = False, **options: Any
    ) -> Interaction:
        """Type a slash command: ``"summarize"``, or ``"redraft recent"`` with its subcommand; options by name."""
        return await self._deliver(self._slash(COMMAND, user, channel, name, options, user_installed=user_installed))

    async def autocomplete(
        self, user: User, channel: Channel, name: str, focused: str, typed: str | int, /, **options: Any
    ) -> list[dict[str, Any]]:
        """Type into one option of a command, and wait for what is offered: choices with name and value."""
        one = self._slash(AUTOCOMPLETE, user, channel, name, {**options, focused: typed}, focused)
        await (await self._deliver(one)).acknowledged()
        assert one.choices is not None
        return one.choices

    def _slash(
        self, kind: int, user: User, channel: Channel, name: str, options: dict[str, Any], focused: str = "",
        *, user_installed: bool = False,
    ) -> Interaction:  # fmt: skip
        self._may(user, channel, USE_APPLICATION_COMMANDS | VIEW_CHANNEL)
        first, *subs = name.split()
        known = self.command(channel, first)
        assert not user_installed or 1 in (known["integration_types"] or [0]), "not for users' own installations"
        self._may(user, channel, int(known["default_member_permissions"] or 0))
        resolved: dict[str, dict[str, Any]] = {}
        data = {"id": known["id"], "name": first, "type": CHAT}
        if known.get("guild_id"):
            data["guild_id"] = known["guild_id"]
        inner: dict[str, Any] = known
        top: dict[str, Any] = data
        for sub in subs:
            inner = next(one for one in inner["options"] if one["name"] == sub and one["type"] in (SUB, GROUP))
            top["options"] = [{"type": inner["type"], "name": sub}]
            top = top["options"][0]
        top["options"] = self._options(inner.get("options", []), options, focused, channel, resolved)
        if resolved:
            data["resolved"] = resolved
        made: Interaction = self.begin(kind, user, channel, data, user_installed=user_installed)
        return made

    def _options(
        self,
        known: list[dict[str, Any]],
        given: dict[str, Any],
        focused: str,
        channel: Channel,
        resolved: dict[str, Any],
    ) -> list[dict[str, Any]]:
        by_name = {one["name"]: one for one in known}
        assert set(given) <= set(by_name), f"options {sorted(set(given) - set(by_name))} are not registered"
        missing = {one["name"] for one in known if one.get("required")} - set(given)
        assert not missing or focused, f"options {sorted(missing)} are required"
        found = []
        for name, value in given.items():
            one = by_name[name]
            option = {
                "name": name,
                "type": one["type"],
                "value": self._value(one, value, channel, resolved, name == focused),
            }
            found.append(option | ({"focused": True} if name == focused else {}))
        return found

    def _value(self, one: dict[str, Any], value: Any, channel: Channel, resolved: dict[str, Any], typing: bool) -> Any:
        kind = one["type"]
        if kind == CHANNEL:
            assert not one.get("channel_types") or value.kind in one["channel_types"], "a channel of another type"
            seen = objects.channel(value, allowed=permissions(self.app.id, value))
            resolved.setdefault("channels", {})[str(value.id)] = seen
            return str(value.id)
        if kind == A_USER:
            resolved.setdefault("users", {})[str(value.id)] = objects.user(value)
            member = channel.guild.members.get(value.id) if channel.guild else None
            if member:
                found = objects.member(member, with_user=False, allowed=permissions(value.id, channel))
                resolved.setdefault("members", {})[str(value.id)] = found
            return str(value.id)
        if kind == ROLE:
            resolved.setdefault("roles", {})[str(value.id)] = objects.role(value)
            return str(value.id)
        if typing:
            return value
        types: Any = {STRING: str, INTEGER: int, NUMBER: (int, float), BOOLEAN: bool}[kind]
        assert isinstance(value, types), f"{one['name']} takes no {value!r}"
        if one.get("choices"):
            assert value in [choice["value"] for choice in one["choices"]], f"{value!r} is no choice of {one['name']}"
        size = len(value) if kind == STRING else value
        for least, most in (("min_length", "max_length"), ("min_value", "max_value")):
            assert one.get(least) is None or size >= one[least], f"{one['name']}: {value!r} is too little"
            assert one.get(most) is None or size <= one[most], f"{one['name']}: {value!r} is too much"
        return value

    async def context_menu(
        self, user: User, target: Message | Member, name: str, *, channel: Channel | None = None
    ) -> Interaction:
        """Choose an entry of the context menu of a message, or of a member (in a channel)."""
        place = target.channel if isinstance(target, Message) else channel
        assert place is not None
        self._may(user, place, USE_APPLICATION_COMMANDS | VIEW_CHANNEL)
        known = self.command(place, name, MESSAGE if isinstance(target, Message) else USER)
        data: dict[str, Any] = {"id": known["id"], "name": name, "type": known["type"]}
        if isinstance(target, Message):
            data |= {
                "target_id": str(target.id),
                "resolved": {"messages": {str(target.id): self.render(target, whole=True)}},
            }
        else:
            an_id = str(target.user.id)
            found = {"users": {an_id: objects.user(target.user)}}
            found["members"] = {an_id: objects.member(target, with_user=False)}
            data |= {"target_id": an_id, "resolved": found}
        return await self._deliver(self.begin(COMMAND, user, place, data))

    @staticmethod
    def _may(user: User, channel: Channel, needed: int) -> None:
        allowed = permissions(user.id, channel)
        assert channel.guild is None or allowed & needed == needed, f"{user.name} may not do that in {channel.name}"

    # Components ----------------------------------------------------------------------------------------------------

    @staticmethod
    def buttons(message: Message) -> dict[str, str]:
        """The custom ids of a message's enabled buttons by their labels (or emoji)."""
        return {
            one.get("label") or one["emoji"]["name"]: one["custom_id"] for one in components.walk(message.components)
            if one["type"] == components.BUTTON and "custom_id" in one and not one.get("disabled")
        }  # fmt: skip

    def _component(self, user: User, message: Message, custom_id: str) -> dict[str, Any]:
        assert not message.deleted, "the message is gone"
        assert message.seen_by in (None, user), f"{user.name} does not see that message"
        if message.seen_by is None:
            self._may(user, message.channel, VIEW_CHANNEL)
        every = [one for one in components.walk(message.components) if one.get("custom_id") == custom_id]
        assert every and not every[0].get("disabled"), f"there is no {custom_id!r} to use"
        return every[0]

    async def press(self, user: User, message: Message, button: str) -> Interaction:
        """Press a button of a message, by its label, its emoji or its custom id."""
        custom_id = self.buttons(message).get(button, button)
        found = self._component(user, message, custom_id)
        data = {"custom_id": custom_id, "component_type": components.BUTTON, "id": found.get("id", 1)}
        return await self._deliver(self.begin(COMPONENT, user, message.channel, data, message=message))

    async def select(self, user: User, message: Message, custom_id: str, *values: str) -> Interaction:
        """Choose values of a select menu."""
        found = self._component(user, message, custom_id)
        assert found.get("min_values", 1) <= len(values) <= found.get("max_values", 1), "too few or too many values"
        if found["type"] == components.STRING_SELECT:
            assert set(values) <= {one["value"] for one in found["options"]}, f"{values} are not to be had"
        data = {
            "custom_id": custom_id, "component_type": found["type"], "values": list(values), "id": found.get("id", 1),
        }  # fmt: skip
        return await self._deliver(self.begin(COMPONENT, user, message.channel, data, message=message))

    async def submit(self, opened: Interaction, **values: Any) -> Interaction:
        """Submit the modal that an interaction opened; values by custom id, and what is not given stands as it was."""
        modal = await opened.shown_modal()
        fields = {one["custom_id"] for one in components.walk(modal["components"]) if "custom_id" in one}
        assert set(values) <= fields, f"the modal has {sorted(fields)}"
        rows = []
        for one in modal["components"]:
            row: dict[str, Any] = {"type": one["type"], "id": one["id"]}
            if one["type"] == components.LABEL:
                row["component"] = self._typed(one["component"], values)
            elif one["type"] == components.ROW:
                row["components"] = [self._typed(each, values) for each in one["components"]]
            rows.append(row)
        data = {"custom_id": modal["custom_id"], "components": rows}
        return await self._deliver(self.begin(MODAL, opened.user, opened.channel, data, message=opened.message))

    @staticmethod
    def _typed(one: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
        found = {"type": one["type"], "id": one["id"], "custom_id": one["custom_id"]}
        given = values.get(one["custom_id"])
        if one["type"] == components.TEXT_INPUT:
            text = one.get("value", "") if given is None else given
            assert text or not one.get("required", True), f"{one['custom_id']} is required"
            assert not text or one.get("min_length", 0) <= len(text) <= one.get("max_length", 4000), "too long or short"
            return found | {"value": text}
        if one["type"] in (components.CHECKBOX, components.RADIO_GROUP):
            return found | {
                "value": one.get("default", False if one["type"] == 23 else None) if given is None else given
            }
        chosen = [each["value"] for each in one.get("options", ()) if each.get("default")] if given is None else given
        assert chosen or not one.get("required", True), f"{one['custom_id']} is required"
        return found | {"values": [chosen] if isinstance(chosen, str) else list(chosen)}
