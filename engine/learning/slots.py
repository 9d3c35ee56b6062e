"""Which fine-tunes the schedule owes: a slot is worked off once, whoever looks first, and only the newest missed one.

A slot starts a run in every scope that has enough new pairs. What was owed while nothing ran is made up for at the next
look, once. Slots from before a schedule was first seen are not owed, so that a new installation, or a new expression,
does not begin with a run at noon. It starts no process: whoever watches the children does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from sqlmodel import Session

from engine.learning.planned import JOB, KNOWN, in_force
from engine.learning.schedule import latest_slot, slot_name, wall_clock, zone_of
from engine.learning.settings import LearningSettings
from storage import queries, slot_queries
from storage.database import Database
from storage.errors import RedraftError, StorageError
from storage.home import Home
from storage.learning_tables import RunRow

if TYPE_CHECKING:
    from engine.settings import EngineSettings

#: A slot that somebody took and did not finish within this time is taken again: their process has died.
_ABANDONED = timedelta(minutes=15)
#: Slots are of no use after so long, but for the newest.
_KEPT = timedelta(days=60)


class Starting(Protocol):
    """:func:`engine.learning.runs.start_run`, as it is called here."""

    def __call__(
        self,
        database: Database,
        home: Home,
        *,
        settings: LearningSettings,
        engine: EngineSettings,
        scope: str,
        cause: str,
        by: str,
        slot: str,
        now: datetime,
    ) -> RunRow:
        """Begin a run."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a look at the schedule came to.

    Attributes:
        slot: the slot that was worked off, or empty where none was owed.
        started: the runs that were begun; their processes are not started yet.
        refused: why a scope with enough new pairs got none, by scope; our own sentences.
        waiting: the scopes that had too few new pairs.
    """

    slot: str = ""
    started: list[RunRow] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)


class TrainingSchedule:
    """The schedule of a data directory.

    Args:
        database: where slots, pairs and runs are.
        home: where a run's directory is made.
        settings: the schedule, its zone and how many new pairs a run wants.
        engine: the base model of a run.
        scopes: which scopes have anything to train on; by default :func:`engine.learning.selection.trainable_scopes`.
        due: how many new pairs, 0 where they are too few; by default :func:`engine.learning.runs.due`.
        start: begins a run; by default :func:`engine.learning.runs.start_run`.
    """

    def __init__(
        self,
        database: Database,
        home: Home,
        settings: LearningSettings,
        engine: EngineSettings,
        *,
        scopes: Callable[[Session, LearningSettings], Sequence[str]] | None = None,
        due: Callable[[Session, str, LearningSettings], int] | None = None,
        start: Starting | None = None,
    ) -> None:
        self._database, self._home, self._settings, self._engine = database, home, settings, engine
        self._scopes, self._due, self._start = scopes or _trainable, due or _due, start or _start

    def owed(self, now: datetime) -> str:
        """The slot that is owed now, as rows keep it; empty where none is.

        Args:
            now: aware.

        Raises:
            StorageError: the database cannot be used.
        """
        return self._owed(now)[0]

    def _owed(self, now: datetime) -> tuple[str, LearningSettings]:
        """The slot, and the settings with the schedule that is in force."""
        with self._database.read() as session:
            settings = in_force(session, self._settings).applied(self._settings)
        return self._slot(now, settings), settings

    def _slot(self, now: datetime, settings: LearningSettings) -> str:
        zone = zone_of(settings.train_timezone)
        slot = latest_slot(settings.train_schedule, wall_clock(now, zone))
        if slot is None:
            return ""
        name, moment = slot_name(slot), now.astimezone(UTC)
        with self._database.read() as session:
            if queries.job_recorded(session=session, job=JOB, slot=name):
                return ""
        schedule = f"{settings.train_schedule} {settings.train_timezone}".strip()
        with self._database.write() as session:
            since = slot_queries.known_since(session=session, job=KNOWN, slot=schedule, now=moment)
            if slot < wall_clock(since, zone):
                queries.record_job(session=session, job=JOB, slot=name, started=moment, finished=moment)
                return ""
        return name

    def work_off(self, now: datetime) -> Outcome:
        """Begin the runs that the newest slot owes; harmless when repeated, and beside another process.

        A run that is refused (nothing authorised, one under way) is not tried again before the next slot.

        Raises:
            StorageError: the database cannot be used; what was not begun is still owed.
        """
        slot, settings = self._owed(now)
        if not slot:
            return Outcome()
        done, moment = Outcome(slot), now.astimezone(UTC)
        with self._database.read() as session:
            scopes = list(self._scopes(session, settings))
        others: list[str] = []
        for scope in scopes:
            job = f"{JOB}:{scope}"
            with self._database.write() as session:
                mine = slot_queries.claim(
                    session=session, job=job, slot=slot, now=moment, abandoned=moment - _ABANDONED
                )
                begun = mine and slot_queries.run_exists(session=session, scope=scope, slot=slot)
            if not mine:
                others.append(job)
                continue
            if not begun:
                with self._database.read() as session:
                    enough = bool(self._due(session, scope, settings))
                if enough:
                    self._begin(scope, slot, moment, done)
                else:
                    done.waiting.append(scope)
            with self._database.write() as session:
                slot_queries.finish(session=session, job=job, slot=slot, now=moment)
        # Looked at last: whoever finishes last among several finds all of it done and closes the slot.
        with self._database.read() as session:
            whole = all(queries.job_recorded(session=session, job=job, slot=slot) for job in others)
        if whole:
            with self._database.write() as session:
                queries.record_job(session=session, job=JOB, slot=slot, started=moment, finished=moment)
                slot_queries.forget(session=session, job=JOB, before=moment - _KEPT, keep=slot)
        return done

    def _begin(self, scope: str, slot: str, now: datetime, done: Outcome) -> None:
        try:
            done.started.append(
                self._start(
                    self._database,
                    self._home,
                    settings=self._settings,
                    engine=self._engine,
                    scope=scope,
                    cause="schedule",
                    by="redraft",
                    slot=slot,
                    now=now,
                )
            )
        except StorageError:
            raise
        except RedraftError as error:
            done.refused[scope] = error.message


def _trainable(session: Session, settings: LearningSettings) -> Sequence[str]:
    from engine.learning.selection import trainable_scopes

    return trainable_scopes(session, settings)


def _due(session: Session, scope: str, settings: LearningSettings) -> int:
    from engine.learning.runs import due

    return due(session, scope, settings)


def _start(database: Database, home: Home, **given: Any) -> RunRow:
    from engine.learning.runs import start_run

    return start_run(database, home, **given)
