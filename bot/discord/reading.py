"""From discord.py's messages to messages as people read them, through the shape that Discord's exports have.

It asks nobody anything: names come in, and nothing is left out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import discord

from engine.conversation import Message
from engine.formats.discord_export import messages_of


def readable(
    messages: Iterable[discord.Message],
    *,
    users: Mapping[int, str],
    roles: Mapping[str, str],
    channels: Mapping[str, str],
    guild: int,
    channel: int,
) -> tuple[Message, ...]:
    """Messages oldest first, names and mentions resolved.

    Args:
        users: names by id.
        roles, channels: names by id.
        channel: the channel or thread in which they stand.
    """
    return messages_of(
        [_raw(message, users) for message in messages],
        users={str(key): name for key, name in users.items()},
        roles=roles,
        channels=channels,
        guild=str(guild),
        channel=str(channel),
    )


def _raw(message: discord.Message, users: Mapping[int, str]) -> dict[str, Any]:
    author = message.author
    raw: dict[str, Any] = {
        "id": str(message.id),
        "type": str(message.type.value),
        "timestamp": message.created_at.isoformat(),
        "author": {"id": str(author.id), "name": users.get(author.id, author.name), "isBot": author.bot},
        **_content(message),
    }
    reference = message.reference
    if message.message_snapshots:
        raw["reference"] = {"type": "Forward"}
        raw["forwardedMessage"] = _content(message.message_snapshots[0])
    elif reference is not None and reference.message_id is not None:
        raw["reference"] = {"messageId": str(reference.message_id)}
    if message.poll is not None:
        raw["poll"] = {
            "question": {"text": message.poll.question},
            "answers": [{"text": one.text, "votes": one.vote_count} for one in message.poll.answers],
        }
    return raw


def _content(message: discord.Message | discord.MessageSnapshot) -> dict[str, Any]:
    return {
        "content": message.content,
        "embeds": [embed.to_dict() for embed in message.embeds],
        "attachments": [{"fileName": one.filename} for one in message.attachments],
        "stickers": [{"name": one.name} for one in message.stickers],
    }
