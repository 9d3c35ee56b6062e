"""``redraft summarize FILE``: read a conversation, have it summarised, store both, print the summary.

It goes through a running engine if there is one and loads the model in this process otherwise; which one it was makes
no difference to the text. What could not be summarised is not stored.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from engine.conversation import Conversation
    from engine.protocols import EngineClient
    from engine.requests import SummaryRequest, SummaryResult


class StyleChoice(StrEnum):
    """The styles of :data:`engine.requests.Style`, as the command line offers them."""

    standard = "standard"
    brief = "brief"
    detailed = "detailed"
    actions = "actions"


class FormatChoice(StrEnum):
    """The input formats of :mod:`engine.formats`, as the command line offers them."""

    slack = "slack"
    discord = "discord"
    samsum = "samsum"
    text = "text"


def register(app: typer.Typer) -> None:
    """Add ``summarize`` to the application."""

    @app.command()
    def summarize(
        file: Path = typer.Argument(
            ...,
            help="A Slack or Discord export, a SAMSum/DialogSum row or `Name: text` lines; - reads standard input.",
        ),
        format: FormatChoice | None = typer.Option(None, "--format", help="What FILE is, where it can't be told."),
        row: str | None = typer.Option(None, "--row", help="Which row of a SAMSum or DialogSum file, by its id."),
        style: StyleChoice = typer.Option(StyleChoice.standard, "--style", help="How to write it."),
        focus: str = typer.Option("", "--focus", help="A topic to concentrate on."),
        output_language: str = typer.Option("", "--output-language", help="Language to write in, e.g. German or de."),
        include_bots: bool = typer.Option(False, "--include-bots", help="Also read messages of bots."),
        json_: bool = typer.Option(False, "--json", help="Print one JSON document."),
    ) -> None:
        """Summarise a conversation from a file."""
        from engine.formats import read_conversation
        from engine.requests import SummaryRequest

        conversation = read_conversation(file, format=format.value if format else None, row=row)
        request = SummaryRequest(
            conversation,
            style=style.value,
            focus=focus.strip(),
            output_language=output_language.strip(),
            include_bots=include_bots,
        )
        run(request, json_=json_)


def run(request: SummaryRequest, *, json_: bool) -> None:
    """Summarise, store and print one conversation, opening and closing what that takes."""
    import asyncio

    from engine.client import find_client
    from engine.records import store_summary
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.home import Home
    from storage.settings import StorageSettings

    storage_settings = StorageSettings.load()
    home = Home.create(storage_settings)
    # Opened before the model is: a database that cannot be written should not cost a minute of generation.
    database = Database.open(storage_settings)

    async def main() -> SummaryResult:
        client = find_client(EngineSettings.load(), home)
        try:
            return await ask(client, request, show=not json_)
        finally:
            await client.close()

    try:
        result = asyncio.run(main())
        stored = store_summary(database, request, result)
    finally:
        database.close()
    if json_:
        from admin.report import print_json

        print_json(as_document(request.conversation, result, stored))
    else:
        print_summary(request.conversation, result)


async def ask(client: EngineClient, request: SummaryRequest, *, show: bool = True) -> SummaryResult:
    """Follow one summary to its end, with progress on standard error where that is a terminal."""
    from admin.report import progress_on_stderr
    from engine.requests import Finished, Progress, Queued, SentenceWritten
    from storage.errors import EngineError

    with progress_on_stderr(show) as progress:
        task = progress.add_task("Loading the model and reading", total=None) if progress else None
        async for event in client.summarize(request):
            if isinstance(event, Finished):
                return event.result
            if progress is None or task is None:
                continue
            if isinstance(event, Queued):
                progress.update(task, description=f"Waiting, {event.ahead} ahead" if event.ahead else "Reading")
            elif isinstance(event, Progress):
                progress.update(task, description="Reading the parts", completed=event.done, total=event.total)
            elif isinstance(event, SentenceWritten):
                progress.update(task, description="Writing")
    raise EngineError("The engine ended without a summary.", "Try again; its log says more.")


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
        "style": result.style,
        "focus": result.focus or None,
        "messages": result.coverage.messages,
        "messages_left_out": result.coverage.left_out,
        "parts": result.coverage.parts,
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
        "seconds": round(result.seconds, 3),
    }


def print_summary(conversation: Conversation, result: SummaryResult, *, sources: bool = True) -> None:
    """Print a summary for people: the text, what it rests on, what it covers and what wrote it."""
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding

    out = Console(highlight=False, soft_wrap=False)
    by_id = {message.id: message for message in conversation.messages}
    numbers: dict[str, int] = {}
    lines = []
    for sentence in result.sentences:
        marks = "".join(f"[{numbers.setdefault(source, len(numbers) + 1)}]" for source in sentence.sources)
        text = escape(f"{sentence.text} {marks}".strip())
        if not sentence.supported:
            text += " [yellow](no message supports this)[/]"
        if sentence.flagged:
            text += f" [yellow](not in the conversation: {escape(', '.join(sentence.flagged))})[/]"
        lines.append(text)
    out.print(Padding("\n".join(lines), (0, 0, 1, 2)))
    if sources:
        for source, number in numbers.items():
            message = by_id[source]
            when = f"{message.time:%Y-%m-%d %H:%M} " if message.time else ""
            quote = " ".join(message.text.split())
            quote = quote if len(quote) <= 90 else quote[:89] + "…"
            out.print(
                f"  [dim]\\[{number}] {when}{escape(message.author)}:[/] {escape(quote)}",
                no_wrap=True,
                crop=True,
                overflow="ellipsis",
            )
            if message.permalink:
                out.print(f"      [dim]{escape(message.permalink)}[/]", no_wrap=True, overflow="ignore", crop=False)
        out.print()
    out.print(f"  [dim]{escape(describe(result))}[/]")


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
    if result.demonstration:
        text += " The starter model is a demonstration: run `redraft init` to choose a real one."
    return text
