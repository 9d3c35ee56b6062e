"""``redraft demo``: summarise sample conversations on this machine, show the learning loop, say what to try next.

The samples ship with Redraft and are invented. Nothing is stored: the data directory stays as it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    import rich.console

    from engine.settings import EngineSettings

#: How many samples are shown unless all are asked for: an incident, a support case and a planning thread.
_SHOWN = 3
#: Messages of each conversation that are printed before its summary, and characters of each.
_EXCERPT, _EXCERPT_CHARACTERS = 4, 140


def register(app: typer.Typer) -> None:
    """Add ``demo`` to the application."""

    @app.command()
    def demo(
        model: str = typer.Option("", "--model", help="Hugging Face id or directory; the configured model otherwise."),
        all_: bool = typer.Option(False, "--all", help="All samples rather than the first three."),
        full: bool = typer.Option(False, "--full", help="Print the conversations whole."),
        learn: bool | None = typer.Option(
            None, "--learn/--no-learn", help="Also train on sample corrections; done unless --model names another."
        ),
    ) -> None:
        """Summarise sample conversations on this machine, then learn from corrections; needs no network and no GPU."""
        import asyncio

        from admin.present import plain_console
        from engine.settings import EngineSettings

        given = {"engine_model": model, "engine_revision": ""} if model else {}
        settings = EngineSettings.load(**given)
        out = plain_console()
        asyncio.run(_demo(out, settings, count=None if all_ else _SHOWN, full=full))
        starter = settings.engine_model == "starter"
        # On a CPU a fine-tune of a larger model is a matter of hours, which nobody expects of a demonstration.
        if starter if learn is None else learn:
            from admin.commands.demo_loop import show_loop

            show_loop(out, settings)
            out.print()
        out.print(_next_steps(starter))


async def _demo(out: rich.console.Console, settings: EngineSettings, *, count: int | None, full: bool) -> None:
    from importlib.resources import as_file, files

    from admin.follow import following
    from admin.present import print_summary, quoted
    from admin.samples import SAMPLES
    from engine.formats import read_conversation
    from engine.local import LocalClient
    from engine.requests import SummaryRequest

    client = LocalClient(settings)
    try:
        for sample in SAMPLES[:count]:
            with as_file(files("admin.samples") / sample.file) as path:
                conversation = read_conversation(path)
            out.print(sample.description, style="bold")
            out.print(sample.file, style="dim")
            out.print()
            shown = conversation.messages if full else conversation.messages[:_EXCERPT]
            for message in shown:
                out.print(quoted(message, None if full else _EXCERPT_CHARACTERS))
            if left := len(conversation.messages) - len(shown):
                out.print(f"  … and {left} more messages", style="dim")
            out.print()
            out.print("Summary", style="bold")
            with following() as follower:
                result = await follower.summary(client, SummaryRequest(conversation))
            print_summary(conversation, result)
            out.print()
    finally:
        await client.close()


def _next_steps(starter: bool) -> str:
    steps = [
        ("redraft summarize FILE", "a Slack or Discord export of yours, or `Name: text` lines"),
        ('redraft summarize FILE --focus "budget"', "only what is about one topic"),
        ("redraft init", "choose a model that fits this machine, and set up the chats"),
        ("redraft doctor", "what is missing, and how to mend it"),
    ]
    if starter:
        steps.insert(0, ("make demo MODEL=google/flan-t5-base", "the same by a real model (needs a network, once)"))
    return "\n".join(["What to try next:", *(f"  {command}\n      {what}" for command, what in steps)])
