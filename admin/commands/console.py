"""``redraft console``: the administrators' console, in this terminal; any number of them may be open at once."""

from __future__ import annotations

import sys

import typer


def register(app: typer.Typer) -> None:
    """Add ``console`` to the application."""

    @app.command()
    def console(
        read_only: bool = typer.Option(False, "--read-only", help="Look only: nothing can be changed from it."),
        theme: str = typer.Option(
            "", "--theme", help="redraft-dark, redraft-light, ansi-dark (16 colours), ansi-light, nord, …"
        ),
        screen: str = typer.Option("overview", "--screen", help="The screen to begin with: adapters, corrections, …"),
    ) -> None:
        """Open the administrators' console: adapters, corrections, runs, conversations, ledger, health."""
        run(read_only=read_only, theme=theme, screen=screen)


def run(*, read_only: bool, theme: str, screen: str) -> None:
    """Run it until somebody quits.

    Raises:
        InputError: this is no terminal, or there is no such screen or theme.
    """
    from admin.console.widgets.names import SCREENS
    from admin.person import person
    from storage.errors import InputError

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputError(
            "`redraft console` needs a terminal.", "In a script, use the commands: `redraft adapters list --json`."
        )
    keys = [name.key for name in SCREENS]
    if screen not in keys:
        raise InputError(f"The console has no screen {screen[:40]!r}.", f"Say one of: {', '.join(keys)}.")
    from admin.console.app import ConsoleApp
    from admin.console.store import Store

    store = Store(by=person(), read_only=read_only)
    app = ConsoleApp(store, theme=theme_for(theme), first=screen)
    try:
        app.run()
    finally:
        store.close()


def theme_for(asked: str) -> str:
    """The theme: what was asked for, else one that the terminal can show.

    Raises:
        InputError: there is no such theme.
    """
    from textual.theme import BUILTIN_THEMES

    from storage.errors import InputError

    known = ("redraft-dark", "redraft-light", *BUILTIN_THEMES)
    if asked:
        if asked not in known:
            raise InputError(f"There is no theme {asked[:40]!r}.", f"Say one of: {', '.join(known)}.")
        return asked
    return "redraft-dark" if many_colours() else "ansi-dark"


def many_colours() -> bool:
    """Whether the terminal shows more than sixteen colours, by what it calls itself."""
    import os

    term, colours = os.environ.get("TERM", ""), os.environ.get("COLORTERM", "")
    return colours in ("truecolor", "24bit") or "256" in term or "direct" in term or "kitty" in term
