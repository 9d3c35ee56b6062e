"""The command line: one place where commands are wired together and errors become sentences.

It imports only typer on the way to ``--help``: every command imports what it needs when it runs, because start-up
time is a feature (``benchmarks/startup.py`` measures it, and a test holds torch out of it). It knows no rule of the
product: commands translate arguments into calls and results into text or JSON.

Exit codes: 0 done, 1 refused or failed (one sentence on standard error), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import gc
import sys

import typer

from admin.commands import (
    adapters,
    bot,
    console,
    demo,
    doctor,
    engine,
    evaluate,
    forget,
    init,
    ledger,
    pairs,
    schedule,
    storage,
    summarize,
    train,
    training,
    up,
)
from admin.report import report_error, report_unexpected
from storage.errors import RedraftError


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"redraft {version('redraft')}")
        raise typer.Exit


def build_app() -> typer.Typer:
    """The application with every command registered."""
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        help="Summarise a team's conversations with a 4-bit model on your own machine.",
    )

    @app.callback()
    def redraft(
        version: bool = typer.Option(
            False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ) -> None:
        pass

    for command in (
        summarize,
        demo,
        up,
        engine,
        bot,
        console,
        init,
        doctor,
        storage,
        ledger,
        adapters,
        train,
        schedule,
        evaluate,
        forget,
        pairs,
        training,
    ):
        command.register(app)
    return app


def main() -> None:
    """Entry point of ``redraft``."""
    # Imports make a hundred thousand objects that stay: looking through them for garbage every 2,000 took a tenth of
    # the start of a database command.
    gc.set_threshold(50_000, 20, 50)
    try:
        build_app()(prog_name="redraft")
    except RedraftError as error:
        report_error(error)
        sys.exit(error.exit_code)
    except Exception as error:
        report_unexpected(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
