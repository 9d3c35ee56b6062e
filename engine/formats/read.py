"""Reading a conversation from a file or from bytes, whatever format it is in.

It tells the format from the content and hands over to the module that knows it. Everything that cannot be read ends in
one :class:`storage.errors.InputError`; no other exception leaves it, whatever the bytes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Literal, get_args

from engine.conversation import Conversation
from engine.formats import discord_export, rows, slack
from engine.formats import text as plain
from engine.formats.source import decode, parse_json, parse_json_lines, read_file, shown
from storage.errors import InputError

Format = Literal["slack", "discord", "samsum", "text"]

#: The names that ``--format`` takes; ``samsum`` is SAMSum's and DialogSum's rows.
FORMATS: tuple[Format, ...] = get_args(Format)

_CALLED = {
    "slack": "a Slack export",
    "discord": "a DiscordChatExporter file",
    "samsum": "a SAMSum or DialogSum file",
    "text": "plain text",
}
_CHOICES = f"Say what it is with --format ({', '.join(FORMATS)})."
# A chat line may begin with a bracket, as JSON does: `[10:32] Name: text`.
_BRACKETED_LINE = re.compile(r"\[[^\[\]{}\"\n]{1,40}\]\s*[^\s,\]]")
_HTML = re.compile(r"\s*<(?:!doctype html|html|\?xml)", re.IGNORECASE)


def read_conversation(path: Path, *, format: Format | str | None = None, row: str | None = None) -> Conversation:
    """Read the conversation in a file; ``-`` is standard input.

    Args:
        path: a Slack export's day file or thread, a DiscordChatExporter JSON file, a SAMSum or DialogSum JSON or JSONL
            file, or plain ``Name: text`` lines.
        format: one of :data:`FORMATS`; None tells it from the content.
        row: the id of the row to take from a SAMSum or DialogSum file.

    Returns:
        The conversation. Its id is the same for the same conversation, whenever and from wherever it is read: it comes
        from the platform's own ids of channel, thread, messages and authors, and where there are none from authors
        and texts; file name, place and encoding do not count.

    Raises:
        InputError: it cannot be read, for a reason that its one sentence gives.
    """
    data = read_file(path)
    if str(path) == "-":
        return read_bytes(data, "Standard input", format=format, row=row)
    return read_bytes(data, path.name, format=format, row=row, path=path)


def read_bytes(
    data: bytes, name: str, *, format: Format | str | None = None, row: str | None = None, path: Path | None = None
) -> Conversation:
    """Read the conversation in a file's bytes; ``name`` is what errors and the title call it.

    ``path`` is where the file lies, if it is one: a Slack export's names of people and channels are files around it.

    Raises:
        InputError: as :func:`read_conversation`.
    """
    if format is not None and format not in FORMATS:
        raise InputError(f"There is no format {shown(format)}.", _CHOICES)
    text = decode(data, name)
    del data  # as large as the text, and not needed beside it
    told = format is not None
    if format == "text":
        value = None
    elif format == "samsum":
        value = _json_or_lines(text, name)
    elif format is not None:
        value = parse_json(text, name)
    else:
        format, value = _detect(text, name)
    if row is not None and format != "samsum":
        raise InputError(f"{shown(name)} is {_CALLED[format]}, which has no rows to pick from.", "Leave out --row.")
    match format:
        case "slack":
            return slack.read(value, name, path=path)
        case "discord":
            return discord_export.read(value, name)
        case "samsum":
            return rows.read(value, name, row=row)
        case _:
            return plain.read(text, name, told=told)


def _detect(text: str, name: str) -> tuple[Format, Any]:
    """The format that the content has, with its JSON value where it is JSON."""
    if _HTML.match(text):
        raise InputError(f"{shown(name)} is HTML or XML, not a conversation.", "Export it again as JSON or as text.")
    start = text.lstrip()
    if start[:1] not in ("{", "["):
        return "text", None
    if _BRACKETED_LINE.match(start) and not _is_json(text):
        return "text", None
    value = _json_or_lines(text, name)
    if discord_export.looks_like_discord(value):
        return "discord", value
    if slack.looks_like_slack(value):
        return "slack", value
    if rows.looks_like_rows(value):
        return "samsum", value
    raise _unknown(value, name)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _json_or_lines(text: str, name: str) -> Any:
    """The JSON value in a text, or the list of those on its lines."""
    first, _, rest = text.lstrip().partition("\n")
    if first.startswith("{") and rest.strip():
        try:
            json.loads(first)
        except (ValueError, RecursionError):
            return parse_json(text, name)
        return parse_json_lines(text, name)
    return parse_json(text, name)


def _unknown(value: Any, name: str) -> InputError:
    """The sentence for JSON that is no conversation."""
    called = shown(name)
    entries = value if isinstance(value, list) else value.get("messages") if isinstance(value, dict) else None
    if isinstance(entries, list):
        if not entries:
            return InputError(f"There are no messages in {called}.", "Name a file in which somebody says something.")
        if all(isinstance(entry, dict) and "id" in entry and "ts" not in entry for entry in entries):
            index = ("profile", "is_bot", "creator", "members", "is_archived")
            if any(key in entry for entry in entries for key in index):
                return InputError(
                    f"{called} is a Slack export's list of people or channels.",
                    "Name a channel's day file, such as general/2026-05-01.json.",
                )
    return InputError(f"{called} is JSON, but what kind of conversation it holds can't be told.", _CHOICES)
