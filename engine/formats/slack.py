"""Slack: a channel's day file of an export, or a thread as ``conversations.replies`` gives it.

Replies stand after the message that they answer; joins, topics and tombstones are ``system``, apps are ``bot``. Names
come from the export's ``users.json`` (beside the file or one directory up) and from the messages themselves, else an id
stands for itself. A permalink is made only where both the channel's id and the workspace's address are known.
It opens no file but the export's indexes, and knows nothing of Slack's network interface.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from engine.conversation import Conversation, Kind, Message
from engine.formats.slack_index import Index, read_index
from engine.formats.slack_text import Names, attachments_text, blocks_text, files_text, readable
from engine.formats.source import shown
from engine.formats.values import (
    as_dict,
    as_list,
    clean,
    clean_name,
    conversation_id,
    dicts,
    first_name,
    identifier,
    unix_time,
)
from storage.errors import InputError

_SYSTEM = re.compile(
    r"(?:channel|group|mpim|app_conversation)_\w+|(?:un)?pinned_item|reminder_\w+|bot_(?:add|remove|enable|disable)"
    r"|joiner_notification\w*|sh_room_\w+|huddle_thread|tombstone|ekm_access_denied|assistant_app_thread|external_share"
)
#: Events about other messages; what they announce is applied to the message itself.
_EVENTS = frozenset(("message_changed", "message_deleted", "message_replied", "reply_broadcast"))
_SLACKBOT = "USLACKBOT"


@dataclass(slots=True)
class _Envelope:
    """What stands around the messages: the list itself, and what the file says of channel, workspace and thread."""

    messages: list[dict[str, Any]]
    channel: str = ""
    title: str = ""
    users: list[dict[str, Any]] = field(default_factory=list)
    domain: str = ""


def looks_like_slack(value: Any) -> bool:
    """Whether a JSON value has the shape of Slack messages: objects with a ``ts``."""
    messages = value.get("messages") if isinstance(value, dict) else value
    if isinstance(value, dict) and not isinstance(messages, list):
        return "ts" in value and ("text" in value or "user" in value)
    return isinstance(messages, list) and any(isinstance(entry, dict) and "ts" in entry for entry in messages)


def read(value: Any, name: str, *, path: Path | None = None) -> Conversation:
    """The conversation in an export's day file or a thread; ``path`` is where it lies, if it is a file.

    Raises:
        InputError: the value is not of that shape, or there is no text in it.
    """
    envelope = _open(value, name)
    index = read_index(path) if path is not None else Index()
    raw = _settled(envelope.messages)
    names = _names(index, raw, envelope)
    channel = envelope.channel or index.channel_id
    domain = envelope.domain or _domain(raw)
    reader = _Reader(names, index, channel, domain)
    messages = tuple(reader.message(entry, number) for number, entry in enumerate(raw, start=1))
    messages = _threaded(_unique(messages))
    if not any(message.text for message in messages):
        raise InputError(f"There is no text in {shown(name)}.", "Name a file in which somebody says something.")
    roots = {message.thread or message.id for message in messages}
    # Texts count only where Slack's own ids do not say enough: an edit must not make another conversation of it.
    ids = chain.from_iterable(
        (m.id, m.author_id) if m.time and m.author_id else (m.id, m.author, m.text) for m in messages
    )
    return Conversation(
        id=conversation_id("slack", chain((envelope.channel,), ids)),
        messages=messages,
        platform="slack",
        title=envelope.title or (f"#{index.channel_name}" if index.channel_name else clean_name(name)),
        workspace=_team(raw),
        channel=channel or index.channel_name,
        thread=next(iter(roots)) if len(roots) == 1 and len(messages) > 1 else "",
        public=index.public,
    )


def messages_of(
    raw: Iterable[dict[str, Any]],
    *,
    users: Mapping[str, str],
    channels: Mapping[str, str],
    bots: Collection[str],
    channel: str,
    host: str,
) -> tuple[Message, ...]:
    """Messages as Slack's interface gives them, as a person would read them, replies after what they answer.

    Args:
        raw: in any order; one that is given twice counts once.
        users, channels: display names by id.
        bots: the users that are apps.
        channel: the id of the channel that they stand in.
        host: the workspace's host (``team.slack.com``), for permalinks; empty makes none.
    """
    reader = _Reader(Names(users=dict(users), channels=dict(channels)), Index(bots=set(bots)), channel, host)
    return _threaded(_unique(reader.message(entry, number) for number, entry in enumerate(raw, start=1)))


def _open(value: Any, name: str) -> _Envelope:
    """The messages of any of the shapes, and what is said around them."""
    if isinstance(value, dict) and not isinstance(value.get("messages"), list):
        value = [value]
    given = value if isinstance(value, dict) else {}
    entries = given.get("messages") if given else value
    if not isinstance(entries, list):
        raise InputError(f"{shown(name)} is no Slack export: it is no list of messages.", _HINT)
    if not entries:
        raise InputError(f"There are no messages in {shown(name)}.", "Name a day on which somebody wrote.")
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict):
            raise InputError(f"{shown(name)} is no Slack export: its entry {number} is no message.", _HINT)
    if not any("ts" in entry or "text" in entry or "blocks" in entry for entry in entries):
        raise InputError(f"{shown(name)} is no Slack export: none of its entries is a message.", _HINT)
    channel = given.get("channel")
    return _Envelope(
        messages=list(_flat(entries)),
        channel=identifier(given.get("channel_id"))
        or identifier(as_dict(channel).get("id") if isinstance(channel, dict) else channel),
        title=first_name(given.get("name"), as_dict(channel).get("name")),
        users=dicts(given.get("users")),
        domain=_slack_host(given.get("url")) or _slack_host(given.get("permalink")),
    )


_HINT = "Name a channel's day file, or the `messages` of one thread."


def _flat(entries: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The messages with the replies that some archives keep inside their parent."""
    for entry in entries:
        yield entry
        inner = entry.get("slackdump_thread_replies") or entry.get("thread_replies")
        yield from (reply for reply in dicts(inner) if reply.get("ts") != entry.get("ts"))


def _settled(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages as they now stand: edits and deletions that the file reports as events are applied."""
    changed: dict[str, dict[str, Any]] = {}
    deleted: set[str] = set()
    kept: list[dict[str, Any]] = []
    present: set[str] = set()
    for entry in entries:
        subtype = clean(entry.get("subtype"))
        if subtype == "message_changed" and isinstance(entry.get("message"), dict):
            changed[identifier(entry["message"].get("ts"))] = entry["message"]
        elif subtype == "message_deleted":
            deleted.add(identifier(entry.get("deleted_ts")))
        elif subtype not in _EVENTS:
            kept.append(entry)
            present.add(identifier(entry.get("ts")))
    kept += [message for ts, message in changed.items() if ts not in present]
    result = []
    for entry in kept:
        ts = identifier(entry.get("ts"))
        if ts and ts in deleted:
            result.append(
                {"ts": ts, "thread_ts": entry.get("thread_ts"), "subtype": "tombstone", "user": entry.get("user")}
            )
        else:
            result.append(changed.get(ts, entry))
    return result or entries


def _names(index: Index, raw: list[dict[str, Any]], envelope: _Envelope) -> Names:
    """Names from the export's indexes; where they are silent, from the messages' own profiles."""
    users = dict(index.users)
    for user in envelope.users:
        if name := Index.name_of(user):
            users.setdefault(identifier(user.get("id")), name)
    for entry in raw:
        user_id = identifier(entry.get("user"))
        if user_id and user_id not in users and (name := Index.name_of({"profile": entry.get("user_profile")})):
            users[user_id] = name
    users.setdefault(_SLACKBOT, "Slackbot")
    return Names(users=users, channels=dict(index.channels), groups=dict(index.groups))


def _team(raw: list[dict[str, Any]]) -> str:
    """The workspace's id, as the first message that names one says."""
    for entry in raw:
        team = identifier(entry.get("team")) or identifier(as_dict(entry.get("user_profile")).get("team"))
        if team:
            return team
    return ""


def _domain(raw: list[dict[str, Any]]) -> str:
    """The workspace's host, from a message's own address or that of a file in it."""
    for entry in raw:
        for address in (entry.get("permalink"), *(given.get("permalink") for given in dicts(entry.get("files")))):
            if host := _slack_host(address):
                return host
    return ""


def _slack_host(address: object) -> str:
    if not isinstance(address, str) or len(address) > 500:
        return ""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return ""
    return host if parts.scheme == "https" and host.endswith(".slack.com") and host != "files.slack.com" else ""


@dataclass(slots=True)
class _Reader:
    """Turns one raw message into a :class:`Message`."""

    names: Names
    index: Index
    channel: str
    host: str

    def message(self, raw: dict[str, Any], number: int) -> Message:
        """The message as a person would read it."""
        ts = identifier(raw.get("ts"))
        thread = identifier(raw.get("thread_ts"))
        kind = self._kind(raw)
        author_id = self._author_id(raw)
        return Message(
            id=ts or str(number),
            author=self._author(raw, author_id),
            text=self._text(raw),
            time=unix_time(raw.get("ts")),
            author_id=author_id,
            permalink=self._permalink(raw, ts, thread),
            thread=thread if thread != ts else "",
            kind=kind,
        )

    def _kind(self, raw: dict[str, Any]) -> Kind:
        subtype = raw.get("subtype")
        if (isinstance(subtype, str) and _SYSTEM.fullmatch(subtype)) or raw.get("hidden") is True:
            return "system"
        user = identifier(raw.get("user"))
        if subtype in ("bot_message", "slackbot_response") or raw.get("bot_id") or user == _SLACKBOT:
            return "bot"
        return "bot" if user in self.index.bots else "person"

    @staticmethod
    def _author_id(raw: dict[str, Any]) -> str:
        starter = as_dict(raw.get("room")).get("created_by") if raw.get("subtype") == "huddle_thread" else None
        return identifier(starter) or identifier(raw.get("user")) or identifier(raw.get("bot_id"))

    def _author(self, raw: dict[str, Any], author_id: str) -> str:
        known = self.names.users.get(author_id)
        bot = as_dict(raw.get("bot_profile")).get("name")
        own = raw.get("username")
        if self._kind(raw) == "bot":
            return first_name(own, bot, known, author_id) or "Bot"
        return first_name(known, own, bot, author_id) or "Unknown"

    def _text(self, raw: dict[str, Any]) -> str:
        subtype = raw.get("subtype")
        if subtype == "tombstone":
            return "[message deleted]"
        if subtype == "huddle_thread":
            return self._huddle(as_dict(raw.get("room")))
        # Where there are blocks, Slack shows them and keeps `text` for notifications.
        text = (blocks_text(raw.get("blocks"), self.names) or readable(raw.get("text"), self.names)).strip()
        attached = attachments_text(raw.get("attachments"), self.names).strip()
        if text and attached.startswith(text):
            text = ""  # an app's notification text, which its attachment opens with
        files = raw.get("files") or ([raw["file"]] if isinstance(raw.get("file"), dict) else [])
        return "\n".join(part for part in (text, attached, files_text(files)) if part)

    def _huddle(self, room: dict[str, Any]) -> str:
        start, end = unix_time(room.get("date_start")), unix_time(room.get("date_end"))
        people = [self.names.user(i) for i in map(identifier, as_list(room.get("participant_history"))) if i]
        minutes = round((end - start).total_seconds() / 60) if start and end and end > start else 0
        note = f"huddle of {minutes} min" if minutes else "huddle"
        return f"[{note} with {', '.join(people[:20])}]" if people else f"[{note}]"

    def _permalink(self, raw: dict[str, Any], ts: str, thread: str) -> str:
        own = raw.get("permalink")
        if isinstance(own, str) and "/archives/" in own and _slack_host(own):
            return "".join(own.split())
        seconds, _, fraction = ts.partition(".")
        if not (self.host and self.channel.isalnum() and seconds.isdigit() and fraction.isdigit()):
            return ""
        link = f"https://{self.host}/archives/{self.channel}/p{seconds}{fraction}"
        return f"{link}?thread_ts={thread}&cid={self.channel}" if thread and thread != ts else link


def _unique(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages in order of time, each once; pages of a thread repeat its parent."""
    ordered = list(messages)
    if all(message.time for message in ordered):
        ordered.sort(key=lambda message: (message.time, message.id))
    seen: dict[str, Message] = {}
    for message in ordered:
        first = seen.get(message.id)
        if first is None:
            seen[message.id] = message
        elif (first.author, first.text) != (message.author, message.text):
            number = 2
            while f"{message.id}~{number}" in seen:
                number += 1
            seen[f"{message.id}~{number}"] = replace(message, id=f"{message.id}~{number}")
    return iter(seen.values())


def _threaded(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Each thread's replies after its parent, or, where the parent is not here, where the first of them stands."""
    replies: dict[str, list[Message]] = {}
    everything = list(messages)
    own_ids = {message.id for message in everything}
    for message in everything:
        if message.thread:
            replies.setdefault(message.thread, []).append(message)
    result: list[Message] = []
    for message in everything:
        if not message.thread:
            result.append(message)
            result += replies.pop(message.id, [])
        elif message.thread not in own_ids:
            result += replies.pop(message.thread, [])
    # A parent that is itself a reply (no Slack writes that) would have swallowed its replies.
    result += chain.from_iterable(replies.values())
    return tuple(result)
