"""What the tests of the formats share: building inputs, and what a refusal must look like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from engine.conversation import Conversation
from engine.formats import read_bytes
from storage.errors import InputError


def read_json(value: Any, **options: Any) -> Conversation:
    """A JSON value, read as a file of that content would be."""
    return read_bytes(json.dumps(value).encode(), "file.json", **options)


def read_text(text: str, **options: Any) -> Conversation:
    return read_bytes(text.encode(), "file.txt", **options)


def texts(conversation: Conversation) -> list[str]:
    return [message.text for message in conversation.messages]


def turns(conversation: Conversation) -> list[tuple[str, str]]:
    return [(message.author, message.text) for message in conversation.messages]


def refused(reading: Callable[[], object]) -> InputError:
    """The error of a reading that must fail, after checking that it is fit to show to a person."""
    with pytest.raises(InputError) as caught:
        reading()
    error = caught.value
    for part in (error.message, error.hint):
        assert part.endswith("."), part
        assert part.isprintable(), part
        assert len(part) < 500, part
        assert not re.search(r"Traceback|Error\b|exception|None\b", part), part
    return error


def slack(ts: float, text: str, user: str = "U1", **more: Any) -> dict[str, Any]:
    """A Slack message as an export writes it, reduced to what matters."""
    return {"type": "message", "ts": f"{1_778_575_200 + ts:.6f}", "user": user, "text": text, **more}


def ts(seconds: float) -> str:
    return f"{1_778_575_200 + seconds:.6f}"


def discord(number: int, content: str, name: str = "Ana", **more: Any) -> dict[str, Any]:
    """A message as DiscordChatExporter writes it, reduced to what matters."""
    return {
        "id": str(1_100_000_000_000_000_000 + number),
        "type": "Default",
        "timestamp": f"2026-05-12T09:{number // 60 % 60:02d}:{number % 60:02d}.211+00:00",
        "content": content,
        "author": {"id": str(sum(map(ord, name))), "name": name.lower(), "nickname": name, "isBot": False, "roles": []},
        "attachments": [],
        "embeds": [],
        "stickers": [],
        "reactions": [],
        "mentions": [],
        **more,
    }


def discord_export(*messages: dict[str, Any], **channel: Any) -> dict[str, Any]:
    return {
        "guild": {"id": "900", "name": "Guild"},
        "channel": {"id": "800", "type": "GuildTextChat", "categoryId": "700", "name": "help", **channel},
        "messages": list(messages),
        "messageCount": len(messages),
    }
