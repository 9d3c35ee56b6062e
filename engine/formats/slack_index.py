"""What a Slack export says outside its day files: who the users are, what the channels are called, which are public.

An export is ``users.json``, ``channels.json``, ``groups.json`` and one directory per channel with a file per day. The
indexes are looked for beside the file and one directory up. One that is missing or unreadable leaves names as ids; it
never stops the reading of a conversation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.formats.source import decode, read_file
from engine.formats.values import as_dict, dicts, first_name, identifier
from storage.errors import InputError

_USERS = ("users.json", "org_users.json")
#: Which index lists channels of which kind; only those of ``channels.json`` may be read by the whole workspace.
_CHANNELS = ("channels.json", "groups.json", "mpims.json", "dms.json")


@dataclass(slots=True)
class Index:
    """Names by id, the users that are apps, and the channel that the file belongs to, as far as known."""

    users: dict[str, str] = field(default_factory=dict)
    bots: set[str] = field(default_factory=set)
    channels: dict[str, str] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    channel_id: str = ""
    channel_name: str = ""
    public: bool = False

    @staticmethod
    def name_of(user: dict[str, Any]) -> str:
        """What Slack shows for a user: the display name, else the real name, else the handle."""
        profile = as_dict(user.get("profile"))
        return first_name(
            profile.get("display_name"),
            profile.get("real_name"),
            user.get("real_name"),
            user.get("name"),
            profile.get("name"),
        )


def read_index(path: Path) -> Index:
    """The indexes that belong to a day file."""
    index = Index()
    folder = path.absolute().parent
    roots = (folder, folder.parent)
    users = next((found for root in roots for name in _USERS if (found := _entries(root / name))), [])
    for user in users:
        user_id = identifier(user.get("id"))
        if user_id and (name := Index.name_of(user)):
            index.users[user_id] = name
        if user.get("is_bot") is True:
            index.bots.add(user_id)
    for group in next((found for root in roots if (found := _entries(root / "usergroups.json"))), []):
        index.groups[identifier(group.get("id"))] = first_name(group.get("handle"), group.get("name"))
    for name in _CHANNELS:
        listed = next((found for root in roots if (found := _entries(root / name))), [])
        for channel in listed:
            _note_channel(index, channel, folder, public=name == "channels.json")
    if not index.channel_name and users and not (folder / "users.json").is_file():
        # One directory below the users of an export there are only channels.
        index.channel_name = folder.name
    return index


def _note_channel(index: Index, channel: dict[str, Any], folder: Path, *, public: bool) -> None:
    channel_id, name = identifier(channel.get("id")), first_name(channel.get("name"))
    if channel_id and name:
        index.channels[channel_id] = name
    if channel_id and folder.name in (name, channel_id):
        index.channel_id, index.channel_name, index.public = channel_id, name or folder.name, public


def _entries(path: Path) -> list[dict[str, Any]]:
    """The objects of an index file; none where it cannot be read."""
    try:
        if not path.is_file():
            return []
        return dicts(json.loads(decode(read_file(path), path.name)))
    except (InputError, ValueError, RecursionError, OSError):
        return []
