"""How Slack writes channels and messages in what people type: ``<#C01|general>`` and permalinks.

It reads single words for :mod:`bot.when`; it asks nobody whether what they name is there.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

from bot import texts
from bot.when import ChannelRef, MessageRef, NotUnderstood, Reference

_CHANNEL = re.compile(r"<#([CGD][A-Z0-9]{2,})(?:\|[^>]*)?>")
_PERMALINK = re.compile(r"/archives/([CGD][A-Z0-9]{2,})/p(\d{10})(\d{6})/?")
_TS = re.compile(r"\d{10}\.\d{6}")


class Words:
    """Reads words of one workspace.

    Args:
        host: of the workspace, ``team.slack.com``.
    """

    def __init__(self, host: str) -> None:
        self._host = host

    def read(self, word: str) -> Reference | None:
        """The channel or the message that a word names, or None.

        Raises:
            NotUnderstood: it names one of another workspace, or a channel that Slack did not recognise.
        """
        if found := _CHANNEL.fullmatch(word):
            return ChannelRef(found[1])
        if word.startswith("#") and len(word) > 1:
            raise NotUnderstood(texts.no_such_word(word), texts.CHOOSE_CHANNEL)
        address = word.strip("<>").partition("|")[0]
        if not address.startswith(("https://", "http://")):
            return None
        try:
            parts = urlsplit(address)
            host = parts.hostname or ""
        except ValueError:
            return None
        found = _PERMALINK.fullmatch(parts.path)
        if found is None:
            return None
        if host != self._host:
            raise NotUnderstood(texts.OTHER_WORKSPACE, texts.EXAMPLES)
        thread = (parse_qs(parts.query.replace("&amp;", "&")).get("thread_ts") or [""])[0]
        return MessageRef(found[1], f"{found[2]}.{found[3]}", thread if _TS.fullmatch(thread) else "")
