"""``redraft up``: one command on one machine. It migrates the database, then keeps the engine and the bot running.

One `up` runs for a data directory. It wires and says; :mod:`admin.supervisor` does the keeping.
"""

from __future__ import annotations

import typer

#: Beyond the engine's own time to drain: unloading, and the interpreter's end.
_MARGIN_S = 15.0


def register(app: typer.Typer) -> None:
    """Add ``up`` to the application."""

    @app.command()
    def up() -> None:
        """Start the engine and the bot, and start them again when they die."""
        run()


def run() -> None:
    """Run until a signal.

    Raises:
        RedraftError: another `up` runs, a setting is wrong, or a process cannot start.
    """
    import asyncio
    import sys

    from filelock import FileLock, Timeout

    from admin.commands.engine import log_to
    from admin.supervisor import Child, Supervisor
    from engine.settings import EngineSettings
    from storage.errors import RedraftError
    from storage.home import Home
    from storage.migrate import upgrade
    from storage.settings import StorageSettings

    storage, settings = StorageSettings.load(), EngineSettings.load()
    home = Home.create(storage)
    lock = FileLock(home.up_lock, timeout=1)
    try:
        lock.acquire()
    except Timeout as error:
        raise RedraftError("`redraft up` runs already for this data directory.", "Stop that one first.") from error
    try:
        done = upgrade(storage)
        log_to(home, "up")
        if done.copy is not None:
            _say(f"The database was upgraded; a copy of the one before is {done.copy}.")
        command = (sys.executable, "-m", "admin.cli")
        children = [
            Child("engine", [*command, "engine"], tells=True),
            Child("bot", [*command, "bot"]),
        ]

        async def main() -> None:
            supervisor = Supervisor(children, drain_seconds=settings.engine_drain_seconds + _MARGIN_S, say=_say)
            supervisor.stop_on_signals()
            await supervisor.run()

        _say(f"Starting the engine and the bot; their logs are in {home.logs}. Ctrl-C ends them.")
        asyncio.run(main())
        _say("Everything has ended in order.")
    finally:
        lock.release()


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
