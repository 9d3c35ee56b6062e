"""What options of a command say: links, moments, and which go together. It asks nobody whether they exist."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from bot import texts
from bot.when import LONGEST_FOCUS, MOST_LINKS, Ask, MessageRef, NotUnderstood, consistent, parse_since
from engine.requests import Style

_LINK = re.compile(
    r"<?https?://(?:(?:ptb|canary)\.)?discord(?:app)?\.com/channels/(\d{15,20})/(\d{15,20})(?:/(\d{15,20}))?/?>?"
)
NEW = "new"


def links(text: str, guild: str) -> tuple[MessageRef, ...]:
    """The messages that links name; a channel's own link has no message.

    Raises:
        NotUnderstood: what stands there is no such link, leads to another server, or is too much at once.
    """
    found = []
    for word in text.split():
        link = _LINK.fullmatch(word)
        if link is None:
            raise NotUnderstood(texts.NO_LINK_THERE)
        if link[1] != guild:
            raise NotUnderstood(texts.OTHER_SERVER)
        found.append(MessageRef(link[2], link[3] or "", workspace=link[1]))
    if len(found) > MOST_LINKS:
        raise NotUnderstood(texts.too_many_links(MOST_LINKS))
    return tuple(dict.fromkeys(found))


def ask_of(options: Mapping[str, Any], guild: str) -> Ask:
    """What the options of `/summarize` ask for.

    Raises:
        NotUnderstood: they cannot be read, or contradict each other.
    """
    since = str(options.get("since") or "").strip()
    focus = " ".join(str(options.get("about") or "").split())
    if options.get("about") and not any(character.isalnum() for character in focus):
        raise NotUnderstood(texts.ABOUT_WHAT)
    new = since.lower() == NEW
    return consistent(
        Ask(
            when=parse_since(since) if since and not new else None,
            count=int(options.get("messages") or 0),
            new=new,
            links=links(str(options.get("link") or ""), guild),
            channel=str(options.get("channel") or ""),
            focus=focus[:LONGEST_FOCUS],
            style=cast("Style", str(options.get("style") or "standard")),
        )
    )


def suggestions(current: str) -> list[tuple[str, str]]:
    """What `since` may be completed to: labels and values, what was typed first where it can be read."""
    typed = current.strip().lower()
    found = [(label, value) for value, label in texts.SINCE_CHOICES.items() if typed in label.lower()]
    if typed and typed not in texts.SINCE_CHOICES:
        try:
            parse_since(typed)
        except NotUnderstood:
            return found or [(f"{current.strip()[:60]}: {texts.SINCE_UNREADABLE}", current.strip()[:100])]
        found.insert(0, (current.strip()[:100], current.strip()[:100]))
    return found[:25]
