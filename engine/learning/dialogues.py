"""Between conversations and the dialogues that pairs keep: ``Name: text`` lines, one message a line.

It knows no database and no model; the lines are those that prompts have (:mod:`engine.text.parts`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime

from engine.conversation import Conversation, Message
from engine.formats.text import Turn, build, parse_turns
from engine.formats.values import iso_time
from engine.text.parts import tidy, tidy_name
from storage.errors import InputError


def dialogue_of(messages: Sequence[Message]) -> str:
    """The messages that have any text, one line each."""
    readable = ((tidy_name(message.author), tidy(message.text, multiline=False)) for message in messages)
    return "\n".join(f"{name}: {text}" for name, text in readable if text)


def covered(
    conversation: Conversation, *, include_bots: bool, focus: str, first: str, last: str, written_at: datetime
) -> list[Message]:
    """The messages of a conversation, as it is stored now, that its summary of then covered.

    Of a conversation that has grown since, what stands outside of the times that the summary covered is left out. With
    a focus, all that had been written by then is taken: chat models read it, and for the others the planner picks what
    is about the focus, in a fine-tune as it did for the summary.

    Args:
        include_bots: whether messages of bots and of the system were asked for.
        first, last: ISO 8601 times of the first and the last message covered, or empty strings.
        written_at: when the summary was written.
    """
    earliest = iso_time(first) if not focus else None
    # The platform's clock and ours need not agree, so that a covered message may seem to be of a later time.
    latest = max(written_at, iso_time(last) or written_at) if focus else (iso_time(last) or written_at)
    return [
        message
        for message in conversation.messages
        if (include_bots or message.kind == "person")
        and (message.time is None or ((earliest is None or message.time >= earliest) and message.time <= latest))
    ]


def conversation_of(dialogue: str, *, key: str) -> Conversation:
    """The conversation in a dialogue, for a prompt; ``key`` becomes its id.

    Raises:
        InputError: no line says who speaks.
    """
    header, turns = parse_turns(dialogue, each_line_a_turn=True)
    if not turns:
        header, turns = "", turns_of_ours(dialogue)
    if not turns:
        raise InputError("No line of the dialogue says who speaks.", "Write it as `Name: text` lines.")
    found = build(header, turns, name="the dialogue", title="")
    return Conversation(id=key, messages=found.messages)


def turns_of_ours(dialogue: str) -> list[Turn]:
    """The turns of what :func:`dialogue_of` made, whatever people call themselves (`Wow!`, `10`); none of other texts.

    It is for dialogues in which nobody has a name that could be told from a sentence.
    """
    turns = []
    for line in dialogue.split("\n"):
        name, separator, text = line.partition(": ")
        if not separator or tidy_name(name) != name:
            return []
        turns.append(Turn(name, [text]))
    return turns


def content_hash(dialogue: str, summary: str) -> str:
    """SHA-256 in hexadecimal over a dialogue and a summary, white space folded: the same pair is stored once."""
    digest = hashlib.sha256()
    for text in (dialogue, summary):
        data = " ".join(text.split()).encode("utf-8", "replace")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()
