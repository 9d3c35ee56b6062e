"""What all screens of a console share: the database, the settings, who sits in front of it, and what time it is.

The database is opened by the first thread that needs it, so that the first screen is painted before anything is read;
one that is locked, gone or of another schema is told by whatever was asked of it, and tried again by the next call.
It knows no widget. Every method blocks: call it in a thread (:func:`in_thread`).
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, TypeVar

from admin.console.link import EngineLink
from storage.errors import RedraftError

if TYPE_CHECKING:
    from admin.doctor import Finding
    from engine.learning.settings import LearningSettings
    from engine.settings import EngineSettings
    from storage.database import Database
    from storage.search import SearchIndex
    from storage.settings import StorageSettings

T = TypeVar("T")


class EvaluationFailed(RedraftError):
    """A gate that was begun from here came to nothing."""


async def in_thread(call: Callable[[], T]) -> T:
    """The result of a call that blocks, made in a thread that nobody has to wait for when the console ends.

    asyncio's own threads are joined at the end: a database that is locked would keep a console that was told to quit
    on the screen for half a minute.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def told(settle: Callable[..., None], value: object) -> None:
        if not future.done():
            settle(value)

    def run() -> None:
        try:
            result = call()
        except BaseException as error:
            settle, value = future.set_exception, error
        else:
            settle, value = future.set_result, result  # type: ignore[assignment]
        try:
            loop.call_soon_threadsafe(told, settle, value)
        except RuntimeError:
            return  # the console has ended meanwhile

    threading.Thread(target=run, name="console", daemon=True).start()
    return await future


class Store:
    """The console's way to everything outside it.

    Args:
        by: who sits in front of it, as the ledger names them: ``local:maria``.
        read_only: refuse every call that would change something.
        now: the time; tests and pictures have one that stands still.
        zone: the zone that times are shown in; None is the machine's own.
        examine: what the doctor says; by default :func:`admin.doctor.examine`.
    """

    def __init__(
        self,
        *,
        by: str,
        read_only: bool = False,
        now: Callable[[], datetime] | None = None,
        zone: tzinfo | None = None,
        examine: Callable[[], Iterable[Finding]] | None = None,
    ) -> None:
        self.by = by
        self.read_only = read_only
        self.zone = zone
        self._now = now
        self._examine = examine
        self._lock = threading.Lock()
        self._opened: tuple[Database, int] | None = None
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self.link = EngineLink()
        self._index: SearchIndex | None = None
        #: One change at a time, in the order of the keys that asked for them.
        self.turn = asyncio.Lock()

    def now(self) -> datetime:
        """The time, aware."""
        return (self._now or _utc_now)()

    @property
    def clock(self) -> datetime | None:
        """What rules are told of the time: None, which is the real one, unless it stands still."""
        return self._now() if self._now else None

    def storage_settings(self) -> StorageSettings:
        """Read anew at each call: a setting that was corrected holds without a restart.

        Raises:
            SettingsError: a setting cannot be used.
        """
        from storage.settings import StorageSettings

        return StorageSettings.load()

    def learning(self) -> LearningSettings:
        """The learning loop's settings.

        Raises:
            SettingsError: a setting cannot be used.
        """
        from engine.learning.settings import LearningSettings

        return LearningSettings.load()

    def engine(self) -> EngineSettings:
        """The engine's settings.

        Raises:
            SettingsError: a setting cannot be used.
        """
        from engine.settings import EngineSettings

        return EngineSettings.load()

    def database(self) -> Database:
        """The database, for reading.

        Raises:
            SchemaError: its schema is not this program's.
            StorageError: it cannot be used, or its file is not there any more.
        """
        from storage.database import Database
        from storage.errors import StorageError

        with self._lock:
            if self._opened is None:
                database = Database.open(self.storage_settings())
                self._opened = (database, _file_of(database))
            database, file = self._opened
            if file and (there := _file_of(database)) != file:
                # Connections would go on with the file that was deleted, and write into nothing.
                database.close()
                self._opened = None
                if not there:
                    raise StorageError(
                        f"The file of {database.where} is not there any more.",
                        "Put it back (`redraft restore DIR`); r looks again, and makes one where there is none.",
                    )
                database = Database.open(self.storage_settings())
                self._opened = (database, _file_of(database))
            return database

    def writable(self) -> Database:
        """The database, for changing something.

        Raises:
            NotPermitted: this console was started with ``--read-only``.
            StorageError: as :meth:`database`.
        """
        if self.read_only:
            from storage.errors import NotPermitted

            raise NotPermitted("This console only reads.", "Start one without --read-only to change something.")
        return self.database()

    def examine(self) -> Iterable[Finding]:
        """The doctor's findings, as each comes."""
        if self._examine is not None:
            return self._examine()
        from admin.doctor import examine

        return examine()

    def spawn(self, run_id: str) -> None:
        """Start the process of a run; it outlives the console."""
        from engine.learning.runs import spawn

        child = spawn(self.database().home, run_id)
        with self._lock:
            self._children[run_id] = child

    def evaluate(self, adapter: str) -> None:
        """Have an adapter measured by `redraft evaluate`, in a process that outlives the console; until it has ended.

        Raises:
            NotPermitted: this console only reads.
            EvaluationFailed: it came to nothing, in the words of the command.
            StorageError: its output has no place in the data directory.
        """
        from storage.errors import StorageError

        home = self.writable().home
        path = home.logs / f"evaluate-{adapter}.log"
        try:
            log = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be written.", "Run `redraft doctor`.") from error
        with os.fdopen(log, "rb+") as said:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "admin.cli", "evaluate", adapter, "--json"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env={**os.environ, "REDRAFT_HOME": str(home.root)},
                start_new_session=True,
            )
            if child.wait() == 0:
                path.unlink(missing_ok=True)
                return
            said.seek(0)
            lines = [line.strip() for line in said.read().decode("utf-8", "replace").splitlines() if line.strip()]
        told = " ".join(lines[-2:]).removeprefix("redraft: ") or f"It ended with code {child.returncode}."
        raise EvaluationFailed(f"{adapter} was not measured. {told}")

    def ended(self) -> tuple[str, ...]:
        """The runs whose processes were started here and have ended since this was last asked."""
        with self._lock:
            over = tuple(run_id for run_id, child in self._children.items() if child.poll() is not None)
            for run_id in over:
                del self._children[run_id]
        return over

    @property
    def index(self) -> SearchIndex:
        """What is searched in; made by the first search."""
        from storage.search import SearchIndex

        with self._lock:
            if self._index is None:
                self._index = SearchIndex()
            return self._index

    def mark(self) -> object:
        """Something that is another thing once anybody has written to the database; None where that cannot be told.

        Asked on the event loop, so it takes no lock: whoever opens a database that is locked holds that for seconds.
        """
        opened = self._opened
        if opened is None or opened[0].kind != "sqlite":
            return None
        path = opened[0].home.database
        found = []
        for one in (path, path.with_name(path.name + "-wal")):
            try:
                seen = one.stat()
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((seen.st_mtime_ns, seen.st_size, seen.st_ino))
        return tuple(found)

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            opened, self._opened = self._opened, None
        if opened is not None:
            opened[0].close()


def _file_of(database: Database) -> int:
    """The file's number on its disk; 0 where there is none, as with PostgreSQL."""
    if database.kind != "sqlite":
        return 0
    try:
        return os.stat(database.home.database).st_ino  # noqa: PTH116 - a number is all that is wanted
    except OSError:
        return 0


def _utc_now() -> datetime:
    return datetime.now(UTC)
