"""Discord, as DiscordChatExporter writes it: a JSON object with ``guild``, ``channel`` and ``messages``.

Both of its ways are read: with Markdown already made readable (its default) and raw, in which mentions, custom emoji
and times are still ``<...>``. Joins, pins and the like are ``system``; webhooks and apps are ``bot``. Permalinks are
built from the ids. Named so that nothing shadows the ``discord`` library, which it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from engine.conversation import Conversation, Message
from engine.formats.source import shown
from engine.formats.values import (
    as_dict,
    as_list,
    clean,
    clean_name,
    conversation_id,
    dicts,
    file_note,
    first_name,
    identifier,
    iso_time,
    unix_time,
)
from storage.errors import InputError

#: What people write, by DiscordChatExporter's names and, for kinds it has no name for, Discord's numbers
#: (20 and 23 are commands of apps); every other kind is a notice of the system's.
_WRITTEN = frozenset(("", "Default", "Reply", "0", "19", "20", "23", "ChatInputCommand", "ContextMenuCommand"))
_THREADS = frozenset(("GuildPublicThread", "GuildPrivateThread", "GuildNewsThread"))
_DIRECT = frozenset(("DirectTextChat", "DirectGroupTextChat"))

_TOKEN = re.compile(
    r"<(?:@!?(?P<user>\d{1,20})|@&(?P<role>\d{1,20})|#(?P<channel>\d{1,20})"
    r"|a?(?P<emoji>:\w{1,64}:)\d{1,20}|t:(?P<time>-?\d{1,12})(?::[a-zA-Z])?"
    r"|/(?P<command>[^<>:\n]{1,100}):\d{1,20}|(?P<link>https?://[^<>\s]+))>"
)


def looks_like_discord(value: Any) -> bool:
    """Whether a JSON value has the shape of such an export."""
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        return False
    around = isinstance(value.get("guild"), dict) and isinstance(value.get("channel"), dict)
    return around or any(isinstance(m, dict) and "timestamp" in m and "author" in m for m in value["messages"])


@dataclass(slots=True)
class _Names:
    """Display names by Discord id, gathered from the export itself."""

    users: dict[str, str] = field(default_factory=dict)
    roles: dict[str, str] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)


def read(value: Any, name: str) -> Conversation:
    """The conversation in one exported channel, thread or direct message.

    Raises:
        InputError: the value is not of that shape, or there is no text in it.
    """
    raw = _open(value, name)
    guild, channel = as_dict(value.get("guild")), as_dict(value.get("channel"))
    guild_id, channel_id = identifier(guild.get("id")), identifier(channel.get("id"))
    kind = clean(channel.get("type"))
    # The exporter writes guild 0 for direct messages; in addresses Discord calls that place @me.
    direct = kind in _DIRECT or guild_id == "0"
    place = "@me" if direct else guild_id
    prefix = f"https://discord.com/channels/{place}/{channel_id}" if place and channel_id.isdigit() else ""
    names = _names(raw, channel)
    messages = _ordered(_message(entry, number, names, prefix) for number, entry in enumerate(raw, start=1))
    if not any(message.text for message in messages):
        raise InputError(
            f"There is no text in {shown(name)}.",
            "Export it with an account that may read the messages' content (a bot needs the message content intent).",
        )
    thread = channel_id if kind in _THREADS else ""
    ids = chain.from_iterable(
        (m.id, m.author_id) if m.time and m.author_id else (m.id, m.author, m.text) for m in messages
    )
    return Conversation(
        id=conversation_id("discord", chain((guild_id, channel_id), ids)),
        messages=messages,
        platform="discord",
        title=_title(channel, direct) or clean_name(name),
        workspace="" if direct else guild_id,
        # A thread's `category` is the channel that it hangs under.
        channel=(identifier(channel.get("categoryId")) if thread else "") or channel_id,
        thread=thread,
    )


def _title(channel: dict[str, Any], direct: bool) -> str:
    name = first_name(channel.get("name"))
    return f"#{name}" if name and not direct and clean(channel.get("type")) not in _THREADS else name


def messages_of(
    raw: Iterable[dict[str, Any]],
    *,
    users: Mapping[str, str],
    roles: Mapping[str, str],
    channels: Mapping[str, str],
    guild: str,
    channel: str,
) -> tuple[Message, ...]:
    """Messages in the exporter's shape as a person would read them, oldest first, for whoever reads them from Discord.

    Args:
        users, roles, channels: names by id, for mentions; authors bring their own.
        guild, channel: where they stand, for permalinks.
    """
    names = _Names(dict(users), dict(roles), dict(channels))
    prefix = f"https://discord.com/channels/{guild}/{channel}"
    return _ordered(_message(entry, number, names, prefix) for number, entry in enumerate(raw, start=1))


def _open(value: Any, name: str) -> list[dict[str, Any]]:
    """The raw messages."""
    hint = "Export one channel or thread with DiscordChatExporter as JSON."
    if not isinstance(value, dict) or not isinstance(value.get("messages"), list):
        raise InputError(f"{shown(name)} is no DiscordChatExporter file: it has no list of messages.", hint)
    entries: list[dict[str, Any]] = value["messages"]
    if not entries:
        raise InputError(f"There are no messages in {shown(name)}.", "Export a stretch in which somebody wrote.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not ("content" in entry or "author" in entry):
            raise InputError(f"{shown(name)} is no DiscordChatExporter file: its message {number} is none.", hint)
    return entries


def _display(user: dict[str, Any]) -> str:
    return first_name(user.get("nickname"), user.get("name"))


def _names(raw: list[dict[str, Any]], channel: dict[str, Any]) -> _Names:
    """Everybody who wrote, was mentioned or reacted, their roles, and the channel's own name."""
    names = _Names()
    channel_id, channel_name = identifier(channel.get("id")), first_name(channel.get("name"))
    if channel_id and channel_name:
        names.channels[channel_id] = channel_name
    parent, category = identifier(channel.get("categoryId")), first_name(channel.get("category"))
    if parent and category:
        names.channels[parent] = category
    for entry in raw:
        for user in (as_dict(entry.get("author")), *dicts(entry.get("mentions"))):
            user_id, name = identifier(user.get("id")), _display(user)
            if user_id and name:
                names.users.setdefault(user_id, name)
            for role in dicts(user.get("roles")):
                names.roles.setdefault(identifier(role.get("id")), first_name(role.get("name")))
    return names


def _message(raw: dict[str, Any], number: int, names: _Names, prefix: str) -> Message:
    """The message as a person would read it; a reply names what it answers as its ``thread``."""
    author = as_dict(raw.get("author"))
    author_id, message_id = identifier(author.get("id")), identifier(raw.get("id"))
    system = identifier(raw.get("type")) not in _WRITTEN
    reference = as_dict(raw.get("reference"))
    answers = identifier(reference.get("messageId")) if not system and not _forwarded(raw) else ""
    return Message(
        id=message_id or str(number),
        author=_display(author) or author_id or "Unknown",
        text=_text(raw, names, bot=author.get("isBot") is True),
        time=iso_time(raw.get("timestamp")),
        author_id=author_id,
        permalink=f"{prefix}/{message_id}" if prefix and message_id.isdigit() else "",
        thread=answers if answers != message_id else "",
        kind="system" if system else "bot" if author.get("isBot") is True else "person",
    )


def _forwarded(raw: dict[str, Any]) -> bool:
    return isinstance(raw.get("forwardedMessage"), dict) or as_dict(raw.get("reference")).get("type") == "Forward"


def _text(raw: dict[str, Any], names: _Names, *, bot: bool) -> str:
    parts = [_content(raw, names, bot=bot)]
    if _forwarded(raw):
        inner = _content(as_dict(raw.get("forwardedMessage")), names, bot=True).strip()
        quoted = (f"> {line}".rstrip() for line in inner.split("\n"))
        parts.append("\n".join(("[forwarded message]", *quoted)) if inner else "[forwarded message]")
    parts.append(_poll(as_dict(raw.get("poll"))))
    return "\n".join(part for part in (p.strip() for p in parts) if part)


def _content(raw: dict[str, Any], names: _Names, *, bot: bool) -> str:
    """Content, embeds, attachments and stickers of a message or of one that was forwarded."""
    text = readable(raw.get("content"), names)
    return "\n".join(
        filter(
            None,
            (
                text.strip(),
                *(_embed(embed, names, text, full=bot) for embed in dicts(raw.get("embeds"))),
                *(file_note(given.get("fileName")) for given in dicts(raw.get("attachments"))),
                *(f"[sticker: {name}]" for s in dicts(raw.get("stickers")) if (name := clean_name(s.get("name")))),
            ),
        )
    )


def readable(text: object, names: _Names) -> str:
    """Raw Discord text as a person would read it; text that the exporter has already made so is unchanged."""
    source = clean(text)
    if "<" not in source:
        return source

    def replace(found: re.Match[str]) -> str:
        match found.lastgroup:
            case "user":
                return "@" + (names.users.get(found["user"]) or found["user"])
            case "role":
                return "@" + (names.roles.get(found["role"]) or found["role"])
            case "channel":
                return "#" + (names.channels.get(found["channel"]) or found["channel"])
            case "time":
                time = unix_time(found["time"])
                return f"{time:%Y-%m-%d %H:%M} UTC" if time else found[0]
            case "command":
                return f"/{found['command']}"
            case kind:
                # Emoji keep their `:name:`; an address in angle brackets is one without a preview.
                return found[kind] if kind else found[0]

    return _TOKEN.sub(replace, source)


def _embed(embed: dict[str, Any], names: _Names, text: str, *, full: bool) -> str:
    """An app's embed in full; under a person's message it is the preview of a link, of which the title is enough."""
    title, url = readable(embed.get("title"), names).strip(), clean(embed.get("url")).strip()
    if not full:
        label = title or clean_name(as_dict(embed.get("author")).get("name"))
        return f"[link: {clean_name(label)}]" if label else ""
    fields = (
        f"{readable(entry.get('name'), names).strip()}: {readable(entry.get('value'), names).strip()}".strip(": ")
        for entry in dicts(embed.get("fields"))
    )
    lines = (
        clean_name(as_dict(embed.get("author")).get("name")),
        f"{title} ({url})" if title and url and url not in text else title,
        readable(embed.get("description"), names).strip(),
        *fields,
        clean_name(as_dict(embed.get("footer")).get("text")),
    )
    body = "\n".join(line for line in lines if line)
    return body or ("[image]" if embed.get("image") or as_list(embed.get("images")) else "")


def _poll(poll: dict[str, Any]) -> str:
    """A poll on one line: the question and, for each answer, its votes where they are known."""
    question = _poll_text(poll.get("question"))
    if not question:
        return ""
    answers = []
    for given in dicts(poll.get("answers")):
        label = _poll_text(given) or _poll_text(given.get("poll_media") or given.get("pollMedia") or given.get("media"))
        votes = given.get("votes", given.get("voteCount", given.get("count")))
        counted = isinstance(votes, int) and not isinstance(votes, bool) and 0 <= votes < 10**9
        answers.append(f"{label} ({votes})" if label and counted else label)
    return f"[poll: {question} {' / '.join(filter(None, answers))}".rstrip() + "]"


def _poll_text(value: object) -> str:
    given = as_dict(value)
    return clean_name(value) or first_name(given.get("text"), given.get("answer"), given.get("label"))


def _ordered(found: Iterable[Message]) -> tuple[Message, ...]:
    """The messages oldest first, each once; the exporter can also write them newest first."""
    seen: dict[str, Message] = {}
    for message in found:
        seen.setdefault(message.id, message)
    messages = list(seen.values())
    if all(message.id.isdigit() for message in messages):
        # A snowflake holds its time in its high bits.
        messages.sort(key=lambda message: (len(message.id.lstrip("0")), message.id.lstrip("0")))
    elif all(message.time for message in messages):
        messages.sort(key=lambda message: (message.time, message.id))
    return tuple(messages)
