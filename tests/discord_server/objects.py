"""The local Discord's things as its API gives them: objects in JSON, with the documented fields."""

from __future__ import annotations

import re
from typing import Any

from tests.discord_server import components
from tests.discord_server.world import (
    DM,
    FORUM,
    PRIVATE_THREAD,
    VOICE,
    Channel,
    Guild,
    Member,
    Message,
    Role,
    User,
    born,
    permissions,
    stamp,
)  # fmt: skip

#: Fields of messages that an app without the message content intent gets empty.
HIDDEN: dict[str, Any] = {"content": "", "embeds": [], "attachments": [], "components": []}

_USER, _ROLE = re.compile(r"<@!?(\d+)>"), re.compile(r"<@&(\d+)>")


def user(one: User) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(one.id), "username": one.name, "discriminator": "0", "global_name": one.global_name, "avatar": None,
        "avatar_decoration_data": None, "public_flags": 0, "collectibles": None, "primary_guild": None,
    }  # fmt: skip
    return found | {"bot": True} if one.bot else found


def member(one: Member, *, with_user: bool = True, allowed: int | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "roles": [str(role) for role in one.roles], "nick": one.nick, "avatar": None, "banner": None,
        "joined_at": stamp(one.joined), "premium_since": None, "deaf": False, "mute": False, "pending": False,
        "flags": 0, "communication_disabled_until": stamp(one.timed_out) if one.timed_out else None,
    }  # fmt: skip
    if with_user:
        found["user"] = user(one.user)
    if allowed is not None:
        found["permissions"] = str(allowed)
    return found


def role(one: Role) -> dict[str, Any]:
    return {
        "id": str(one.id), "name": one.name, "color": 0, "hoist": False, "position": one.position,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}, "icon": None,
        "unicode_emoji": None, "permissions": str(one.permissions), "managed": one.managed, "mentionable": False,
        "flags": 0,
    }  # fmt: skip


def thread_member(thread: Channel, who: int) -> dict[str, Any]:
    return {"id": str(thread.id), "user_id": str(who), "join_timestamp": stamp(born(thread.id)), "flags": 0}


def channel(one: Channel, *, reader: int = 0, allowed: int | None = None) -> dict[str, Any]:
    """A channel, thread or direct message; with the reader's own membership of a thread where there is one."""
    found: dict[str, Any] = {"id": str(one.id), "type": one.kind, "flags": 0}
    found["last_message_id"] = str(one.history.last) if one.history.last else None
    if one.kind == DM:
        return found | {"recipients": [user(who) for who in one.recipients if who.id != reader]}
    assert one.guild is not None
    found |= {
        "name": one.name, "guild_id": str(one.guild.id), "nsfw": one.nsfw, "rate_limit_per_user": 0,
        "parent_id": str(one.parent.id) if one.parent else None,
    }  # fmt: skip
    if allowed is not None:
        found["permissions"] = str(allowed)
    if one.is_thread:
        found |= {
            "owner_id": str(one.owner), "message_count": len(one.history), "member_count": len(one.members),
            "total_message_sent": len(one.history), "applied_tags": [],
            "thread_metadata": {
                "archived": one.archived, "auto_archive_duration": 4320, "archive_timestamp": stamp(born(one.id)),
                "locked": one.locked, "create_timestamp": stamp(born(one.id)),
                **({"invitable": False} if one.kind == PRIVATE_THREAD else {}),
            },
        }  # fmt: skip
        return found | {"member": thread_member(one, reader)} if reader in one.members else found
    found |= {
        "position": 0, "topic": one.topic,
        "permission_overwrites": [
            {"id": str(target), "type": int(of_member), "allow": str(yes), "deny": str(no)}
            for target, (of_member, yes, no) in one.overwrites.items()
        ],
    }  # fmt: skip
    if one.kind == VOICE:
        found |= {"bitrate": 64_000, "user_limit": 0, "rtc_region": None, "video_quality_mode": 1}
    if one.kind == FORUM:
        found |= {
            "default_reaction_emoji": None, "default_sort_order": None, "default_forum_layout": 0,
            "available_tags": [
                {"id": str(n + 1), "name": name, "moderated": False, "emoji_id": None, "emoji_name": None}
                for n, name in enumerate(one.tags)
            ],
        }  # fmt: skip
    return found


def guild(one: Guild) -> dict[str, Any]:
    """A guild as REST gives it."""
    return {
        "id": str(one.id), "name": one.name, "icon": None, "icon_hash": None, "splash": None, "discovery_splash": None,
        "owner_id": str(one.owner), "region": "deprecated", "afk_channel_id": None, "afk_timeout": 300,
        "widget_enabled": False, "widget_channel_id": None, "verification_level": 0,
        "default_message_notifications": 0, "explicit_content_filter": 0, "mfa_level": 0, "nsfw_level": 0,
        "roles": [role(each) for each in one.roles.values()], "emojis": [], "stickers": [], "features": [],
        "application_id": None, "system_channel_id": None, "system_channel_flags": 0, "rules_channel_id": None,
        "max_presences": None, "max_members": 500_000, "vanity_url_code": None, "description": None, "banner": None,
        "premium_tier": 0, "premium_subscription_count": 0, "preferred_locale": one.locale,
        "public_updates_channel_id": None, "max_video_channel_users": 25, "premium_progress_bar_enabled": False,
        "safety_alerts_channel_id": None, "incidents_data": None, "nsfw": False,
    }  # fmt: skip


def guild_create(one: Guild, me: int) -> dict[str, Any]:
    """A guild as GUILD_CREATE tells of it: all channels, threads that are seen, and no member but the app itself."""
    seen = [each for each in one.threads if not each.archived and permissions(me, each)]
    return guild(one) | {
        "joined_at": stamp(one.members[me].joined), "large": len(one.members) > 250, "unavailable": False,
        "member_count": len(one.members), "voice_states": [], "presences": [], "stage_instances": [],
        "guild_scheduled_events": [], "soundboard_sounds": [], "members": [member(one.members[me])],
        "channels": [channel(each, reader=me) for each in one.channels.values() if not each.is_thread],
        "threads": [channel(each, reader=me) for each in seen],
    }  # fmt: skip


def mentioned(content: str, pattern: re.Pattern[str] = _USER) -> list[int]:
    return [int(found) for found in dict.fromkeys(pattern.findall(content))]


def mentioned_roles(content: str) -> list[int]:
    return mentioned(content, _ROLE)


def _reference(one: Message) -> dict[str, Any]:
    assert one.reference is not None
    return {name: str(value) if name != "type" else value for name, value in one.reference.items()}


def message(one: Message, users: dict[int, User], *, readable: bool = True, nested: bool = False) -> dict[str, Any]:
    """A message; ``readable``: may the reader have its content?"""
    found: dict[str, Any] = {
        "id": str(one.id), "channel_id": str(one.channel.id), "author": user(one.author), "content": one.content,
        "timestamp": stamp(born(one.id)), "edited_timestamp": stamp(one.edited) if one.edited else None,
        "tts": False, "mention_everyone": "everyone" in one.pinged,
        "mentions": [user(users[who]) for who in mentioned(one.content) if who in users],
        "mention_roles": [str(which) for which in mentioned_roles(one.content)], "attachments": one.attachments,
        "embeds": one.embeds, "components": one.components, "pinned": False, "type": one.type, "flags": one.flags,
    }  # fmt: skip
    if one.poll is not None:
        found["poll"] = one.poll
    if one.stickers:
        found["sticker_items"] = one.stickers
    if one.reactions:
        found["reactions"] = one.reactions
    if one.webhook is not None:
        found["webhook_id"] = str(one.webhook)
    if one.nonce is not None:
        found["nonce"] = one.nonce
    if one.interaction is not None:
        found |= {"interaction_metadata": one.interaction, "application_id": str(one.author.id)}
    if one.thread is not None:
        found["thread"] = channel(one.thread)
    if one.channel.is_thread:
        found["position"] = 0
    if one.reference is not None:
        found["message_reference"] = _reference(one)
        if one.snapshots:
            found["message_snapshots"] = one.snapshots
        elif "message_id" in one.reference and not nested:
            before = referenced(one)
            found["referenced_message"] = (
                None if before is None else message(before, users, readable=readable, nested=True)
            )
    if not readable:
        found |= HIDDEN
        found.pop("poll", None)
        found.pop("message_snapshots", None)
    return found


def poll(given: dict[str, Any], now: float) -> dict[str, Any]:
    """A poll as messages have it, from a request for one, or from a test's ``question`` and ``answers``."""
    answers = [{"answer_id": n, "poll_media": one["poll_media"]} for n, one in enumerate(given["answers"], 1)]
    return {
        "question": given["question"], "answers": answers, "layout_type": 1,
        "expiry": stamp(now + given.get("duration", 24) * 3600),
        "allow_multiselect": given.get("allow_multiselect", False),
        "results": {"is_finalized": False, "answer_counts": []},
    }  # fmt: skip


def referenced(one: Message) -> Message | None:
    """The message that one answers to, if it is still there."""
    if one.reference is None or "message_id" not in one.reference:
        return None
    where = one.channel
    if one.channel.guild is not None:
        where = one.channel.guild.channels.get(int(one.reference["channel_id"]), where)
    return where.history.get(int(one.reference["message_id"]))


def components_of(one: Message) -> list[dict[str, Any]]:
    return list(components.walk(one.components))


def text_of(one: Message, *, embeds: bool = True) -> str:
    """All that can be read in a message: its content, its text displays and, unless they do not count, its embeds."""
    found = [one.content, *(each["content"] for each in components_of(one) if each["type"] == components.TEXT)]
    for each in one.embeds if embeds else ():
        found += [each.get("title"), each.get("description")]
        for part in each.get("fields", ()):
            found += [part["name"], part["value"]]
        found.append(each.get("footer", {}).get("text"))
    return "\n".join(filter(None, found))


_LINK = re.compile(r"(?<!<)https?://[^\s>]+")


def unfurled(one: Message) -> list[str]:
    """The links in a message that Discord would show a preview of."""
    return [] if one.flags & 1 << 2 else _LINK.findall(one.content)
