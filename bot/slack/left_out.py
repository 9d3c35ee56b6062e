"""Leaving out who opted out of Slack's messages: what they wrote, also where others share it, and the files they sent.

It takes and gives messages as Slack's interface has them. Words that somebody copied by hand carry no name, and cannot
be told from their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from engine.formats.values import as_dict, dicts

#: A shared message links to its author: https://team.slack.com/team/U01AB.
_TEAM_LINK = re.compile(r"/team/([UW][A-Z0-9]+)")
_SHARED = ("is_msg_unfurl", "is_share", "is_reply_unfurl", "is_thread_root_unfurl")


def without(messages: Iterable[dict[str, Any]], out: frozenset[str]) -> list[dict[str, Any]]:
    """Messages without everything that is of people in ``out`` (user ids); the same where there are none."""
    if not out:
        return list(messages)
    return [_message(one, out) for one in messages if str(one.get("user")) not in out]


def _message(raw: dict[str, Any], out: frozenset[str]) -> dict[str, Any]:
    """A message, or a shared one, without the shared messages and the files of others that are out."""
    kept = dict(raw)
    if "attachments" in raw:
        kept["attachments"] = [_message(one, out) for one in dicts(raw["attachments"]) if not _of(one, out)]
    if "message_blocks" in raw:
        inner = [as_dict(one) for one in dicts(raw["message_blocks"])]
        kept["message_blocks"] = [one for one in inner if str(as_dict(one.get("message")).get("user")) not in out]
    if "files" in raw:
        kept["files"] = [one for one in dicts(raw["files"]) if str(one.get("user")) not in out]
    # A reply that was also sent to the channel brings the message that it answers.
    kept.pop("root", None)
    return kept


def _of(attachment: dict[str, Any], out: frozenset[str]) -> bool:
    """Whether an attachment is a shared message of somebody who is out, or may be: it names nobody."""
    ids = {str(attachment.get(name)) for name in ("author_id", "user", "user_id") if attachment.get(name)}
    ids |= {
        str(author) for one in dicts(attachment.get("message_blocks"))
        if (author := as_dict(one.get("message")).get("user"))
    }  # fmt: skip
    ids |= set(_TEAM_LINK.findall(str(attachment.get("author_link") or "")))
    if ids & out:
        return True
    shared = any(attachment.get(name) is True for name in _SHARED)
    return shared and not ids and not attachment.get("bot_id") and not attachment.get("author_bot_id")
