"""``redraft bot``: the chat platforms' process; it also runs the scheduler, with no platform configured too."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add ``bot`` to the application."""

    @app.command()
    def bot() -> None:
        """Run the chat platforms' listeners and the scheduler (usually started by `redraft up`)."""
        import os
        import sys

        # `admin` and `bot` never import each other, so the process is started by its module's name. exec rather than
        # a child: signals and the exit code are then the bot's own.
        os.execv(sys.executable, [sys.executable, "-P", "-m", "bot"])
