"""Between conversations and the dialogues that pairs keep: ``Name: text`` lines, one message a line.

It knows no database and no model; the lines are those that prompts have (:mod:`engine.text.parts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from engine.conversation import Conversation, Message
from engine.formats.text import build, parse_turns
from engine.text.parts import tidy, tidy_name
from storage.errors import InputError


def dialogue_of(messages: Sequence[Message]) -> str:
    """The messages that have any text, one line each."""
    readable = ((tidy_name(message.author), tidy(message.text, multiline=False)) for message in messages)
    return "\n".join(f"{name}: {text}" for name, text in readable if text)


def conversation_of(dialogue: str, *, key: str) -> Conversation:
    """The conversation in a dialogue, for a prompt; ``key`` becomes its id.

    Raises:
        InputError: no line says who speaks.
    """
    header, turns = parse_turns(dialogue, each_line_a_turn=True)
    if not turns:
        raise InputError("No line of the dialogue says who speaks.", "Write it as `Name: text` lines.")
    found = build(header, turns, name="the dialogue", title="")
    return Conversation(id=key, messages=found.messages)


def content_hash(dialogue: str, summary: str) -> str:
    """SHA-256 in hexadecimal over a dialogue and a summary, white space folded: the same pair is stored once."""
    digest = hashlib.sha256()
    for text in (dialogue, summary):
        data = " ".join(text.split()).encode("utf-8", "replace")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
