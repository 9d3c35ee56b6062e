"""Interactions: what people do with the app in Discord, delivered to it, and its answers by the interaction's token.

A test does what a person does (:meth:`Interactions.slash`, :meth:`~Interactions.press`, …) and gets the
:class:`Interaction`, whose answers come to be in it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.discord_server import components, objects, rules
from tests.discord_server.values import (
    ALREADY_ACKNOWLEDGED,
    INVALID_TOKEN,
    TOO_MANY_FOLLOWUPS,
    UNKNOWN_INTERACTION,
    UNKNOWN_MESSAGE,
    UNKNOWN_WEBHOOK,
    Broken,
    check,
    items,
    number,
    shaped,
    text,
)  # fmt: skip
from tests.discord_server.world import Channel, Message, User, permissions, snowflake

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL = 2, 3, 4, 5
#: Types of the messages that answer commands.
SLASH_ANSWER, CONTEXT_ANSWER = 20, 23
#: Types of answers.
ANSWER, DEFER, DEFER_UPDATE, UPDATE, CHOICES, SHOW_MODAL = 4, 5, 6, 7, 8, 9
TOKEN_S, DEADLINE_S = 15 * 60.0, 3.0
FOLLOWUPS_OF_USER_INSTALLS = 5

_CHOICE = shaped("choice", {"name!": text(1, 100), "value!": lambda one: text(0, 100)(one) or number(one),
                            "name_localizations": lambda one: one is None or isinstance(one, dict)})  # fmt: skip


@dataclass(eq=False)
class Interaction:
    """One thing that somebody did, and how the app answered."""

    server: Any
    id: int
    token: str
    kind: int
    user: User
    channel: Channel
    #: By the server's clock.
    sent: float
    data: dict[str, Any]
    #: What a component's interaction, or a modal opened by one, is attached to.
    message: Message | None = None
    #: Installed for the user alone: not in the guild.
    user_installed: bool = False
    #: The type of the first answer, and how long it took, in seconds; None until it has come.
    answered_by: int | None = None
    took: float | None = None
    #: The message that answers; the messages after it; a modal's definition; the choices of an autocompletion.
    original: Message | None = None
    followups: list[Message] = field(default_factory=list)
    modal: dict[str, Any] | None = None
    choices: list[dict[str, Any]] | None = None
    #: Requests by the token that were answered with 404 for a moment, as :attr:`Interactions.hiccups` wants it.
    hiccups: int = 0
    #: How often the answer was changed by the token.
    edits: int = 0
    #: Did somebody wait too long to answer? The token is void then.
    void: bool = False

    @property
    def owners(self) -> dict[str, str]:
        """Whose installation lets the app be used here."""
        guild = self.channel.guild
        return {"1": str(self.user.id)} if self.user_installed else {"0": str(guild.id if guild else 0)}

    async def acknowledged(self) -> Interaction:
        """Wait for the first answer, whatever it is."""
        await self.server.until(lambda: self.answered_by is not None, f"interaction {self.id} is acknowledged")
        return self

    async def answer(self) -> Message:
        """Wait for the message that answers, and until it is more than "thinking"; of a deferred update: is changed."""

        def there() -> bool:
            if self.original is None or self.original.loading:
                return False
            return self.answered_by != DEFER_UPDATE or self.edits > 0

        await self.server.until(there, f"interaction {self.id} is answered")
        assert self.original is not None
        return self.original

    async def followup(self, number: int = 1) -> Message:
        """Wait for the so-manieth message after the first."""
        await self.server.until(lambda: len(self.followups) >= number, f"interaction {self.id} has {number} follow-ups")
        return self.followups[number - 1]

    async def shown_modal(self) -> dict[str, Any]:
        await self.server.until(lambda: self.modal is not None, f"interaction {self.id} opens a modal")
        assert self.modal is not None
        return self.modal

    @property
    def shown(self) -> list[Message]:
        """All messages that answered and have not been deleted, in order."""
        every = [self.original, *self.followups] if self.original else self.followups
        return [one for one in every if not one.deleted]


class Interactions:
    """The part of the server that takes the answers; :mod:`tests.discord_server.people` makes the interactions."""

    app: User
    users: dict[int, User]
    now: Any
    render: Any
    published: Any
    written: Any
    edited: Any
    removed: Any

    def __init__(self) -> None:
        self.interactions: dict[int, Interaction] = {}
        self._by_token: dict[str, Interaction] = {}
        #: How long a first answer may take, in seconds.
        self.deadline_s = DEADLINE_S
        #: How many requests by a token are answered with 404 after a deferral, as Discord does for a moment.
        self.hiccups = 0

    def begin(self, kind: int, user: User, channel: Channel, data: dict[str, Any], **given: Any) -> Interaction:
        made = Interaction(
            self, snowflake(), f"aW50ZXJhY3Rpb24.{uuid.uuid4().hex}", kind, user, channel, self.now(), data, **given
        )
        self.interactions[made.id] = made
        self._by_token[made.token] = made
        return made

    def payload(self, one: Interaction) -> dict[str, Any]:
        """An interaction as INTERACTION_CREATE tells of it."""
        guild = one.channel.guild
        allowed = permissions(one.user.id, one.channel)
        found: dict[str, Any] = {
            "id": str(one.id), "application_id": str(self.app.id), "type": one.kind, "token": one.token, "version": 1,
            "data": one.data, "channel_id": str(one.channel.id), "entitlements": [], "entitlement_sku_ids": [],
            "channel": objects.channel(one.channel, reader=self.app.id, allowed=allowed), "locale": one.user.locale,
            "authorizing_integration_owners": one.owners, "attachment_size_limit": 10_485_760,
            "context": 0 if guild else 1, "app_permissions": str(permissions(self.app.id, one.channel)),
        }  # fmt: skip
        if guild is not None:
            found |= {
                "guild_id": str(guild.id), "guild_locale": guild.locale,
                "guild": {"id": str(guild.id), "locale": guild.locale, "features": []},
                "member": objects.member(guild.members[one.user.id], allowed=allowed),
            }  # fmt: skip
        else:
            found["user"] = objects.user(one.user)
        if one.message is not None:
            found["message"] = self.render(one.message, whole=True)
        return found

    # Answers -------------------------------------------------------------------------------------------------------

    async def _callback(self, params: dict[str, str], query: dict[str, str], body: dict[str, Any], files: int) -> Any:
        from tests.discord_server.routes import CALLBACK

        check("callback", body, CALLBACK)
        one = self._by_token.get(params["token"])
        if one is None or one.id != int(params["interaction"]):
            raise UNKNOWN_INTERACTION
        took = self.now() - one.sent
        if one.answered_by is not None:
            raise ALREADY_ACKNOWLEDGED
        if one.void or took > self.deadline_s:
            one.void = True
            raise UNKNOWN_INTERACTION
        kind, data = body["type"], body.get("data") or {}
        self._fits(one, kind, data, files)
        one.answered_by, one.took = kind, took
        about: dict[str, Any] = {"id": str(one.id), "type": one.kind}
        found: dict[str, Any] = {"interaction": about}
        if kind in (ANSWER, DEFER):
            one.original = self._say(one, data, loading=kind == DEFER)
            about |= {
                "response_message_id": str(one.original.id), "response_message_loading": kind == DEFER,
                "response_message_ephemeral": one.original.ephemeral,
            }  # fmt: skip
            found["resource"] = {"type": kind}
            if kind == ANSWER:
                found["resource"]["message"] = self.render(one.original, whole=True)
            await self.published(one.original)
        elif kind in (UPDATE, DEFER_UPDATE):
            one.original = one.message
            assert one.original is not None
            if kind == UPDATE:
                await self.edited(one.original, data)
                found["resource"] = {"type": kind, "message": self.render(one.original, whole=True)}
            about["response_message_id"] = str(one.original.id)
        elif kind == CHOICES:
            one.choices = data["choices"]
        else:
            one.modal = self._numbered(data)
        return found if query.get("with_response") in ("1", "true", "True") else None

    def _fits(self, one: Interaction, kind: int, data: dict[str, Any], files: int) -> None:
        if (kind == CHOICES) != (one.kind == AUTOCOMPLETE) or kind not in range(ANSWER, SHOW_MODAL + 1):
            raise Broken(f"callback: type {kind} to an interaction of type {one.kind}")
        if kind in (DEFER_UPDATE, UPDATE) and one.message is None:
            raise Broken(f"callback: type {kind} without a component")
        if kind == ANSWER:
            rules.message("callback", data, files=files)
        elif kind == DEFER:
            rules.message("defer", data)
        elif kind == UPDATE:
            rules.message("update", data, self.fields(one.message), files)
        elif kind == DEFER_UPDATE:
            check("deferred update", data, {})
        elif kind == CHOICES:
            check("choices", data, {"choices!": items(_CHOICE, 25)})
        elif one.kind == MODAL:
            raise Broken("callback: a modal after a modal")
        else:
            components.modal(data)

    @staticmethod
    def fields(one: Message | None) -> dict[str, Any]:
        """What of a message an edit may leave as it is."""
        assert one is not None
        return {
            "content": one.content, "embeds": one.embeds, "components": one.components, "flags": one.flags,
            "poll": one.poll, "attachments": one.attachments,
        }  # fmt: skip

    @staticmethod
    def _numbered(data: dict[str, Any]) -> dict[str, Any]:
        for number_, one in enumerate(components.walk(data["components"]), 1):
            one.setdefault("id", number_)
        return data

    def _say(self, one: Interaction, data: dict[str, Any], *, loading: bool = False) -> Message:
        flags = (data.get("flags") or 0) | (rules.LOADING if loading else 0)
        about = {
            "id": str(one.id), "type": one.kind, "user": objects.user(one.user),
            "authorizing_integration_owners": one.owners,
        }  # fmt: skip
        kind = (CONTEXT_ANSWER if one.data.get("target_id") else SLASH_ANSWER) if one.kind == COMMAND else 0
        made: Message = self.written(
            one.channel, data | {"flags": flags}, webhook=self.app.id, interaction=about,
            type=kind if one.original is None else 0,
            seen_by=one.user if flags & rules.EPHEMERAL else None, default=("users",),
        )  # fmt: skip
        return made

    def _hook(self, params: dict[str, str]) -> Interaction:
        """The interaction that a token is of, if the token may be used."""
        if int(params["application"]) != self.app.id:
            raise UNKNOWN_WEBHOOK
        one = self._by_token.get(params["token"])
        if one is None:
            raise INVALID_TOKEN
        if self.now() - one.sent > TOKEN_S:
            raise INVALID_TOKEN
        if one.answered_by is None:
            raise UNKNOWN_WEBHOOK
        if one.answered_by == DEFER and one.hiccups < self.hiccups:
            one.hiccups += 1
            raise UNKNOWN_WEBHOOK
        return one

    async def _followup(self, params: dict[str, str], query: dict[str, str], body: dict[str, Any], files: int) -> Any:
        one = self._hook(params)
        rules.message("followup", body, files=files)
        if one.answered_by == DEFER and one.original and one.original.loading and not one.original.deleted:
            # The first follow-up of a deferral becomes the answer; its own flags do not count.
            kept = {name: value for name, value in body.items() if name != "flags"}
            v2 = (body.get("flags") or 0) & rules.COMPONENTS_V2
            await self.edited(one.original, kept | ({"flags": v2} if v2 else {}))
            return self.render(one.original, whole=True)
        if one.user_installed and len(one.followups) >= FOLLOWUPS_OF_USER_INSTALLS:
            raise TOO_MANY_FOLLOWUPS
        made = self._say(one, body)
        one.followups.append(made)
        await self.published(made)
        return self.render(made, whole=True)

    def _own(self, one: Interaction, which: str) -> Message:
        if which == "@original":
            found = one.original
        else:
            found = next((each for each in one.followups if each.id == int(which)), None)
            if one.original is not None and one.original.id == int(which):
                found = one.original
        if found is None or found.deleted:
            raise UNKNOWN_MESSAGE
        return found

    async def _answer(self, params: dict[str, str], query: dict[str, str], body: None, files: int) -> Any:
        return self.render(self._own(self._hook(params), params["message"]), whole=True)

    async def _edit_answer(
        self, params: dict[str, str], query: dict[str, str], body: dict[str, Any], files: int
    ) -> Any:  # fmt: skip
        one = self._hook(params)
        found = self._own(one, params["message"])
        rules.message("webhook edit", body, self.fields(found), files)
        await self.edited(found, body)
        one.edits += found is one.original
        return self.render(found, whole=True)

    async def _delete_answer(self, params: dict[str, str], query: dict[str, str], body: None, files: int) -> Any:
        await self.removed(self._own(self._hook(params), params["message"]))
        return None
