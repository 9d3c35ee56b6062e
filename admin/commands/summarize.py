"""``redraft summarize FILE``: read a conversation, have it summarised, store both, print the summary.

It goes through a running engine if there is one and loads the model in this process otherwise; which one it was makes
no difference to the text. What could not be summarised is not stored.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from engine.requests import SummaryRequest, SummaryResult
    from storage.database import Database
    from storage.settings import StorageSettings


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
        adapter: str | None = typer.Option(
            None, "--adapter", help="Id of the adapter to write with, or `base`; by default the one in service."
        ),
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
            adapter=(adapter or "").strip() or None,
            include_bots=include_bots,
        )
        run(request, json_=json_)


def run(request: SummaryRequest, *, json_: bool) -> None:
    """Summarise, store and print one conversation, opening and closing what that takes."""
    import asyncio

    from admin.follow import following
    from admin.person import person
    from admin.present import as_document, print_summary
    from admin.report import print_json
    from engine.client import find_client
    from engine.learning.bases import base_in_service
    from engine.learning.registry import RegistrySource
    from engine.records import store_summary
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.home import Home
    from storage.settings import StorageSettings

    storage_settings = StorageSettings.load()
    home = Home.create(storage_settings)
    # Opened before the model is: a database that cannot be written should not cost a minute of generation.
    database = Database.open(storage_settings)
    asked_by = person()

    async def main() -> SummaryResult:
        with following() as follower:
            source = RegistrySource(database, home)
            base = base_in_service(database, EngineSettings.load())
            client = find_client(base.settings, home, tell=follower.tell, adapters=source)
            try:
                return await follower.summary(client, request)
            finally:
                await client.close()

    try:
        result = asyncio.run(main())
        stored = store_summary(database, request, result, asked_by=asked_by)
        _keep_no_longer_than_promised(database, storage_settings)
    finally:
        database.close()
    if json_:
        print_json(as_document(request.conversation, result, stored))
    else:
        print_summary(request.conversation, result)


def _keep_no_longer_than_promised(database: Database, settings: StorageSettings) -> None:
    """Retention for people who use the command line alone: no bot runs the daily job for them."""
    from contextlib import suppress
    from datetime import UTC, datetime

    from storage.errors import StorageError
    from storage.retention import enforce_slot

    now = datetime.now(UTC).astimezone()
    # The summary is written and stored; a database that is busy now is tidied the next time.
    with suppress(StorageError):
        enforce_slot(database, settings, slot=now.date().isoformat(), now=now)
