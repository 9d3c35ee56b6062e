"""From messages as Discord's API gives them to messages as people read them, through the shape of Discord's exports.

It takes the API's JSON rather than the library's objects, so that one message of a kind that the library does not know
spoils no summary. It asks nobody anything: names come in, and nothing is left out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from engine.conversation import Message
from engine.formats.discord_export import messages_of
from engine.formats.values import as_dict, clean_name, dicts, first_name, identifier, iso_time

Raw = dict[str, Any]
#: The API's kinds: a note that a thread begins with, which stands for a message elsewhere.
THREAD_STARTER = 21
_FORWARD = 1


def readable(
    messages: Iterable[Raw],
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
        [_exported(message, users) for message in messages],
        users={str(key): name for key, name in users.items()},
        roles=roles,
        channels=channels,
        guild=str(guild),
        channel=str(channel),
    )


def id_of(raw: Raw) -> int:
    """A message's or a user's id."""
    return int(identifier(raw.get("id")) or 0)


def author_of(raw: Raw) -> Raw:
    """Who wrote a message."""
    return as_dict(raw.get("author"))


def mentioned_in(raw: Raw) -> list[Raw]:
    """Whom a message mentions."""
    return dicts(raw.get("mentions"))


def account_name(user: Raw) -> str:
    """What somebody is called by their account."""
    return first_name(user.get("global_name"), user.get("username")) or identifier(user.get("id")) or "Unknown"


def edited_at(raw: Raw) -> datetime | None:
    """When its author last edited a message, or None."""
    return iso_time(raw.get("edited_timestamp"))


def _exported(raw: Raw, users: Mapping[int, str]) -> Raw:
    author = author_of(raw)
    found: Raw = {
        "id": identifier(raw.get("id")),
        "type": identifier(raw.get("type")),
        "timestamp": raw.get("timestamp"),
        "author": {
            "id": identifier(author.get("id")),
            "name": users.get(id_of(author)) or account_name(author),
            "isBot": author.get("bot") is True or bool(raw.get("webhook_id")),
        },
        **_content(raw),
    }
    reference = as_dict(raw.get("message_reference"))
    snapshots = dicts(raw.get("message_snapshots"))
    if snapshots or reference.get("type") == _FORWARD:
        found["reference"] = {"type": "Forward"}
        found["forwardedMessage"] = _content(as_dict(snapshots[0].get("message"))) if snapshots else {}
    elif reference:
        found["reference"] = {"messageId": identifier(reference.get("message_id"))}
    if poll := as_dict(raw.get("poll")):
        found["poll"] = _poll(poll)
    return found


def _content(raw: Raw) -> Raw:
    return {
        "content": raw.get("content"),
        "embeds": dicts(raw.get("embeds")),
        "attachments": [{"fileName": one.get("filename")} for one in dicts(raw.get("attachments"))],
        "stickers": [{"name": one.get("name")} for one in dicts(raw.get("sticker_items"))],
    }


def _poll(poll: Raw) -> Raw:
    counts = {one.get("id"): one.get("count") for one in dicts(as_dict(poll.get("results")).get("answer_counts"))}
    return {
        "question": poll.get("question"),
        "answers": [
            {
                "text": clean_name(as_dict(one.get("poll_media")).get("text")),
                "votes": counts.get(one.get("answer_id")),
            }
            for one in dicts(poll.get("answers"))
        ],
    }
