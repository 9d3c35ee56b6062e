"""Discord's deliveries, by discord.py, into jobs: each is stored by one insert, then acknowledged; nothing before it.

Listeners translate and hold no logic. Discord waits three seconds for an acknowledgement. What cannot be stored is told
at once; a button that opens a modal is answered by that modal and is no job, because nothing is owed after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import discord
import structlog
from discord import app_commands

from bot import texts
from bot.discord import commands, embeds, modals
from bot.discord.changes import Changes
from bot.discord.client import ALREADY_ACKNOWLEDGED, UNKNOWN_INTERACTION, Discord
from bot.discord.embeds import Press, payload
from bot.discord.feedback import TOLD
from bot.discord.people import name_of
from bot.discord.words import ask_of
from bot.jobs import Accepted, Intake, Job, Lane, Later
from bot.when import NotUnderstood
from storage.errors import RedraftError, StorageError

_Interaction = discord.Interaction[discord.Client]
MakeModal = Callable[[str, str, str], Awaitable[discord.ui.Modal]]

#: Buttons that open a modal; whose answer only the presser sees; and whose answer takes the message's place.
_OPEN = (embeds.CORRECT, embeds.OWN, embeds.WRITE, embeds.DOWN, embeds.REJECT, embeds.EDIT)
_REPLACE = (embeds.APPROVE, embeds.UNHIDE)
#: Of Discord's three seconds, so many for finding out what a modal shows.
_MODAL_S = 2.2


class Listeners:
    """discord.py's events, commands and buttons with our listeners.

    Args:
        at_once: summaries under way at once; beyond it people are told how many are before theirs.
        modal: makes the modal that a button opens, for a person.
    """

    def __init__(
        self, connection: Discord, intake: Intake, changes: Changes, *, at_once: int, modal: MakeModal
    ) -> None:
        self._discord, self._intake, self._changes = connection, intake, changes
        self._at_once, self._modal = at_once, modal
        self._log = structlog.get_logger("discord.app")
        client = connection.client
        self.tree: app_commands.CommandTree[Any] = app_commands.CommandTree(client)
        self.tree.error(self._failed)
        commands.add_to(self.tree, self)
        connection.answer(_press(self.pressed))
        for listener in (
            self.on_interaction, self.on_raw_message_edit, self.on_raw_message_delete, self.on_raw_bulk_message_delete,
            self.on_guild_channel_update, self.on_guild_channel_delete, self.on_raw_thread_delete,
        ):  # fmt: skip
            client.event(_event(listener))

    async def _failed(self, interaction: _Interaction, error: app_commands.AppCommandError) -> None:
        # Commands of another version, or a failure of ours; what was typed is not logged.
        self._log.error("a command could not be taken", reason=type(error).__name__, exc_info=error.__cause__)
        await self._say(interaction, texts.TRY_AGAIN)

    async def _accept(self, interaction: _Interaction, kind: str, lane: Lane, **given: Any) -> Accepted | None:
        """Store a job; None where it cannot be, which is told."""
        user = interaction.user
        job = Job(
            key=f"discord:{interaction.id}",
            platform="discord",
            kind=kind,
            lane=lane,
            person=f"discord:{user.id}",
            payload={
                "user": str(user.id), "name": name_of(user), "guild": str(interaction.guild_id or ""),
                "channel": str(interaction.channel_id or ""), "token": interaction.token, **given,
            },
        )  # fmt: skip
        try:
            return await self._intake.accept(job)
        except StorageError:
            await self._say(interaction, texts.NOT_STORED)
            return None

    # Commands --------------------------------------------------------------------------------------------------------

    async def summarize(self, interaction: _Interaction, options: dict[str, Any]) -> None:
        """`/summarize`."""
        guild, channel = str(interaction.guild_id or ""), str(interaction.channel_id or "")
        share = bool(options.pop("share", False))
        try:
            ask = ask_of(options, guild)
        except NotUnderstood as error:
            await self._say(interaction, error.message)
            return
        # What is of another place is nobody's business here.
        public = share and not ask.links and ask.channel in ("", channel)
        accepted = await self._accept(interaction, "summarize", "summary", options=options, public=public)
        await self._taken(interaction, accepted, public=public)

    async def menu(self, interaction: _Interaction, message: discord.Message, *, from_here: bool) -> None:
        """A message's menu."""
        accepted = await self._accept(
            interaction, "summarize", "summary", options={}, message=str(message.id), from_here=from_here
        )
        await self._taken(interaction, accepted)

    async def redraft(self, interaction: _Interaction, word: str) -> None:
        """`/redraft` and a word."""
        if word == "help":
            await self._say(interaction, texts.HELP_DISCORD)
        elif await self._accept(interaction, "redraft", "light", word=word) is not None:
            await self._acknowledge(interaction.response.defer(ephemeral=True, thinking=True))

    async def _taken(self, interaction: _Interaction, accepted: Accepted | None, *, public: bool = False) -> None:
        if accepted is None:
            return
        if accepted.new and accepted.ahead >= self._at_once:
            await self._say(interaction, texts.waiting(accepted.ahead), ephemeral=not public)
        else:
            # One that is known is acknowledged again: whoever took it may have died in between.
            await self._acknowledge(interaction.response.defer(ephemeral=not public, thinking=True))

    # Buttons and modals ----------------------------------------------------------------------------------------------

    async def pressed(self, interaction: _Interaction, action: str, value: str) -> None:
        """A button of ours."""
        message = interaction.message
        private = interaction.guild_id is None or (message is not None and message.flags.ephemeral)
        if action == embeds.OWN and private:
            await self._acknowledge(self._hide(interaction, value))
        elif action in _OPEN:
            if action == embeds.DOWN and not await self._accept(
                interaction, "pressed", "light", action=action, value=value
            ):
                return
            await self._open(interaction, action, value)
        elif await self._accept(interaction, "pressed", "light", action=action, value=value, update=action in _REPLACE):
            thinking = action not in _REPLACE
            await self._acknowledge(interaction.response.defer(ephemeral=thinking, thinking=thinking))

    async def _open(self, interaction: _Interaction, action: str, value: str) -> None:
        try:
            async with asyncio.timeout(_MODAL_S):
                modal = await self._modal(f"discord:{interaction.user.id}", action, value)
        except TOLD as error:
            await self._say(interaction, str(error))
        except (TimeoutError, Later, RedraftError):
            await self._say(interaction, texts.CLICK_AGAIN)
        else:
            await self._acknowledge(interaction.response.send_modal(modal))

    async def _hide(self, interaction: _Interaction, summary_id: str) -> None:
        """Take a draft out of its reader's sight, with the button that goes on beneath."""
        hidden = embeds.hidden(summary_id)
        view = discord.ui.View(timeout=None)
        for button in hidden.buttons:
            view.add_item(button)
        view.stop()
        await interaction.response.edit_message(content=hidden.text, embeds=[], view=view)

    async def on_interaction(self, interaction: _Interaction) -> None:
        """Modals: the library would only know those that this process has opened."""
        if interaction.type is not discord.InteractionType.modal_submit:
            return
        data: Any = interaction.data or {}
        remembered = modals.Remembered.load(str(data.get("custom_id")))
        if remembered is None:
            return
        found = modals.values(data)
        message = interaction.message
        private = message is None or interaction.guild_id is None or message.flags.ephemeral
        # Where the message is the person's alone, it says what they wrote from now on.
        update = message is not None and private and remembered.kind != modals.REASON
        accepted = await self._accept(
            interaction, "submitted", "light", modal=remembered.dump(), texts=modals.written(found),
            choice=found.get("about", ""), private=private, update=update,
        )  # fmt: skip
        if accepted is not None:
            await self._acknowledge(interaction.response.defer(ephemeral=not update, thinking=not update))

    # What happens to messages ----------------------------------------------------------------------------------------

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """An edit; Discord also tells of previews of links, which are none."""
        if event.guild_id is not None and event.data.get("edited_timestamp"):
            await self._changes.heard(event.guild_id, event.channel_id, [event.message_id], deleted=False)

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """A deletion."""
        if event.guild_id is not None:
            await self._changes.heard(event.guild_id, event.channel_id, [event.message_id], deleted=True)

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Many deletions at once."""
        if event.guild_id is not None:
            await self._changes.heard(event.guild_id, event.channel_id, event.message_ids, deleted=True)

    async def on_guild_channel_update(self, _before: object, after: discord.abc.GuildChannel) -> None:
        """A channel that everyone could read may be private now."""
        rights = after.permissions_for(after.guild.default_role)
        if not (rights.view_channel and rights.read_message_history):
            await self._changes.closed(str(after.id))

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """A channel was deleted, with all that was in it."""
        await self._changes.gone(channel=str(channel.id))

    async def on_raw_thread_delete(self, event: discord.RawThreadDeleteEvent) -> None:
        """A thread was deleted; the message that it hung under is in its channel, but for a forum post's."""
        guild = self._discord.client.get_guild(event.guild_id)
        parent = guild.get_channel(event.parent_id) if guild is not None else None
        await self._changes.gone(thread=str(event.thread_id), beginning=isinstance(parent, discord.ForumChannel))

    # Answers ---------------------------------------------------------------------------------------------------------

    async def _say(self, interaction: _Interaction, text: str, *, ephemeral: bool = True) -> None:
        content = payload(embeds.notice(text))["content"]
        await self._acknowledge(interaction.response.send_message(content, ephemeral=ephemeral, suppress_embeds=True))

    async def _acknowledge(self, doing: Awaitable[object]) -> None:
        """Answer an interaction; what is owed is done, and told otherwise, where that comes too late."""
        try:
            await doing
        except discord.InteractionResponded:
            pass
        except discord.HTTPException as error:
            if error.code == UNKNOWN_INTERACTION:
                self._log.warning("an acknowledgement came too late")
            elif error.code != ALREADY_ACKNOWLEDGED:
                self._log.warning("an acknowledgement was refused", status=error.status, code=error.code)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self._log.warning("an acknowledgement did not reach Discord", reason=type(error).__name__)


def _press(pressed: Callable[[_Interaction, str, str], Awaitable[None]]) -> type[Press]:
    """The library makes an object for each pressed button: of this class, which knows who hears of it."""

    class Pressed(Press, template=embeds.CUSTOM_ID):
        @classmethod
        async def from_custom_id(cls, _interaction: Any, item: Any, match: Any, /) -> Any:
            return cls(item.label or "…", match["action"], match["value"])

        async def callback(self, interaction: Any) -> None:
            await pressed(interaction, self.action, self.value)

    return Pressed


def _event(listener: Callable[..., Awaitable[None]]) -> Callable[..., Any]:
    """A listener as the library takes it: a coroutine function that it can give its own name."""

    async def heard(*given: Any) -> None:
        await listener(*given)

    heard.__name__ = listener.__name__
    return heard
