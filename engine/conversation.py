"""What a conversation is, free of any platform, model or database.

A :class:`Conversation` is what platform adapters and file readers make and what everything in ``engine`` takes:
names resolved, mentions and links readable, code kept, files and images noted as such. These are plain frozen
dataclasses that serialise to JSON; they hold no logic beyond what describes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["person", "bot", "system"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message as a person would read it.

    Attributes:
        id: unique within its conversation; on a chat platform, the platform's own id (Slack's ``ts``).
        author: display name, resolved; never empty.
        text: readable text, possibly with several lines; notes such as ``[image: plan.png]`` stand in for files.
        time: when it was written (aware, UTC), or None where the source does not say.
        author_id: the platform's id of the author, or an empty string.
        permalink: an address that opens this message, or an empty string.
        thread: id of the message that this one answers in a thread, or an empty string.
        kind: ``bot`` and ``system`` (joins, renames) are left out of prompts unless asked for.
    """

    id: str
    author: str
    text: str
    time: datetime | None = None
    author_id: str = ""
    permalink: str = ""
    thread: str = ""
    kind: Kind = "person"


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, with where they come from.

    Attributes:
        id: the same for the same conversation, whenever it is read; see :func:`engine.formats.read_conversation`.
        messages: in order of time; never empty.
        platform: ``file``, ``slack`` or ``discord``.
        title: what a person would call it (a channel's or file's name), or an empty string.
        workspace: Slack team or Discord guild id, or an empty string.
        channel: channel id or name, or an empty string.
        thread: id of the thread's first message where the conversation is one thread, or an empty string.
        public: whether everyone in the workspace may read it; only such ones train a workspace's adapter.
        direct: whether it is a direct message between people; those train nothing.
    """

    id: str
    messages: tuple[Message, ...]
    platform: str = "file"
    title: str = ""
    workspace: str = ""
    channel: str = ""
    thread: str = ""
    public: bool = False
    direct: bool = False
