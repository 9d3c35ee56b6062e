"""What the chat platforms ask for, accepted by one insert and then done, once, whatever happens in between.

:class:`Intake` stores what was delivered under the delivery's key and says whether it is new; whoever calls it
acknowledges right after. Deliveries that come at once share a transaction. :class:`Runner` works jobs off in two lanes
(those that wait for the model, and the rest), keeps a lease on what it works at, and takes over what a process that
died has left. It knows no platform: handlers are given by name. Payloads go when a job has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import structlog

from bot.owners import is_dead, this_process
from storage import chat_queries as queries
from storage.chat_queries import Line
from storage.chat_tables import ChatJobRow
from storage.database import Database
from storage.errors import RedraftError, SettingsError, StorageError

Lane = Literal["summary", "light"]

#: How long a job belongs to a process that says nothing more; one on this machine that ended is known at once.
_LEASE = timedelta(seconds=30)
_RENEW_S = 8.0
#: How often is looked for jobs that another process has accepted, or that are due again.
_LOOK_S = 1.0
#: Jobs of this kind, by which platforms tell of edits and deletions, come in floods and nobody waits for them: they
#: have a few places of their own in place of those of the light lane.
PATIENT = "changed"
_PATIENT_AT_ONCE = 3
_LINES: Mapping[str, Line] = {
    "summary": Line("summary"),
    "light": Line("light", without=frozenset({PATIENT})),
    PATIENT: Line("light", only=frozenset({PATIENT})),
}
#: A job that broke is begun so often in all; each time it waits longer.
_ATTEMPTS = 4
#: Keys of ended jobs are known so long: platforms deliver again within hours.
_KEPT = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Job:
    """Something to be done for somebody; see :class:`storage.chat_tables.ChatJobRow`."""

    key: str
    platform: str
    kind: str
    lane: Lane
    person: str = ""
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of a delivery: whether it is ``new``, and how many jobs of its lane were ``ahead`` of it."""

    new: bool
    ahead: int


class Later(Exception):
    """Raised by a handler: do this job again after so many seconds; it counts as no failed attempt."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class TakenOver(Exception):
    """The job is another process's by now: its lease ran out here. Handlers let it pass."""


class Intake:
    """Accepts jobs: on return they are stored.

    Args:
        database: where.
        accepted: called in the loop when something new was stored, to wake whoever works it off.
        now: the clock, for tests.
    """

    def __init__(
        self,
        database: Database,
        accepted: Callable[[], None] = lambda: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database, self._accepted, self._now = database, accepted, now
        # A thread of its own: those that all share may be waiting for the database with other work.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="intake")
        self._waiting: list[tuple[Job, asyncio.Future[Accepted]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def accept(self, job: Job) -> Accepted:
        """Store a job, unless its key is known.

        Raises:
            StorageError: it could not be stored; it was not accepted.
        """
        future: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                jobs = [job for job, _ in batch]
                told = await asyncio.get_running_loop().run_in_executor(self._thread, self._store, jobs)
            except Exception as error:
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), accepted in zip(batch, told, strict=True):
                if not future.done():
                    future.set_result(accepted)
            if any(accepted.new for accepted in told):
                self._accepted()

    def _store(self, jobs: list[Job]) -> list[Accepted]:
        moment = self._now()
        rows = []
        for number, job in enumerate({job.key: job for job in reversed(jobs)}.values()):
            # Microseconds keep those of one batch in the order in which they came.
            at = moment + timedelta(microseconds=len(jobs) - 1 - number)
            rows.append(
                ChatJobRow(
                    key=job.key, platform=job.platform, kind=job.kind, lane=job.lane, person=job.person,
                    payload=job.payload, accepted_at=at, due_at=at,
                )
            )  # fmt: skip
        with self._database.write() as session:
            before = {lane: queries.count_before(session=session, lane=lane) for lane in {job.lane for job in jobs}}
            new = queries.insert_jobs(session=session, jobs=rows)
        told = []
        for job in jobs:
            told.append(Accepted(job.key in new, before[job.lane]))
            before[job.lane] += job.key in new
            new.discard(job.key)
        return told


class Working:
    """A job under way, as its handler sees it.

    Attributes:
        job: what is to be done.
        attempts: how often it was begun, this time included.
        accepted_at: when it was accepted.
        progress: what was done of it before.
    """

    def __init__(self, runner: Runner, row: ChatJobRow) -> None:
        self.job = Job(row.key, row.platform, row.kind, _lane(row.lane), row.person, dict(row.payload))
        self.attempts, self.accepted_at = row.attempts, row.accepted_at
        self.progress: dict[str, Any] = dict(row.progress)
        self._runner = runner

    @property
    def last_attempt(self) -> bool:
        """Whether it is not begun again if it breaks now."""
        return self.attempts >= _ATTEMPTS

    async def save(self, **progress: Any) -> None:
        """Remember what is done of it, so that whoever does it again begins from there.

        Raises:
            StorageError: it cannot be stored.
            TakenOver: another process is at the job by now, so that this one must do no more of it.
        """
        self.progress |= progress
        if not await asyncio.to_thread(self._runner.store, self.job.key, {"progress": self.progress}):
            raise TakenOver


Handler = Callable[[Working], Awaitable[None]]


class Runner:
    """Works jobs off until it is stopped.

    Args:
        database: where they are.
        handlers: what does a job, by platform and kind.
        failed: called with a job that will not be tried again, and why, to tell the person; may be None.
        lanes: how many jobs of each lane at once.
    """

    def __init__(
        self,
        database: Database,
        handlers: Mapping[tuple[str, str], Handler],
        *,
        failed: Callable[[Working, RedraftError | None], Awaitable[None]] | None = None,
        lanes: Mapping[Lane, int],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database, self._handlers, self._failed = database, handlers, failed
        self._now = now
        self._most: dict[str, int] = {str(lane): most for lane, most in lanes.items()} | {
            PATIENT: min(_PATIENT_AT_ONCE, lanes.get("light", 0))
        }
        self._owner = this_process()
        self._tasks: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._wake = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []
        self._log = structlog.get_logger("jobs")

    @property
    def running(self) -> int:
        """How many jobs are under way here."""
        return len(self._tasks)

    def wake(self) -> None:
        """There may be something to do."""
        self._wake.set()

    def start(self) -> None:
        """Begin to work."""
        self._loops = [asyncio.create_task(self._look()), asyncio.create_task(self._renew())]

    async def stop(self, grace_s: float = 3.0) -> None:
        """Take nothing more; what does not end within the grace waits for the next process."""
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        tasks = [task for _, task in self._tasks.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._take()
            except StorageError as error:
                self._log.warning("jobs were not looked for", reason=error.message)
            except Exception as error:
                self._log.error("looking for jobs broke", exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._wake.wait()

    async def _take(self) -> None:
        """Begin what can be begun."""
        room = {line: most - sum(of == line for of, _ in self._tasks.values()) for line, most in self._most.items()}
        if not any(number > 0 for number in room.values()):
            return
        rows = await asyncio.to_thread(self._claim, room, frozenset(self._tasks))
        for row in rows:
            working = Working(self, row)
            task = asyncio.create_task(self._work(working))
            line = PATIENT if row.kind == PATIENT and row.lane == "light" else row.lane
            self._tasks[row.key] = (line, task)
            task.add_done_callback(functools.partial(self._ended, row.key))

    def _ended(self, key: str, _task: asyncio.Task[None]) -> None:
        self._tasks.pop(key, None)
        self._wake.set()

    def _claim(self, room: Mapping[str, int], under_way: frozenset[str]) -> list[ChatJobRow]:
        """Take jobs on; none of those that are ``under_way`` here, even where their leases have run out."""
        moment = self._now()
        platforms = {platform for platform, _ in self._handlers}
        lines = [_LINES[line] for line, number in room.items() if number > 0]
        with self._database.read() as session:
            owners = queries.other_owners(session=session, owner=self._owner)
        dead = [owner for owner in owners if is_dead(owner)]
        # Nobody's turn to write is taken for a look that finds nothing.
        with self._database.read() as session:
            if not queries.any_claimable(
                session=session, lines=lines, platforms=platforms, dead=dead, but=under_way, now=moment
            ):
                return []
        rows: list[ChatJobRow] = []
        with self._database.write() as session:
            for line, number in room.items():
                if number > 0:
                    rows += queries.claim_jobs(
                        session=session, line=_LINES[line], platforms=platforms, limit=number, owner=self._owner,
                        dead=dead, but=under_way, now=moment, lease_until=moment + _LEASE,
                    )  # fmt: skip
        return rows

    async def _renew(self) -> None:
        cleaned = datetime.min.replace(tzinfo=UTC)
        while True:
            await asyncio.sleep(_RENEW_S)
            moment = self._now()
            clean = moment - cleaned > timedelta(hours=1)
            under_way = frozenset(self._tasks)
            try:
                if under_way or clean:
                    self._let_go(under_way - await asyncio.to_thread(self._keep, moment, under_way, clean))
            except StorageError as error:
                self._log.warning("leases were not renewed", reason=error.message)
            except Exception as error:
                self._log.error("renewing leases broke", exc_info=error)
            else:
                cleaned = moment if clean else cleaned

    def _keep(self, moment: datetime, under_way: frozenset[str], clean: bool) -> frozenset[str]:
        """Renew the leases of the jobs that are under way here; those of them that still are this process's."""
        with self._database.write() as session:
            ours = queries.renew_leases(
                session=session, owner=self._owner, keys=under_way, lease_until=moment + _LEASE
            )  # fmt: skip
            if clean:
                queries.delete_ended_jobs(session=session, before=moment - _KEPT)
        return ours

    def _let_go(self, lost: frozenset[str]) -> None:
        """Stop doing what another process is at by now, or has done."""
        for key in lost & self._tasks.keys():
            self._log.warning("a job was taken over by another process")
            self._tasks[key][1].cancel()

    async def _work(self, working: Working) -> None:
        job = working.job
        handler = self._handlers.get((job.platform, job.kind))
        end: dict[str, Any]
        try:
            if handler is None:
                raise StorageError(f"Nothing here knows how to do {job.kind!r}.")
            if working.attempts > _ATTEMPTS:
                # Whoever began it last died over it, as those before did.
                raise StorageError("It was begun too often.")
            await handler(working)
            end = {"state": "done"}
        except asyncio.CancelledError:
            await asyncio.shield(
                asyncio.to_thread(
                    self.store, job.key, {"state": "waiting", "owner": "", "attempts": working.attempts - 1}
                )
            )
            raise
        except TakenOver:
            self._log.warning("a job was taken over by another process", kind=job.kind)
            return
        except Later as later:
            due = self._now() + timedelta(seconds=later.seconds)
            end = {"state": "waiting", "owner": "", "due_at": due, "attempts": working.attempts - 1}
        except SettingsError:
            # A token that was refused: the process is about to end, and the next one may have another.
            due = self._now() + timedelta(seconds=30)
            end = {"state": "waiting", "owner": "", "due_at": due, "attempts": working.attempts - 1}
        except Exception as error:
            end = await self._broke(working, error)
        if end["state"] in ("done", "failed"):
            end |= {"payload": {}, "progress": {}, "finished_at": self._now(), "lease_until": None}
        await self._store_end(job, end)
        if "due_at" in end:
            wait = (end["due_at"] - self._now()).total_seconds()
            asyncio.get_running_loop().call_later(max(0.0, wait), self.wake)

    async def _store_end(self, job: Job, end: dict[str, Any]) -> None:
        """Store how it ended, however long the database is away: what is not stored would be done again."""
        wait = 0.1
        while True:
            try:
                await asyncio.to_thread(self.store, job.key, end)
                return
            except Exception as error:
                reason = error.message if isinstance(error, StorageError) else type(error).__name__
                self._log.error("the end of a job was not stored", kind=job.kind, reason=reason)
            await asyncio.sleep(wait)
            wait = min(2 * wait, 30.0)

    async def _broke(self, working: Working, error: Exception) -> dict[str, Any]:
        job = working.job
        told = error if isinstance(error, RedraftError) else None
        if told is None:
            self._log.error("a job broke", kind=job.kind, attempt=working.attempts, exc_info=error)
        else:
            self._log.warning("a job could not be done", kind=job.kind, reason=type(error).__name__)
        if not working.last_attempt and working.attempts < _ATTEMPTS:
            wait = timedelta(seconds=2.0**working.attempts)
            return {"state": "waiting", "owner": "", "due_at": self._now() + wait}
        if self._failed is not None:
            try:
                await self._failed(working, told)
            except Exception as second:
                self._log.error("a person could not be told of a failure", kind=job.kind, exc_info=second)
        return {"state": "failed"}

    def store(self, key: str, values: dict[str, Any]) -> bool:
        """Change a job of this process; False where it is another's by now.

        Raises:
            StorageError: it cannot be stored.
        """
        with self._database.write() as session:
            return queries.change_job(session=session, key=key, owner=self._owner, values=values)


def _lane(name: str) -> Lane:
    return "summary" if name == "summary" else "light"
