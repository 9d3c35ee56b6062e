"""``redraft engine``: the process that owns the model and answers the others.

It wires settings, data directory, logging and the server, and says on standard error where it answers and when it is
ready. Everything else is :mod:`engine.server`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from storage.errors import (
    ModelError,
    ModelUnreachable,
    OptionNotHonoured,
    RedraftError,
    SchemaError,
    SettingsError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin.supervisor import Supervised
    from storage.database import Database
    from storage.home import Home


def register(app: typer.Typer) -> None:
    """Add ``engine`` to the application."""

    @app.command()
    def engine(
        host: str | None = typer.Option(None, "--host", help="Loopback address to listen on (ENGINE_HOST)."),
        port: int | None = typer.Option(None, "--port", help="Port to listen on; 0 takes a free one (ENGINE_PORT)."),
    ) -> None:
        """Load the model and answer requests on this machine (usually started by `redraft up`)."""
        from admin.report import report_error
        from admin.supervisor import FOR_GOOD, Supervised

        given = {"engine_host": host, "engine_port": port}
        supervised = Supervised.of_environment()
        try:
            run({name: value for name, value in given.items() if value is not None}, supervised)
        except RedraftError as error:
            if not supervised.present or not permanent(error):
                raise
            report_error(error)
            raise typer.Exit(FOR_GOOD) from error


def permanent(error: RedraftError) -> bool:
    """Whether starting again would only fail again, until a person has changed something."""
    if isinstance(error, ModelUnreachable):
        return False
    return isinstance(error, SettingsError | SchemaError | OptionNotHonoured | ModelError)


def run(given: Mapping[str, str | int], supervised: Supervised) -> None:
    """Serve until a signal; ``given`` overrides settings."""
    import os
    import signal

    from engine.address import Address
    from engine.learning.bases import BaseInService, BaseWatch, base_in_service
    from engine.learning.registry import RegistrySource
    from engine.local import load_model
    from engine.requests import ModelInfo
    from engine.server import serve
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.home import Home
    from storage.settings import StorageSettings

    settings, storage = EngineSettings.load(**given), StorageSettings.load()
    home = Home.create(storage)
    log_to(home, "engine")
    database = Database.open(storage)
    _recover(database, home)
    base = base_in_service(database, settings)
    if base.detail:
        _say(base.detail)
    moved: list[BaseInService] = []
    ready: list[ModelInfo] = []

    def on_listening(address: Address) -> None:
        _say(f"The engine answers on {address.socket or address.url}; it is loading {base.settings.engine_model}.")

    def on_ready(info: ModelInfo) -> None:
        _say(f"The engine is ready: {info.label}, {info.representation} on {info.device}.")
        supervised.ready()
        ready.append(info)

    def on_change(other: BaseInService) -> None:
        _say(f"Another base is in service now: {other.label}. The engine finishes what it has and loads that.")
        moved.append(other)
        os.kill(os.getpid(), signal.SIGTERM)  # drains, as for anybody who ends it

    watch = BaseWatch(database, settings, base, on_change)
    watch.start()
    try:
        ended = serve(
            base.settings,
            home,
            lambda: load_model(base.settings, home, _say),
            adapters=RegistrySource(database, home),
            on_listening=on_listening,
            on_ready=on_ready,
            restarts=supervised.restarts,
            detail=" ".join(filter(None, (supervised.detail, base.detail))),
        )
    finally:
        watch.stop()
        database.close()
    if moved:
        _begin_again(was_ready=bool(ready))
    if not ended:
        # A thread that loads a model cannot be interrupted; waiting for it at exit could take minutes.
        os._exit(0)


def _recover(database: Database, home: Home) -> None:
    """Bring adapters and their rows together; an engine that cannot do so serves all the same."""
    import logging

    from engine.learning.registry import recover

    try:
        recover(database, home)
    except RedraftError as error:
        logging.getLogger(__name__).warning("adapters were not looked over: %s", error.message)


def _begin_again(*, was_ready: bool) -> None:
    """Become this same command anew: a model of another family is no matter of exchanging weights."""
    import os
    import sys

    from admin.supervisor import Supervised

    environment = Supervised.without_descriptor(os.environ) if was_ready else dict(os.environ)
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def log_to(home: Home, process: str) -> None:
    """JSON lines in the data directory; on standard error only where no person reads them."""
    import logging
    import sys

    from storage.logs import configure_logging

    configure_logging(process, home.logs)
    if sys.stderr.isatty():
        root = logging.getLogger()
        root.handlers = [handler for handler in root.handlers if isinstance(handler, logging.FileHandler)]


def _say(sentence: str) -> None:
    typer.echo(sentence, err=True)
