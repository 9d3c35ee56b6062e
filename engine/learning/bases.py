"""Which base an engine is to load: the configured one or, while adapters of another are in service, that other.

An adapter belongs to one base, tokenizer and prompt version. When ENGINE_MODEL or ENGINE_REVISION is changed, people
would from one moment to the next be served by a base that nobody measured, without what it had learned. So the base of
what is in service goes on serving, fine-tunes are made on the configured one, and the gate holds their candidates
against what serves. A promotion of such a candidate moves the base, and so does taking the last adapter of the old one
out of service. All adapters in service belong to one base (:mod:`engine.learning.promotion` keeps it so).

It knows no model: which base that is stands in the runs that made the adapters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlmodel import Session

from engine.learning.pointers import base_of, label_of
from engine.model.resolve import STARTER, identity
from engine.settings import EngineSettings
from storage import adapter_queries as queries
from storage.database import Database
from storage.errors import ModelError, RedraftError
from storage.learning_tables import AdapterRow, RunRow


@dataclass(frozen=True, slots=True)
class BaseInService:
    """The base that an engine is to load.

    Attributes:
        settings: the engine's settings, with that base in place of the configured one.
        label: the base as people know it.
        configured: whether it is the configured one.
        detail: one sentence where it is not, or where it should not be; otherwise empty.
    """

    settings: EngineSettings
    label: str
    configured: bool = True
    detail: str = ""


def base_in_service(database: Database, settings: EngineSettings) -> BaseInService:
    """Which base serves; what an engine loads, here and now.

    Raises:
        StorageError: the database cannot be used.
    """
    configured = label_of(*identity(settings, database.home.models))
    with database.read() as session:
        rows = sorted(queries.adapters(session=session, state="active"), key=lambda row: (row.state_since, row.id))
        of_base = {row.id: settings_of(session, row, settings) for row in rows}
    others = [row for row in rows if not same_base(row, of_base[row.id], settings, database)]
    if not others or len(others) < len(rows):
        return BaseInService(settings, configured)
    row, theirs = others[-1], of_base[others[-1].id]
    label = label_of(*base_of(row))
    if theirs is None:
        return BaseInService(
            settings,
            configured,
            detail=f"The adapters in service belong to {label}, which is not on this machine any more; {configured} "
            "serves without them.",
        )
    return BaseInService(
        theirs,
        label,
        configured=False,
        detail=f"{label} serves on, and not {configured} as configured, because the adapters in service belong to it; "
        f"a candidate on {configured} that is promoted takes over, or retire them with `redraft adapters retire`.",
    )


def settings_of(session: Session, row: AdapterRow, settings: EngineSettings) -> EngineSettings | None:
    """The engine's settings with an adapter's base in place of the configured one; None where that is not here.

    A directory is where the run that made the adapter found it; a model of the Hub is taken at its commit.
    """
    if row.base_model == STARTER:
        return _with(settings, STARTER, "")
    if row.base_revision:
        return _with(settings, row.base_model, row.base_revision)
    run = session.get(RunRow, row.run_id)
    named = str(run.settings.get("engine_model", "")) if run is not None else ""
    # Without its run, a directory of that name may still be the configured one.
    for candidate in (named, settings.engine_model):
        path = Path(candidate).expanduser()
        if candidate and path.is_dir() and path.resolve().name == row.base_model:
            return _with(settings, candidate, "")
    return None


def same_base(row: AdapterRow, theirs: EngineSettings | None, settings: EngineSettings, database: Database) -> bool:
    """Whether an adapter belongs to the configured base; two directories of one name are told apart by what they hold.

    Args:
        theirs: the adapter's base, as :func:`settings_of` has it.
    """
    if base_of(row) != identity(settings, database.home.models):
        return False
    if row.base_revision or row.base_model == STARTER or theirs is None:
        return True
    ours, other = (Path(each.engine_model).expanduser().resolve() for each in (settings, theirs))
    return ours == other or _fingerprint(ours) == _fingerprint(other)


def _with(settings: EngineSettings, model: str, revision: str) -> EngineSettings:
    return settings.model_copy(update={"engine_model": model, "engine_revision": revision})


def _fingerprint(directory: Path) -> str:
    from engine.model.checkpoint import fingerprint, read_checkpoint

    try:
        return fingerprint(read_checkpoint(directory, directory.name))
    except ModelError:
        return str(directory)  # the engine will say what is wrong with it


class BaseWatch:
    """Looks every so often whether another base is to be loaded than the one that was.

    Args:
        opened: opens the database where what is in service stands, or None while there is none yet.
        settings: the configured ones.
        loaded: what was loaded.
        on_change: called once, in the watch's own thread, when another is to be loaded.
        every_s: seconds between two looks.
    """

    def __init__(
        self,
        opened: Callable[[], Database | None],
        settings: EngineSettings,
        loaded: BaseInService,
        on_change: Callable[[BaseInService], None],
        *,
        every_s: float = 1.0,
    ) -> None:
        self._opened, self._settings, self._loaded = opened, settings, loaded
        self._on_change, self._every_s = on_change, every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="redraft-base", daemon=True)
        self._database: Database | None = None
        self._seen: frozenset[str] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self, wait_s: float = 5.0) -> None:
        """Look no more. One look may be waiting for a database that is locked: it is not waited for any longer."""
        self._stop.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(wait_s)

    def look(self) -> BaseInService | None:
        """The base that is to be loaded, where it is another; None while all is as it should be.

        Raises:
            StorageError: the database cannot be used.
        """
        self._database = self._database or self._opened()
        if self._database is None:
            return None
        with self._database.read() as session:
            active = frozenset(row.id for row in queries.adapters(session=session, state="active"))
        if active == self._seen:
            return None
        found = base_in_service(self._database, self._settings)
        self._seen = active
        return None if _model_of(found) == _model_of(self._loaded) else found

    def _watch(self) -> None:
        try:
            while not self._stop.wait(self._every_s):
                try:
                    found = self.look()
                except RedraftError:
                    continue  # the adapters' source has said so; what is loaded serves on
                if found is not None and not self._stop.is_set():
                    self._on_change(found)
                    return
        finally:
            if self._database is not None:
                self._database.close()


def _model_of(base: BaseInService) -> tuple[str, str]:
    return base.settings.engine_model, base.settings.engine_revision
