"""What Slack documents of requests: parameters, types and limits. A request that breaks one is a failure of the test.

Limits are those of the documentation's reference pages, and of what people have found (a message's blocks are refused
from about 11,300 characters on).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

#: Characters of all texts in a message's blocks.
MESSAGE_CHARACTERS = 11_300

Check = Callable[[Any], bool]


class Broken(Exception):
    """A request that Slack would refuse, or that its documentation does not know."""


def text(least: int = 0, most: int = 10**9) -> Check:
    return lambda value: isinstance(value, str) and least <= len(value) <= most


def matches(pattern: str) -> Check:
    found = re.compile(pattern)
    return lambda value: isinstance(value, str) and found.fullmatch(value) is not None


def number(least: int, most: int) -> Check:
    return lambda value: str(value).isdigit() and least <= int(value) <= most


def flag(value: Any) -> bool:
    return value in (True, False, "0", "1", "true", "false", 0, 1)


def anything(_value: Any) -> bool:
    return True


CHANNEL, USER, TEAM = matches(r"[CGD][A-Z0-9]{2,}"), matches(r"[UW][A-Z0-9]{2,}"), matches(r"T[A-Z0-9]{2,}")
TS = matches(r"\d{10}\.\d{6}")
EDGE = matches(r"\d{1,10}(\.\d{1,6})?")
TRIGGER = matches(r"\d+\.\d+\.[0-9a-f]+")


def message_blocks(value: Any) -> bool:
    blocks(value, 50, surface="message")
    if characters(value) > MESSAGE_CHARACTERS:
        raise Broken(f"msg_blocks_too_long: {characters(value)}")
    return True


def a_view(value: Any) -> bool:
    view(value)
    return True


#: Parameters by method; those that must be there end in `!`.
METHODS: dict[str, dict[str, Check]] = {
    "auth.test": {},
    "apps.connections.open": {},
    "users.info": {"user!": USER, "include_locale": flag},
    "conversations.info": {"channel!": CHANNEL, "include_locale": flag, "include_num_members": flag},
    "conversations.members": {"channel!": CHANNEL, "cursor": text(1), "limit": number(1, 1000)},
    "conversations.history": {
        "channel!": CHANNEL, "cursor": text(1), "inclusive": flag, "latest": EDGE, "limit": number(1, 999),
        "oldest": EDGE, "include_all_metadata": flag,
    },
    "conversations.replies": {
        "channel!": CHANNEL, "ts!": TS, "cursor": text(1), "inclusive": flag, "latest": EDGE,
        "limit": number(1, 1000), "oldest": EDGE, "include_all_metadata": flag,
    },
    "chat.postMessage": {
        "channel!": matches(r"[CGDUW][A-Z0-9]{2,}"), "text!": text(1, 40_000), "blocks": message_blocks,
        "thread_ts": TS, "unfurl_links": flag, "unfurl_media": flag, "reply_broadcast": flag,
    },
    "chat.postEphemeral": {
        "channel!": CHANNEL, "user!": USER, "text!": text(1, 40_000), "blocks": message_blocks, "thread_ts": TS,
    },
    "chat.update": {"channel!": CHANNEL, "ts!": TS, "text!": text(1, 40_000), "blocks": message_blocks},
    "chat.delete": {"channel!": CHANNEL, "ts!": TS},
    "chat.startStream": {
        "channel!": CHANNEL, "thread_ts!": TS, "recipient_user_id!": USER, "recipient_team_id!": TEAM,
        "markdown_text": text(1, 12_000),
    },
    "chat.appendStream": {"channel!": CHANNEL, "ts!": TS, "markdown_text!": text(1, 12_000)},
    "chat.stopStream": {"channel!": CHANNEL, "ts!": TS, "markdown_text": text(1, 12_000), "blocks": message_blocks},
    "views.open": {"trigger_id!": TRIGGER, "view!": a_view},
    "views.update": {"view_id!": matches(r"V[A-Z0-9]+"), "hash": text(1), "view!": a_view},
    "views.publish": {"user_id!": USER, "view!": a_view, "hash": text(1)},
}  # fmt: skip

RESPONSE: dict[str, Check] = {
    "text!": text(1, 40_000), "blocks": message_blocks, "response_type": matches("ephemeral|in_channel"),
    "replace_original": flag, "delete_original": flag, "thread_ts": TS,
}  # fmt: skip


def check(what: str, given: dict[str, Any], known: dict[str, Check]) -> None:
    """Raise :class:`Broken` unless the parameters are all known, well-formed, and none is missing."""
    names = {name.rstrip("!"): test for name, test in known.items()}
    for name, value in given.items():
        if name not in names:
            raise Broken(f"{what}: unknown parameter {name}")
        if not names[name](value):
            raise Broken(f"{what}: {name}={str(value)[:80]!r}")
    for name in known:
        if name.endswith("!") and name[:-1] not in given:
            raise Broken(f"{what}: {name[:-1]} is missing")


def characters(value: Any) -> int:
    """Characters of all texts of blocks."""
    if isinstance(value, dict):
        own = len(value["text"]) if isinstance(value.get("text"), str) else 0
        return own + sum(characters(one) for name, one in value.items() if name != "text" or not own)
    return sum(map(characters, value)) if isinstance(value, list) else 0


def _fields(what: str, given: Any, **known: Check) -> None:
    if not isinstance(given, dict):
        raise Broken(f"{what} is no object")
    check(what, given, {name.replace("__", "!"): test for name, test in known.items()})


def _plain(most: int) -> Check:
    def test(value: Any) -> bool:
        _fields("plain_text", value, type__=matches("plain_text"), text__=text(1, most), emoji=flag)
        return True

    return test


def _markup(most: int) -> Check:
    def test(value: Any) -> bool:
        if isinstance(value, dict) and value.get("type") == "plain_text":
            return _plain(most)(value)
        _fields("mrkdwn", value, type__=matches("mrkdwn"), text__=text(1, most), verbatim=flag)
        return True

    return test


def _option(value: Any) -> bool:
    _fields("option", value, text__=_plain(75), value__=text(1, 150))
    return True


def _element(value: Any) -> None:
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "button":
        _fields(
            "button", value, type__=anything, action_id__=text(1, 255), text__=_plain(75), value=text(1, 2000),
            style=matches("primary|danger"), url=text(1, 3000),
        )  # fmt: skip
    elif kind == "plain_text_input":
        _fields(
            "plain_text_input", value, type__=anything, action_id__=text(1, 255), multiline=flag,
            max_length=number(1, 3000), min_length=number(0, 3000), initial_value=text(0, 3000),
        )  # fmt: skip
        if len(value.get("initial_value", "")) > int(value.get("max_length", 3000)):
            raise Broken("plain_text_input: initial_value is longer than max_length")
    elif kind == "static_select":
        _fields(
            "static_select", value, type__=anything, action_id__=text(1, 255),
            options__=lambda options: 1 <= len(options) <= 100 and all(map(_option, options)),
        )  # fmt: skip
    else:
        raise Broken(f"unknown element {kind}")


def _elements(most: int) -> Check:
    def test(value: Any) -> bool:
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            raise Broken("elements")
        for element in value:
            _element(element)
        ids = [element["action_id"] for element in value]
        return len(ids) == len(set(ids))

    return test


def _context(value: Any) -> bool:
    return isinstance(value, list) and 1 <= len(value) <= 10 and all(map(_markup(3000), value))


def _one_element(value: Any) -> bool:
    _element(value)
    return True


def blocks(value: Any, most: int, *, surface: str) -> None:
    """Raise :class:`Broken` unless these are blocks that a surface takes."""
    if not isinstance(value, list) or not 1 <= len(value) <= most:
        raise Broken(f"{surface}: {len(value) if isinstance(value, list) else 'no list of'} blocks")
    ids: list[str] = []
    for block in value:
        kind = block.get("type") if isinstance(block, dict) else None
        common = {"type__": anything, "block_id": text(1, 255)}
        if kind == "section":
            _fields("section", block, **common, text__=_markup(3000))
        elif kind == "context":
            _fields("context", block, **common, elements__=_context)
        elif kind == "header":
            _fields("header", block, **common, text__=_plain(150))
        elif kind == "actions":
            _fields("actions", block, **common, elements__=_elements(25))
        elif kind == "input" and surface == "modal":
            _fields("input", block, **common, label__=_plain(2000), element__=_one_element, optional=flag)
        else:
            raise Broken(f"{surface}: block {kind}")
        ids += [block["block_id"]] if "block_id" in block else []
    if len(ids) != len(set(ids)):
        raise Broken(f"{surface}: block_id twice")


def view(value: Any) -> None:
    """Raise :class:`Broken` unless this is a view."""
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "home":
        _fields("home", value, type__=anything, blocks__=anything, private_metadata=text(0, 3000))
        blocks(value["blocks"], 100, surface="home")
        return
    _fields(
        "modal", value, type__=matches("modal"), title__=_plain(24), blocks__=anything, close=_plain(24),
        submit=_plain(24), callback_id=text(1, 255), private_metadata=text(0, 3000), notify_on_close=flag,
    )  # fmt: skip
    blocks(value["blocks"], 100, surface="modal")
    if any(block["type"] == "input" for block in value["blocks"]) and "submit" not in value:
        raise Broken("modal: inputs without submit")
