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
    StorageError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from admin.supervisor import Supervised
    from engine.learning.bases import BaseInService
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.home import Home
    from storage.settings import StorageSettings


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
    from engine.learning.bases import BaseWatch
    from engine.learning.serving_source import DatabaseSource
    from engine.local import load_model
    from engine.requests import ModelInfo
    from engine.server import serve
    from engine.settings import EngineSettings
    from storage.home import Home
    from storage.settings import StorageSettings

    settings, storage = EngineSettings.load(**given), StorageSettings.load()
    home = Home.create(storage)
    log_to(home, "engine")
    base = _base(settings, storage)
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

    source = DatabaseSource(storage, home)
    watch = BaseWatch(lambda: _database(storage), settings, base, on_change)
    watch.start()
    try:
        ended = serve(
            base.settings,
            home,
            lambda: load_model(base.settings, home, _say),
            adapters=source,
            report=source.report,
            on_listening=on_listening,
            on_ready=on_ready,
            restarts=supervised.restarts,
            detail=" ".join(filter(None, (supervised.detail, base.detail))),
        )
    finally:
        watch.stop()
    if moved:
        _begin_again(was_ready=bool(ready))
    if not ended:
        # A thread that loads a model cannot be interrupted; waiting for it at exit could take minutes.
        os._exit(0)


def _base(settings: EngineSettings, storage: StorageSettings) -> BaseInService:
    """The base to load, once adapters and their rows were brought together.

    Where the database cannot be read now, the configured one: the watch over it sees later whether that was right.
    """
    import logging

    from engine.learning.bases import BaseInService, base_in_service
    from engine.learning.registry import recover

    try:
        database = _database(storage)
        if database is not None:
            try:
                recover(database, database.home)
                return base_in_service(database, settings)
            finally:
                database.close()
    except StorageError as error:
        logging.getLogger(__name__).warning("what is in service cannot be read: %s", error.message)
    return BaseInService(settings, settings.engine_model)


def _database(storage: StorageSettings) -> Database | None:
    """The database, if there is one: to make it is the business of whoever has something to store."""
    from storage.database import Database
    from storage.home import Home

    if storage.postgresql_url is None and not Home.at(storage).database.exists():
        return None
    return Database.open(storage)


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
