"""What an engine's process serves, read from a database that may be away, locked, of another version, or not made yet.

The engine outlives its database: it is opened when there is one, opened again when it is another file, and never made.
Where it cannot be read the engine is told so and goes on with what it last knew. What is read is
:class:`engine.learning.registry.RegistrySource`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from engine.protocols import ServingTable
from storage.errors import StorageError
from storage.home import Home
from storage.settings import StorageSettings

if TYPE_CHECKING:
    from engine.learning.registry import RegistrySource
    from storage.database import Database


class DatabaseSource:
    """An :class:`engine.protocols.AdapterSource` of the configured database; used by one thread at a time.

    Args:
        settings: which database.
        home: where the adapters' files are.
    """

    def __init__(self, settings: StorageSettings, home: Home) -> None:
        self._settings = settings
        self._home = home
        self._open: tuple[Database, RegistrySource] | None = None
        self._file: tuple[int, int] | None = None

    def serving(self) -> ServingTable:
        """See :meth:`engine.protocols.AdapterSource.serving`; a database that was never there has no adapters."""
        file = self._looked_up()
        if file != self._file:
            self.close()
        if self._open is None and file is not None:
            self._open = self._opened()
        self._file = file
        return self._open[1].serving() if self._open is not None else ServingTable()

    def report(self, refused: Mapping[str, str], attached: Sequence[str]) -> None:
        """See :meth:`engine.learning.registry.RegistrySource.report`; without a database nothing can be refused."""
        if self._open is not None:
            self._open[1].report(refused, attached)

    def close(self) -> None:
        """Let go of the database."""
        if self._open is not None:
            self._open[0].close()
            self._open = None

    def _looked_up(self) -> tuple[int, int] | None:
        """Which file the database is now; None where there is none yet."""
        if self._settings.postgresql_url is not None:
            return (0, 0)
        try:
            found = os.stat(self._home.database)  # noqa: PTH116
        except FileNotFoundError:
            if self._file is not None:
                self.close()
                raise StorageError(f"The database {self._home.database} is gone.", "Restore a backup.") from None
            return None
        except OSError as error:
            raise StorageError(
                f"The database {self._home.database} cannot be read.", "Run `redraft doctor`."
            ) from error
        # One of no bytes is about to be made.
        return (found.st_dev, found.st_ino) if found.st_size else None

    def _opened(self) -> tuple[Database, RegistrySource] | None:
        from engine.learning.registry import RegistrySource
        from storage import connection as connections
        from storage.database import Database
        from storage.failures import told
        from storage.schema import state_of

        engine = connections.make_engine(self._settings, self._home)
        try:
            with told(connections.where(self._settings)), connections.for_reading(engine).begin() as connection:
                state = state_of(connection)
        finally:
            engine.dispose()
        if state == "empty":
            return None  # and opening it would make it
        database = Database.open(self._settings)
        return database, RegistrySource(database, self._home)
