"""How a summary looks on a terminal and as JSON. It asks nobody anything: conversation and result in, text out.

What people wrote is shown without control characters: a message must not be able to drive the terminal of whoever
reads it.
"""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

from engine.conversation import Conversation, Message
from engine.text.safety import visible

if TYPE_CHECKING:
    from rich.console import Console

    from engine.requests import SummaryResult

#: Characters of a source message that are quoted.
_QUOTE = 100


def as_document(conversation: Conversation, result: SummaryResult, stored: str) -> dict[str, Any]:
    """The ``--json`` document of a summary."""
    by_id = {message.id: message for message in conversation.messages}
    return {
        "id": stored,
        "summary": result.summary,
        "sources": [
            {
                "sentence": sentence.text,
                "supported": sentence.supported,
                "flagged": list(sentence.flagged),
                "messages": [
                    {
                        "id": source,
                        "author": by_id[source].author,
                        "time": time.isoformat() if (time := by_id[source].time) else None,
                        "permalink": by_id[source].permalink or None,
                    }
                    for source in sentence.sources
                ],
            }
            for sentence in result.sentences
        ],
        "adapter": result.adapter,
        "model": result.model,
        "demonstration": result.demonstration,
        "prompt_version": result.prompt_version,
        "notes": list(result.notes),
        "style": result.style,
        "focus": result.focus or None,
        "messages": result.coverage.messages,
        "messages_left_out": result.coverage.left_out,
        "parts": result.coverage.parts,
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
        "seconds": round(result.seconds, 3),
    }


def plain_console() -> Console:
    """Standard output for text that people wrote: nothing in it is markup, an emoji code or something to colour."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)


def shorten(text: str, limit: int) -> str:
    """The text on one line, cut with an ellipsis at ``limit`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def indented(text: str, by: int = 2) -> str:
    """The text wrapped to the terminal, every line moved right; its own line breaks are kept."""
    width = max(40, min(shutil.get_terminal_size().columns, 120))
    margin = " " * by
    return "\n".join(
        textwrap.fill(line, width, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False)
        for line in visible(text).splitlines()
    )


def quoted(message: Message, limit: int | None) -> str:
    """A message on one line or, with no limit, whole: its author and text."""
    return indented(f"{message.author}: {message.text if limit is None else shorten(message.text, limit)}")


def summary_lines(conversation: Conversation, result: SummaryResult) -> tuple[list[str], list[str]]:
    """The summary's sentences with the numbers of their sources, and the numbered sources."""
    by_id = {message.id: message for message in conversation.messages}
    numbers: dict[str, int] = {}
    sentences, sources = [], []
    for sentence in result.sentences:
        marks = "".join(f"[{numbers.setdefault(source, len(numbers) + 1)}]" for source in sentence.sources)
        text = f"{sentence.text} {marks}".strip()
        if not sentence.supported:
            text += " (no message supports this)"
        if sentence.flagged:
            text += f" (not in the conversation: {', '.join(sentence.flagged)})"
        sentences.append(indented(text))
    for source, number in numbers.items():
        message = by_id[source]
        when = f"{message.time:%Y-%m-%d %H:%M} " if message.time else ""
        lines = [indented(f"[{number}] {when}{message.author}: {shorten(message.text, _QUOTE)}")]
        # An address is not wrapped: a terminal opens it only whole.
        lines += [f"      {visible(message.permalink)}"] if message.permalink else []
        sources.append("\n".join(lines))
    return sentences, sources


def print_summary(conversation: Conversation, result: SummaryResult) -> None:
    """Print a summary for people: the text, what it rests on, what it covers and what wrote it."""
    out = plain_console()
    sentences, sources = summary_lines(conversation, result)
    out.print("\n".join(sentences))
    out.print()
    if sources:
        out.print("\n".join(sources), style="dim")
        out.print()
    out.print(indented(describe(result)), style="dim")


def describe(result: SummaryResult) -> str:
    """One line on what a summary covers and what wrote it."""
    coverage = result.coverage
    people = "1 person" if coverage.authors == 1 else f"{coverage.authors} people"
    messages = "1 message" if coverage.messages == 1 else f"{coverage.messages:,} messages"
    text = f"{messages} by {people}"
    if coverage.first and coverage.last:
        text += f", {coverage.first[:16].replace('T', ' ')} to {coverage.last[:16].replace('T', ' ')} UTC"
    if coverage.left_out:
        text += f"; {coverage.left_out:,} left out"
    if coverage.parts > 1:
        text += f"; read in {coverage.parts:,} parts"
    text += f". Written by {result.model}, adapter {result.adapter}, in {result.seconds:.1f} s."
    text += "".join(f" {note}" for note in result.notes)
    if result.demonstration:
        text += " The starter model is a demonstration: run `redraft init` to choose a real one."
    return text
