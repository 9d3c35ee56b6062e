"""Accepted jobs: stored by one insert, done once, taken over from processes that died."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest
from sqlmodel import select

from bot.jobs import Intake, Job, Later, Runner, Working
from storage.chat_tables import ChatJobRow
from storage.database import Database
from storage.errors import InputError, RedraftError, StorageError

LANES = {"summary": 2, "light": 4}


def job(key: str, lane: str = "light", **payload: object) -> Job:
    return Job(key, "slack", "say", "summary" if lane == "summary" else "light", "slack:U1", dict(payload))


def rows(database: Database) -> dict[str, ChatJobRow]:
    with database.read() as session:
        return {row.key: row for row in session.scalars(select(ChatJobRow))}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not await asyncio.to_thread(holds):
            await asyncio.sleep(0.01)


async def test_a_delivery_is_new_once_and_the_line_before_it_is_counted(database: Database) -> None:
    woken: list[int] = []
    intake = Intake(database, lambda: woken.append(1))
    told = await asyncio.gather(*(intake.accept(job(key, "summary")) for key in ("a", "b", "a", "c", "b")))
    assert [one.new for one in told] == [True, True, False, True, False]
    assert [one.ahead for one in told if one.new] == [0, 1, 2]
    assert not (await intake.accept(job("a", "summary"))).new
    assert woken and set(rows(database)) == {"a", "b", "c"}


async def test_two_hundred_at_once_are_stored_within_half_a_second_each(database: Database) -> None:
    intake = Intake(database)
    took: list[float] = []

    async def one(number: int) -> None:
        began = time.monotonic()
        await intake.accept(job(f"key{number}"))
        took.append(time.monotonic() - began)

    await asyncio.gather(*map(one, range(200)))
    assert len(rows(database)) == 200
    assert sorted(took)[197] < 0.5


async def test_what_cannot_be_stored_is_not_accepted(database: Database) -> None:
    intake = Intake(database)
    # A payload that JSON has no word for stands for a database that refuses.
    results = await asyncio.gather(intake.accept(job("a", bad=object())), return_exceptions=True)
    assert isinstance(results[0], Exception)
    assert (await intake.accept(job("a"))).new


async def test_a_job_is_done_once_by_two_runners_and_its_payload_goes(database: Database) -> None:
    done: list[str] = []

    async def handle(working: Working) -> None:
        done.append(f"{working.job.key}: {working.job.payload['word']}")

    handlers = {("slack", "say"): handle}
    runners = [Runner(database, handlers, lanes=LANES) for _ in range(2)]
    intake = Intake(database, lambda: [runner.wake() for runner in runners] and None)
    for runner in runners:
        runner.start()
    await asyncio.gather(*(intake.accept(job(f"k{n}", word="private words")) for n in range(20)))
    await until(lambda: all(row.state == "done" for row in rows(database).values()))
    for runner in runners:
        await runner.stop()
    assert len(done) == 20 and len(set(done)) == 20
    assert all(row.payload == {} and row.progress == {} for row in rows(database).values())


async def test_later_is_no_failure_and_progress_is_there_again(database: Database) -> None:
    seen: list[tuple[int, dict[str, object]]] = []

    async def handle(working: Working) -> None:
        seen.append((working.attempts, dict(working.progress)))
        if len(seen) < 7:
            await working.save(step=len(seen))
            raise Later(0.01)

    runner = Runner(database, {("slack", "say"): handle}, lanes=LANES)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    await until(lambda: rows(database)["a"].state == "done")
    await runner.stop()
    assert [attempt for attempt, _ in seen] == [1] * 7
    assert seen[6][1] == {"step": 6}


async def test_a_job_that_breaks_is_tried_again_and_then_somebody_is_told(database: Database) -> None:
    told: list[RedraftError | None] = []
    clock = [datetime.now(UTC)]

    def now() -> datetime:
        clock[0] += timedelta(seconds=10)
        return clock[0]

    async def handle(working: Working) -> None:
        raise InputError("No.") if working.last_attempt else RuntimeError("broken")

    async def failed(_working: Working, error: RedraftError | None) -> None:
        told.append(error)

    runner = Runner(database, {("slack", "say"): handle}, failed=failed, lanes=LANES, now=now)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    await until(lambda: rows(database)["a"].state == "failed")
    await runner.stop()
    assert [str(error) for error in told] == ["No."]
    assert rows(database)["a"].attempts == 4


async def test_one_lane_does_not_wait_for_the_other(database: Database) -> None:
    gate, light = asyncio.Event(), asyncio.Event()

    async def handle(working: Working) -> None:
        if working.job.lane == "summary":
            await gate.wait()
        else:
            light.set()

    runner = Runner(database, {("slack", "say"): handle}, lanes=LANES)
    intake = Intake(database, runner.wake)
    runner.start()
    await asyncio.gather(*(intake.accept(job(f"s{n}", "summary")) for n in range(5)))
    await intake.accept(job("l"))
    async with asyncio.timeout(20):
        await light.wait()
    assert runner.running >= 2
    gate.set()
    await until(lambda: all(row.state == "done" for row in rows(database).values()))
    await runner.stop()


async def test_a_flood_of_edits_does_not_keep_a_click_waiting_and_is_worked_off_too(database: Database) -> None:
    gate, clicked, most = asyncio.Event(), asyncio.Event(), [0, 0]

    async def changed(_working: Working) -> None:
        most[0] += 1
        most[1] = max(most)
        await gate.wait()
        most[0] -= 1

    async def click(_working: Working) -> None:
        clicked.set()

    runner = Runner(database, {("slack", "changed"): changed, ("slack", "click"): click}, lanes=LANES)
    intake = Intake(database, runner.wake)
    runner.start()
    await asyncio.gather(*(intake.accept(Job(f"e{n}", "slack", "changed", "light")) for n in range(30)))
    await until(lambda: most[0] == 3)
    await intake.accept(Job("click", "slack", "click", "light"))
    async with asyncio.timeout(20):
        await clicked.wait()
    gate.set()
    await until(lambda: all(row.state == "done" for row in rows(database).values()))
    await runner.stop()
    assert most[1] <= 3


async def test_what_a_stopped_process_was_at_waits_and_what_a_dead_one_was_at_is_taken_over(database: Database) -> None:
    begun = asyncio.Event()

    async def hang(_working: Working) -> None:
        begun.set()
        await asyncio.Event().wait()

    runner = Runner(database, {("slack", "say"): hang}, lanes=LANES)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    async with asyncio.timeout(20):
        await begun.wait()
    await runner.stop(grace_s=0.01)
    row = rows(database)["a"]
    assert (row.state, row.attempts, row.owner) == ("waiting", 0, "")

    # A process that ended without a word; its lease has long to go.
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    born = psutil.Process(ended.pid).create_time()
    ended.communicate()
    alive = f"{socket.gethostname()}/{os.getppid()}/{psutil.Process(os.getppid()).create_time()}"
    with database.write() as session:
        for key, owner in (("a", f"{socket.gethostname()}/{ended.pid}/{born}"), ("b", alive), ("c", "elsewhere/1/2")):
            row = session.get(ChatJobRow, key) or ChatJobRow(
                key=key, platform="slack", kind="say", lane="light",
                accepted_at=datetime.now(UTC), due_at=datetime.now(UTC),
            )  # fmt: skip
            row.state, row.owner, row.lease_until = "running", owner, datetime.now(UTC) + timedelta(minutes=5)
            session.add(row)
    done: list[str] = []

    async def handle(working: Working) -> None:
        done.append(working.job.key)

    runner = Runner(database, {("slack", "say"): handle}, lanes=LANES)
    runner.start()
    await until(lambda: rows(database)["a"].state == "done")
    assert done == ["a"], "what others are at is theirs while their lease lasts"
    with database.write() as session:
        row = session.get_one(ChatJobRow, "c")
        row.lease_until = datetime.now(UTC) - timedelta(seconds=1)
        session.add(row)
    await until(lambda: rows(database)["c"].state == "done")
    await runner.stop()
    assert done == ["a", "c"] and rows(database)["b"].state == "running"


async def test_a_process_whose_lease_was_lost_changes_nothing_any_more(database: Database) -> None:
    reached = asyncio.Event()
    go = asyncio.Event()

    async def handle(_working: Working) -> None:
        reached.set()
        await go.wait()

    runner = Runner(database, {("slack", "say"): handle}, lanes=LANES)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    async with asyncio.timeout(20):
        await reached.wait()
    with database.write() as session:
        row = session.get_one(ChatJobRow, "a")
        row.owner = "elsewhere/1/2"
        session.add(row)
    go.set()
    await until(lambda: runner.running == 0)
    await runner.stop()
    assert (rows(database)["a"].state, rows(database)["a"].owner) == ("running", "elsewhere/1/2")


async def test_a_kind_that_nobody_knows_ends_as_failed(database: Database) -> None:
    clock = [datetime.now(UTC)]

    def now() -> datetime:
        clock[0] += timedelta(minutes=1)
        return clock[0]

    async def handle(_working: Working) -> None:
        raise AssertionError

    runner = Runner(database, {("slack", "other"): handle}, lanes=LANES, now=now)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    await until(lambda: rows(database)["a"].state == "failed")
    await runner.stop()


async def test_a_job_whose_lease_ran_out_here_is_not_begun_a_second_time_by_the_same_process(
    database: Database,
) -> None:
    clock = [datetime.now(UTC)]
    begun: list[str] = []
    gate = asyncio.Event()

    async def handle(working: Working) -> None:
        begun.append(working.job.key)
        if working.job.key == "a":
            await gate.wait()

    runner = Runner(database, {("slack", "say"): handle}, lanes=LANES, now=lambda: clock[0])
    intake = Intake(database, runner.wake, now=lambda: clock[0])
    runner.start()
    await intake.accept(job("a"))
    await until(lambda: begun == ["a"])
    # As if the database had been away for so long that nothing could be renewed.
    clock[0] += timedelta(minutes=5)
    await intake.accept(job("b"))
    await until(lambda: rows(database)["b"].state == "done")
    await intake.accept(job("c"))
    await until(lambda: rows(database)["c"].state == "done")
    assert begun == ["a", "b", "c"]
    gate.set()
    await until(lambda: rows(database)["a"].state == "done")
    await runner.stop()


async def test_no_failure_whatever_ends_the_runners_loops(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.jobs._RENEW_S", 0.01)
    broken = [0, 0]

    class Failing(Runner):
        def _claim(self, *given: Any) -> Any:
            broken[0] += 1
            if broken[0] < 3:
                raise RuntimeError("what Priya wrote")
            return super()._claim(*given)

        def _keep(self, *given: Any) -> Any:
            broken[1] += 1
            if broken[1] < 3:
                raise RuntimeError("what Priya wrote")
            return super()._keep(*given)

    gate = asyncio.Event()

    async def handle(_working: Working) -> None:
        await gate.wait()

    runner = Failing(database, {("slack", "say"): handle}, lanes=LANES)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    for _ in range(3):
        runner.wake()
        await asyncio.sleep(0.02)
    await until(lambda: rows(database)["a"].state == "running")
    await until(lambda: broken[1] > 3)
    gate.set()
    await until(lambda: rows(database)["a"].state == "done")
    await runner.stop()


async def test_a_job_that_another_process_took_over_is_stopped_here(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.jobs._RENEW_S", 0.02)
    reached, went_on, go = asyncio.Event(), [], asyncio.Event()

    async def saves(working: Working) -> None:
        reached.set()
        await go.wait()
        await working.save(step=1)
        went_on.append(working.job.key)

    async def waits(working: Working) -> None:
        await asyncio.Event().wait()

    runner = Runner(database, {("slack", "say"): saves, ("slack", "wait"): waits}, lanes=LANES)
    runner.start()
    intake = Intake(database, runner.wake)
    await intake.accept(job("a"))
    await intake.accept(Job("b", "slack", "wait", "light"))
    await until(lambda: reached.is_set() and runner.running == 2)
    with database.write() as session:
        for key in ("a", "b"):
            row = session.get_one(ChatJobRow, key)
            row.owner, row.lease_until = "elsewhere/1/2", datetime.now(UTC) + timedelta(hours=1)
            session.add(row)
    go.set()
    await until(lambda: runner.running == 0)
    await runner.stop()
    assert went_on == []
    assert {row.state for row in rows(database).values()} == {"running"}


async def test_an_end_that_cannot_be_stored_at_once_is_stored_later_and_nothing_is_done_twice(
    database: Database,
) -> None:
    done: list[str] = []
    refusals = [StorageError("The database is locked."), RuntimeError("something else")]

    class Failing(Runner):
        def store(self, key: str, values: dict[str, Any]) -> bool:
            if refusals:
                raise refusals.pop()
            return super().store(key, values)

    async def handle(working: Working) -> None:
        done.append(working.job.key)

    runner = Failing(database, {("slack", "say"): handle}, lanes=LANES)
    runner.start()
    await Intake(database, runner.wake).accept(job("a"))
    await until(lambda: rows(database)["a"].state == "done")
    await runner.stop()
    assert done == ["a"]
