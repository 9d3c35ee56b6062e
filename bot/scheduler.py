"""Scheduled jobs of the bot's process: today the daily one, which enforces retention.

APScheduler keeps time; what is due is decided from our own table, so that a job missed while the machine was off runs
once at the next start, and one that was done is not done again by a second process. Jobs run in a thread: the event
loop, which answers chat platforms' heartbeats, is never blocked by the database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger

from storage.database import Database
from storage.errors import RedraftError
from storage.retention import JOB, enforce_slot
from storage.settings import StorageSettings


def local_now() -> datetime:
    """The present moment in the machine's own time zone, aware."""
    return datetime.now(UTC).astimezone()


class Scheduler:
    """Runs the daily job at its time, and at once when today's or yesterday's was missed.

    Args:
        database: where the jobs work and where the slots that were run are kept.
        storage: says how long conversations are kept.
        daily_job_time: local time of day, ``HH:MM``.
        now: the clock, for tests.
    """

    def __init__(
        self,
        *,
        database: Database,
        storage: StorageSettings,
        daily_job_time: str,
        now: Callable[[], datetime] = local_now,
    ) -> None:
        self._database = database
        self._storage = storage
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
        self._scheduler.start()

    async def stop(self) -> None:
        """Stop keeping time; a job under way has finished before the loop ends."""
        self._scheduler.shutdown(wait=False)

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
        done = enforce_slot(self._database, self._storage, slot=self.latest_slot(), now=self._now())
        if done is None:
            return False
        self._log.info("daily job done", job=JOB, conversations=done.conversations, copies=done.copies)
        return True
