"""Fine-tunes that nobody stands by: begun when the schedule or an erasure owes one, one process at a time, watched.

What is owed and what is next is decided in :mod:`engine.learning`. A process that this one has started ends with it: it
gets SIGTERM, writes a checkpoint, and is resumed at the next start. One that was left behind by a bot that was killed
goes on; its run is seen to be under way by its lock.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable
from datetime import datetime

import structlog

from engine.learning import runs, waiting
from engine.learning.settings import LearningSettings
from engine.learning.slots import TrainingSchedule
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import RedraftError
from storage.home import Home
from storage.learning_tables import RunRow

#: A checkpoint of a large adapter takes seconds; a child that needs longer ends later, by itself.
_CHECKPOINT_S = 20.0


class FineTunes:
    """Looks at what is owed, whenever it is told to; belongs to one thread at a time.

    Args:
        database: where runs and slots are.
        home: where runs have their directories.
        settings: of the learning loop.
        engine: the base that is trained on.
        schedule: what the schedule owes; by default that of the settings.
        spawn: starts the process of a run.
    """

    def __init__(
        self,
        database: Database,
        home: Home,
        settings: LearningSettings,
        engine: EngineSettings,
        *,
        schedule: TrainingSchedule | None = None,
        spawn: Callable[[Home, str], subprocess.Popen[bytes]] = runs.spawn,
    ) -> None:
        self._database, self._home, self._settings, self._engine = database, home, settings, engine
        self._schedule = schedule or TrainingSchedule(database, home, settings, engine)
        self._spawn = spawn
        self._child: tuple[str, subprocess.Popen[bytes]] | None = None
        # `look` runs in a thread, which may be starting a process while the bot is told to end.
        self._lock = threading.Lock()
        self._stopped = False
        self._log = structlog.get_logger("fine-tunes")

    @property
    def under_way(self) -> str:
        """The run whose process this one has started and not yet seen end; empty without one."""
        return self._child[0] if self._child is not None else ""

    def look(self, now: datetime) -> None:
        """See what has ended, begin what is owed, and start a process for what is next. A failure is logged.

        Args:
            now: aware.
        """
        with self._lock:
            if self._stopped:
                return
            for name, step in (
                ("ended", self._see_ended),
                ("schedule", self._begin_scheduled),
                ("erasures", self._begin_retraining),
                ("start", self._start_next),
            ):
                try:
                    step(now)
                except RedraftError as error:
                    self._log.error("fine-tunes were not looked after", step=name, reason=error.message)
                except Exception:
                    self._log.exception("fine-tunes were not looked after", step=name)

    def stop(self, wait_s: float = _CHECKPOINT_S) -> None:
        """Start nothing more; have the process under way write its checkpoint and end, and wait for that a while."""
        with self._lock:
            self._stopped = True
            if self._child is None:
                return
            run, process = self._child
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(wait_s)
            except subprocess.TimeoutExpired:
                self._log.warning("the fine-tune takes longer to end; it does so by itself", run=run)
            else:
                self._log.info("the fine-tune has ended with the bot", run=run, code=code)

    def _see_ended(self, now: datetime) -> None:
        ended: list[str] = []
        if self._child is not None and (code := self._child[1].poll()) is not None:
            self._log.info("the fine-tune has ended", run=self._child[0], code=code)
            ended.append(self._child[0])
            self._child = None
        found = runs.recover(self._database, self._home, now=now, ended=ended)
        dead = [row for row in found if row.pid or row.id in ended]  # the others only waited long for their turn
        for row in dead:
            self._log.error("the process of a fine-tune died", run=row.id, scope=row.scope)
        waiting.tell_dead(self._database, dead, now=now)

    def _begin_scheduled(self, now: datetime) -> None:
        done = self._schedule.work_off(now)
        if done.slot:
            self._log.info("the schedule was looked at", slot=done.slot, too_few_new_pairs=done.waiting)
        self._tell(done.started, done.refused)

    def _begin_retraining(self, now: datetime) -> None:
        self._tell(*waiting.retrain(self._database, self._home, self._settings, self._engine, now=now))

    def _tell(self, begun: list[RunRow], refused: dict[str, str]) -> None:
        for row in begun:
            self._log.info("a fine-tune was begun", run=row.id, scope=row.scope, cause=row.cause)
        for scope, why in refused.items():
            self._log.warning("a fine-tune was refused", scope=scope, reason=why)

    def _start_next(self, now: datetime) -> None:
        if self._child is not None:
            return
        row = waiting.next_run(self._database, self._home)
        if row is not None:
            self._child = (row.id, self._spawn(self._home, row.id))
            self._log.info("the process of a fine-tune was started", run=row.id, scope=row.scope)
