"""The commands and context menus that Discord is told of, and nothing of what they do.

Their definitions are compared by a hash with those that Discord was told last, so that it is told when they change.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Protocol, Union

import discord
from discord import app_commands

from bot import texts
from bot.discord.words import suggestions
from bot.when import LONGEST_FOCUS, MOST_MESSAGES

#: What `/redraft` knows.
WORDS = ("recent", "mydata", "optout", "optin", "review", "help")
_STYLES = [app_commands.Choice(name=label, value=value) for value, label in texts.STYLES.items()]
_Any = Union[app_commands.AppCommandChannel, app_commands.AppCommandThread]  # noqa: UP007  # read at run time
_Interaction = discord.Interaction[discord.Client]


class Takes(Protocol):
    """Who takes what people ask for."""

    async def summarize(self, interaction: _Interaction, options: dict[str, Any]) -> None:
        """`/summarize` with these options."""
        ...

    async def menu(self, interaction: _Interaction, message: discord.Message, *, from_here: bool) -> None:
        """A message's menu."""
        ...

    async def redraft(self, interaction: _Interaction, word: str) -> None:
        """`/redraft` and a word."""
        ...


def add_to(tree: app_commands.CommandTree[Any], takes: Takes) -> None:
    """Put all commands into a tree."""

    @app_commands.describe(**{name: texts.COMMANDS[name] for name in _OPTIONS})
    @app_commands.choices(style=_STYLES)
    async def summarize(
        interaction: _Interaction,
        since: app_commands.Range[str, 1, 100] | None = None,
        messages: app_commands.Range[int, 1, MOST_MESSAGES] | None = None,
        channel: _Any | None = None,
        link: app_commands.Range[str, 1, 600] | None = None,
        about: app_commands.Range[str, 1, LONGEST_FOCUS] | None = None,
        style: str | None = None,
        share: bool = False,
    ) -> None:
        given = {
            "since": since, "messages": messages, "channel": str(channel.id) if channel else None, "link": link,
            "about": about, "style": style, "share": share,
        }  # fmt: skip
        await takes.summarize(interaction, {name: value for name, value in given.items() if value})

    async def complete_since(_interaction: _Interaction, current: str) -> list[app_commands.Choice[str]]:
        return [app_commands.Choice(name=label, value=value) for label, value in suggestions(current)]

    async def thread(interaction: _Interaction, message: discord.Message) -> None:
        await takes.menu(interaction, message, from_here=False)

    async def from_here(interaction: _Interaction, message: discord.Message) -> None:
        await takes.menu(interaction, message, from_here=True)

    contexts = app_commands.AppCommandContext(guild=True, dm_channel=False, private_channel=False)
    installs = app_commands.AppInstallationType(guild=True, user=False)
    command: app_commands.Command[Any, ..., None] = app_commands.Command(
        name="summarize",
        description=texts.COMMANDS["summarize"],
        callback=summarize,
        allowed_contexts=contexts,
        allowed_installs=installs,
    )
    command.autocomplete("since")(complete_since)
    tree.add_command(command)
    for name, callback in ((texts.MENU_THREAD, thread), (texts.MENU_FROM, from_here)):
        tree.add_command(
            app_commands.ContextMenu(name=name, callback=callback, allowed_contexts=contexts, allowed_installs=installs)
        )
    # In the messages that the app sends to a person, too: what is stored about them is no server's business.
    group = app_commands.Group(
        name="redraft",
        description=texts.COMMANDS["redraft"],
        allowed_contexts=app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=False),
        allowed_installs=installs,
    )
    for word in WORDS:
        group.add_command(_word(word, takes))
    tree.add_command(group)


_OPTIONS = ("since", "messages", "channel", "link", "about", "style", "share")


def _word(word: str, takes: Takes) -> app_commands.Command[Any, ..., None]:
    async def said(interaction: _Interaction) -> None:
        await takes.redraft(interaction, word)

    return app_commands.Command(name=word, description=texts.COMMANDS[word], callback=said)


def fingerprint(tree: app_commands.CommandTree[Any]) -> str:
    """The definitions of a tree's global commands, as 64 hexadecimal digits."""
    told = sorted((command.to_dict(tree) for command in tree.get_commands()), key=lambda one: str(one["name"]))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
