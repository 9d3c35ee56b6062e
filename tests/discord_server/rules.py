"""What Discord documents of messages in requests: fields, types and limits (API v10).

A request that breaks one is a failure of the test. Two fields are passed although the reference does not list them,
because discord.py always sends them and Discord takes them: ``tts: false`` in edits, and the numbers in which it writes
ids.
"""

from __future__ import annotations

from typing import Any

from tests.discord_server import components
from tests.discord_server.values import (
    Broken,
    Check,
    anything,
    check,
    either,
    exactly,
    flag,
    integer,
    items,
    nullable,
    number,
    shaped,
    snowflake,
    text,
    web_url,
)  # fmt: skip

SUPPRESS_EMBEDS, EPHEMERAL, LOADING = 1 << 2, 1 << 6, 1 << 7
SUPPRESS_NOTIFICATIONS, COMPONENTS_V2 = 1 << 12, 1 << 15
#: Flags that may be set, by the kind of request.
FLAGS = {
    "create": SUPPRESS_EMBEDS | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2,
    "edit": SUPPRESS_EMBEDS | COMPONENTS_V2,
    "callback": SUPPRESS_EMBEDS | EPHEMERAL | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2,
    "defer": EPHEMERAL,
    "update": SUPPRESS_EMBEDS | COMPONENTS_V2,
    "followup": SUPPRESS_EMBEDS | EPHEMERAL | SUPPRESS_NOTIFICATIONS | COMPONENTS_V2,
    "webhook edit": SUPPRESS_EMBEDS | COMPONENTS_V2,
}

CONTENT, EMBED_TOTAL = 2000, 6000


def _media(what: str) -> Check:
    return shaped(
        what,
        {"url!": web_url("https", "http", "attachment"), "proxy_url": anything, "height": anything, "width": anything},
    )


_EMBED: dict[str, Check] = {
    "title": text(0, 256), "type": exactly("rich"), "description": text(0, 4096), "url": web_url(),
    "flags": integer(0), "timestamp": text(20, 40), "color": integer(0, 0xFFFFFF), "image": _media("image"),
    "thumbnail": _media("thumbnail"),
    "footer": shaped("footer", {"text!": text(1, 2048), "icon_url": web_url("https", "http", "attachment")}),
    "author": shaped(
        "author", {"name!": text(1, 256), "url": web_url(), "icon_url": web_url("https", "http", "attachment")}
    ),
    "fields": items(
        shaped("field", {"name!": text(1, 256), "value!": text(1, 1024), "inline": flag}), 25
    ),
}  # fmt: skip


def embed_characters(embed: dict[str, Any]) -> int:
    """Characters that count against a message's 6,000; blanks around a text are trimmed."""
    texts = [embed.get("title"), embed.get("description"), embed.get("footer", {}).get("text")]
    texts.append(embed.get("author", {}).get("name"))
    for one in embed.get("fields", ()):
        texts += [one["name"], one["value"]]
    return sum(len(one.strip()) for one in texts if one)


def embeds(value: Any) -> bool:
    if not isinstance(value, list) or len(value) > 10:
        raise Broken("embeds: more than 10, or no list")
    for one in value:
        check("embed", one, _EMBED)
        if not set(one) & {"title", "description", "footer", "author", "fields", "image", "thumbnail"}:
            raise Broken("embed: empty")
    if (total := sum(map(embed_characters, value))) > EMBED_TOTAL:
        raise Broken(f"embeds: {total} characters")
    return True


def allowed_mentions(value: Any) -> bool:
    check("allowed_mentions", value, {
        "parse": items(exactly("roles", "users", "everyone"), 3), "roles": items(snowflake, 100),
        "users": items(snowflake, 100), "replied_user": flag,
    })  # fmt: skip
    for kind in ("roles", "users"):
        if kind in value.get("parse", ()) and value.get(kind):
            raise Broken(f"allowed_mentions: {kind} both parsed and listed")
    return True


def poll(value: Any) -> bool:
    medium = shaped("poll_media", {"text": text(1, 300), "emoji": anything})
    answer = shaped("answer", {"poll_media!": medium, "answer_id": integer(0)})
    check("poll", value, {
        "answers!": items(answer, 10, 1),
        "question!": medium, "duration": lambda value: number(value) and 1 <= value <= 768,
        "allow_multiselect": flag, "layout_type": exactly(1),
    })  # fmt: skip
    return True


_SHARED: dict[str, Check] = {
    "content": nullable(text(0, CONTENT)), "embeds": nullable(embeds), "allowed_mentions": nullable(allowed_mentions),
    "components": nullable(items(anything)), "flags": nullable(integer(0)),
    "attachments": nullable(items(shaped("attachment", {
        "id!": snowflake, "filename": text(1, 260), "description": nullable(text(0, 1024)), "title": text(0, 1024),
        "is_spoiler": flag, "duration_secs": number, "waveform": text(),
    }), 10)),
}  # fmt: skip
_REFERENCE = shaped("message_reference", {
    "type": exactly(0, 1), "message_id!": snowflake, "channel_id": snowflake, "guild_id": snowflake,
    "fail_if_not_exists": flag,
})  # fmt: skip
#: Fields by kind of request.
MESSAGE: dict[str, dict[str, Check]] = {
    "create": {
        **_SHARED, "nonce": either(integer(0, 2**63), text(1, 25)), "enforce_nonce": flag, "tts": flag,
        "message_reference": _REFERENCE, "sticker_ids": items(snowflake, 3), "poll": poll,
    },
    "edit": {**_SHARED, "tts": exactly(False)},
    "callback": {**_SHARED, "tts": flag, "poll": poll},
    "update": {**_SHARED, "tts": exactly(False)},
    "defer": {"flags": integer(0)},
    "followup": {**_SHARED, "tts": flag, "poll": poll},
    "webhook edit": {**_SHARED, "tts": exactly(False), "poll": nullable(poll)},
}  # fmt: skip
_EDITS = ("edit", "update", "webhook edit")


def message(kind: str, body: Any, before: dict[str, Any] | None = None, files: int = 0) -> None:
    """Hold the fields of a message against the rules for a kind of request.

    ``before``: for an edit, the message as it stands (``content``, ``embeds``, ``components``, ``flags``, ``poll``).
    """
    check(kind, body, MESSAGE[kind])
    flags = body.get("flags") or 0
    if kind not in _EDITS and body.get("tts"):
        raise Broken(f"{kind}: nobody asked to be read to")
    if kind not in _EDITS and flags & ~FLAGS[kind]:
        raise Broken(f"{kind}: flags {flags & ~FLAGS[kind]} cannot be set")
    if kind in _EDITS and flags & ~(FLAGS[kind] | (before or {}).get("flags", 0)):
        raise Broken(f"{kind}: flags {flags} cannot be set")
    if kind == "defer":
        return
    old = before or {}
    v2 = bool((flags | old.get("flags", 0)) & COMPONENTS_V2)
    after = {
        name: body[name] if name in body else old.get(name) for name in ("content", "embeds", "components", "poll")
    }
    if v2:
        for name in ("content", "embeds", "poll", "sticker_ids"):
            if body.get(name) or after.get(name):
                raise Broken(f"{kind}: {name} beside IS_COMPONENTS_V2")
    components.message(body.get("components") or [], v2=v2)
    if not (after["content"] or "").strip() and not any(
        (after["embeds"], after["components"], after["poll"], body.get("sticker_ids"), files, old.get("attachments"))
    ):
        reference = body.get("message_reference") or {}
        if reference.get("type") != 1:
            raise Broken(f"{kind}: an empty message (50006)")
