"""Scheduled jobs of the bot's process: the daily one, and a look at fine-tunes every few seconds.

APScheduler keeps time; what is due is decided from our own table, so that a job missed while the machine was off runs
once at the next start, and one that was done is not done again by a second process. Jobs run in a thread: the event
loop, which answers chat platforms' heartbeats, is never blocked by the database. What the jobs do is not known here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from bot.fine_tunes import FineTunes
from engine.learning import daily
from engine.learning.settings import LearningSettings
from storage import queries
from storage.database import Database
from storage.errors import RedraftError
from storage.retention import JOB, enforce_slot
from storage.settings import StorageSettings

#: A slot of the training schedule is worked off so many seconds after its minute has begun, at most.
_LOOK_EVERY_S = 10


def local_now() -> datetime:
    """The present moment in the machine's own time zone, aware."""
    return datetime.now(UTC).astimezone()


class Scheduler:
    """Runs the daily job at its time, and at once when today's or yesterday's was missed; looks after fine-tunes.

    Args:
        database: where the jobs work and where the slots that were run are kept.
        storage: says how long conversations are kept.
        learning: of the learning loop.
        daily_job_time: local time of day, ``HH:MM``.
        fine_tunes: what is owed and under way; None looks after none.
        now: the clock, for tests.
    """

    def __init__(
        self,
        *,
        database: Database,
        storage: StorageSettings,
        learning: LearningSettings,
        daily_job_time: str,
        fine_tunes: FineTunes | None = None,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self._database = database
        self._storage = storage
        self._learning = learning
        self._fine_tunes = fine_tunes
        self._hour, self._minute = (int(part) for part in daily_job_time.split(":"))
        self._now = now
        self._scheduler = AsyncIOScheduler()
        self._log = structlog.get_logger("scheduler")

    async def start(self) -> None:
        """Catch up on a missed slot, then keep time."""
        await self.run_due()
        trigger = CronTrigger(hour=self._hour, minute=self._minute)
        # However late the machine wakes up, one run is owed and not one for each day that was slept through.
        self._scheduler.add_job(self.run_due, trigger, id=JOB, misfire_grace_time=None, coalesce=True)
        if self._fine_tunes is not None:
            # By the wall clock at every look, and not by an alarm at the due time: clocks are set, machines sleep.
            every = IntervalTrigger(seconds=_LOOK_EVERY_S)
            look = {"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
            self._scheduler.add_job(self._look, every, id="fine-tunes", next_run_time=datetime.now(UTC), **look)
        self._scheduler.start()

    async def stop(self) -> None:
        """Stop keeping time; a job under way has finished before the loop ends. A fine-tune writes its checkpoint."""
        self._scheduler.shutdown(wait=False)
        if self._fine_tunes is not None:
            await asyncio.to_thread(self._fine_tunes.stop)

    def latest_slot(self) -> str:
        """The local date of the newest slot whose time has come, as ISO 8601: the key that makes a slot run once.

        A date, not a moment: when clocks go back, the same local time comes twice and is still one slot.
        """
        now = self._now()
        due = now.replace(hour=self._hour, minute=self._minute, second=0, microsecond=0)
        return (now if now >= due else now - timedelta(days=1)).date().isoformat()

    async def run_due(self) -> bool:
        """Run the daily job unless its slot was run already; returns whether it ran.

        A failure of any kind is logged and ends here: the bot goes on without this one run.
        """
        try:
            return await asyncio.to_thread(self._run)
        except RedraftError as error:
            self._log.error("daily job failed", job=JOB, reason=error.message)
        except Exception:
            self._log.exception("daily job failed", job=JOB)
        return False

    def _run(self) -> bool:
        slot, now = self.latest_slot(), self._now()
        ran = self._run_parts(slot, now)
        done = enforce_slot(self._database, self._storage, slot=slot, now=now)
        if done is not None:
            self._log.info("daily job done", job=JOB, conversations=done.conversations, copies=done.copies)
        return ran or done is not None

    def _run_parts(self, slot: str, now: datetime) -> bool:
        """The learning loop's part; recorded apart, because retention also runs after a summary on the command line."""
        with self._database.read() as session:
            if queries.job_recorded(session=session, job=daily.JOB, slot=slot):
                return False
        failed = False
        for name, part in daily.parts(self._database, self._database.home, self._storage, self._learning, now).items():
            try:
                part()
            except RedraftError as error:
                failed = True
                self._log.error("daily job failed", job=name, reason=error.message)
            except Exception:
                failed = True
                self._log.exception("daily job failed", job=name)
        if not failed:
            before = now - timedelta(days=self._storage.retention_days)
            with self._database.write() as session:
                queries.record_job(session=session, job=daily.JOB, slot=slot, started=now, finished=now)
                queries.delete_old_slots(session=session, job=daily.JOB, before=before)
        return True

    async def _look(self) -> None:
        assert self._fine_tunes is not None
        await asyncio.to_thread(self._fine_tunes.look, self._now())
