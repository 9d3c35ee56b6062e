"""Fine-tunes that wait for a process: which is next, what is owed after an erasure, and what died.

The command line does its own runs; these are the ones that nobody stands by: of the schedule, and after erasures. It
starts no process and watches none: whoever does asks here what is next.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from engine.learning import alerts, runs
from engine.learning.locks import run_lock
from engine.learning.settings import LearningSettings
from engine.learning.tainted import retraining_owed
from storage import run_queries, slot_queries
from storage.database import Database
from storage.errors import RedraftError, StorageError
from storage.home import Home
from storage.learning_tables import RunRow

if TYPE_CHECKING:
    from engine.settings import EngineSettings

#: A run that was stopped so often, or whose process died so often, is left to a person.
MOST_RESUMED = 3
_UNATTENDED = ("schedule", "erasure")
_RETRAIN = "retrain"
_KEPT = timedelta(days=60)


def next_run(database: Database, home: Home) -> RunRow | None:
    """The run to start a process for now; None while one is under way here, or none waits.

    Those that were never begun come first come first served, before those that were stopped. A stopped one is resumed
    unless a newer one of its scope was begun, and :data:`MOST_RESUMED` times at most.

    Raises:
        StorageError: the database cannot be used.
    """
    with database.read() as session:
        rows = run_queries.runs(session=session)
    # Of other machines' runs there is no directory here.
    here = [row for row in rows if row.state in ("queued", "running", "stopped") and _is_here(home, row)]
    if any(runs.alive(home, row.id) for row in here):
        return None
    newest = {row.scope: row.id for row in reversed(rows)}
    queued = [row for row in here if row.state == "queued" and row.pid == 0 and row.cause in _UNATTENDED]
    stopped = [
        row
        for row in here
        if row.state == "stopped"
        and row.cause in _UNATTENDED
        and row.resumed < MOST_RESUMED
        and newest[row.scope] == row.id
    ]
    return min(queued or stopped, key=lambda row: (row.created_at, row.id), default=None)


def tell_dead(database: Database, rows: Iterable[RunRow], *, now: datetime) -> None:
    """Raise the alert of runs whose process died; a run that is finished later clears it.

    Raises:
        StorageError: the database cannot be used.
    """
    dead = list(rows)
    if not dead:
        return
    with database.write() as session:
        for row in dead:
            message = "Its process died; it goes on from its last checkpoint by itself."
            if row.cause not in _UNATTENDED or row.resumed >= MOST_RESUMED:
                message = f"Its process died; go on with it: redraft train --resume {row.id}"
            alerts.run_failed(session, scope=row.scope, run_id=row.id, message=message, now=now)


def retrain(
    database: Database, home: Home, settings: LearningSettings, engine: EngineSettings, *, now: datetime
) -> tuple[list[RunRow], dict[str, str]]:
    """Begin the runs that erasures have left owed; each scope is tried once an hour, by one process.

    Returns:
        The runs that were begun, and why a scope got none.

    Raises:
        StorageError: the database cannot be used.
    """
    with database.read() as session:
        owed = retraining_owed(session, now)
    begun: list[RunRow] = []
    refused: dict[str, str] = {}
    moment = now.astimezone(UTC)
    slot = f"{moment:%Y-%m-%dT%H}"
    for scope in owed:
        job = f"{_RETRAIN}:{scope}"
        with database.write() as session:
            mine = slot_queries.claim(session=session, job=job, slot=slot, now=moment, abandoned=moment - _KEPT)
            if mine:
                slot_queries.finish(session=session, job=job, slot=slot, now=moment)
                slot_queries.forget(session=session, job=job, before=moment - _KEPT, keep=slot)
        if not mine:
            continue
        try:
            begun.append(
                runs.start_run(
                    database, home, settings=settings, engine=engine, scope=scope, cause="erasure", by="redraft",
                    now=moment,
                )
            )  # fmt: skip
        except StorageError:
            raise
        except RedraftError as error:
            refused[scope] = error.message
    return begun, refused


def _is_here(home: Home, row: RunRow) -> bool:
    return run_lock(home, row.id).parent.is_dir()
