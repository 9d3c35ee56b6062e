"""SAMSum and DialogSum rows: ``{"id", "dialogue", "summary"}`` or ``{"fname", "dialogue", ...}``.

One object, a list of them, or one a line; of several, an id picks one. The human summary in a row is not read here: it
is no part of the conversation.
"""

from __future__ import annotations

import re
from typing import Any

from engine.conversation import Conversation
from engine.formats.source import shown
from engine.formats.text import build, parse_turns
from engine.formats.values import clean, clean_name, identifier
from storage.errors import InputError

_PLACEHOLDER = re.compile(r"<file_(photo|gif|picture|video|other)>")
_NOTES = {"photo": "[image]", "gif": "[image]", "picture": "[image]", "video": "[video]", "other": "[file]"}
# DialogSum writes its speakers, and who is spoken to, as #Person1#.
_PERSON = re.compile(r"#(Person\d{1,3})#")
_NAMED = 3


def looks_like_rows(value: Any) -> bool:
    """Whether a JSON value is one such row or a list of them."""
    rows = value if isinstance(value, list) else [value]
    return bool(rows) and all(isinstance(row, dict) and "dialogue" in row for row in rows)


def read(value: Any, name: str, *, row: str | None = None) -> Conversation:
    """The conversation of one row; ``row`` is its id, needed where there are several.

    Raises:
        InputError: no rows, several and none picked, none of that id, or no dialogue in it.
    """
    rows = value if isinstance(value, list) else [value]
    if not looks_like_rows(rows):
        raise InputError(
            f"{shown(name)} is no SAMSum or DialogSum file: not every row is an object with a `dialogue`.",
            "Give one JSON object, a list of them, or one a line.",
        )
    chosen, key = _pick(rows, name, row)
    dialogue = chosen["dialogue"]
    if not isinstance(dialogue, str) or not dialogue.strip():
        raise InputError(f"The row {shown(key)} of {shown(name)} has no dialogue.", "Pick another row with --row.")
    header, turns = parse_turns(readable(clean(dialogue)), each_line_a_turn=True)
    if not turns:
        raise InputError(
            f"No line of the dialogue in row {shown(key)} of {shown(name)} says who speaks.",
            "A dialogue is written as `Name: text` lines.",
        )
    return build(header, turns, name=name, title=clean_name(chosen.get("topic")) or key)


def readable(text: str) -> str:
    """The text with the placeholders of SAMSum (``<file_photo>``) and DialogSum (``#Person1#``) made readable."""
    return _PERSON.sub(r"\1", _PLACEHOLDER.sub(lambda found: _NOTES[found[1]], text))


def _pick(rows: list[dict[str, Any]], name: str, row: str | None) -> tuple[dict[str, Any], str]:
    """The row asked for, and its id; rows without ids are counted from 1."""
    keys = [identifier(r.get("id")) or identifier(r.get("fname")) or str(n) for n, r in enumerate(rows, start=1)]
    if row is not None:
        if row not in keys:
            raise InputError(f"{shown(name)} has no row {shown(row)}.", f"It has {_some(keys)}.")
        return rows[keys.index(row)], row
    if len(rows) > 1:
        raise InputError(
            f"{shown(name)} holds {len(rows):,} conversations.", f"Pick one with --row ID; it has {_some(keys)}."
        )
    return rows[0], keys[0]


def _some(keys: list[str]) -> str:
    """The first few ids, in words."""
    named = ", ".join(shown(key[:60]) for key in keys[:_NAMED])
    return f"{named} and {len(keys) - _NAMED:,} more" if len(keys) > _NAMED else named
