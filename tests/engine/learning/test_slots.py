"""Each slot starts one run in each scope that has enough new pairs, whoever looks, however often, and however late."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as how
from hypothesis import strategies as st
from sqlmodel import Session, select

from engine.learning.settings import LearningSettings
from engine.learning.slots import Outcome, TrainingSchedule
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import InputError, StorageError
from storage.home import Home
from storage.learning_tables import RunRow
from storage.settings import StorageSettings
from storage.tables import JobSlotRow

MONDAY = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


class Loop:
    """What stands under the schedule, by hand: scopes with their new pairs, and runs that are only rows."""

    def __init__(self, **pairs: int) -> None:
        self.pairs = pairs or {"default": 30}
        self.fail: Exception | None = None

    def scopes(self, session: Session, settings: LearningSettings) -> list[str]:
        return list(self.pairs)

    def due(self, session: Session, scope: str, settings: LearningSettings) -> int:
        return self.pairs[scope] if self.pairs[scope] >= settings.train_min_new_pairs else 0

    def start(self, database: Database, home: Home, *, scope: str, slot: str, now: datetime, **_: object) -> RunRow:
        if self.fail is not None:
            raise self.fail
        row = RunRow(id=f"{scope} {slot}", scope=scope, slot=slot, state="queued", cause="schedule", created_at=now)
        with database.write() as session:
            session.add(row)
        return row


def schedule(database: Database, loop: Loop | None = None, **given: str) -> TrainingSchedule:
    loop = loop or Loop()
    settings = LearningSettings(**{"train_schedule": "30 2 * * *", "train_timezone": "UTC", **given})
    return TrainingSchedule(
        database, database.home, settings, EngineSettings(), scopes=loop.scopes, due=loop.due, start=loop.start
    )


def runs(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        return sorted((row.scope, row.slot) for row in session.scalars(select(RunRow)))


def test_first_sight_of_a_schedule_owes_nothing_of_the_past_and_a_missed_slot_is_made_up_for_once(
    database: Database,
) -> None:
    plan = schedule(database)
    assert plan.work_off(MONDAY) == Outcome()
    assert plan.work_off(MONDAY + timedelta(hours=14)) == Outcome()
    late = MONDAY + timedelta(days=5)
    assert plan.work_off(late).slot == "2026-05-09T02:30"
    assert plan.work_off(late) == Outcome()
    assert plan.work_off(late + timedelta(hours=6)) == Outcome()
    assert runs(database) == [("default", "2026-05-09T02:30")]
    # a new expression is a new schedule: what it names of today's past is not owed
    other = schedule(database, train_schedule="0 6 * * *")
    assert other.work_off(late) == Outcome()
    assert other.work_off(late + timedelta(days=1)).slot == "2026-05-10T06:00"


def test_a_run_starts_only_in_scopes_with_enough_new_pairs_and_the_rest_wait_for_the_next_slot(
    database: Database,
) -> None:
    loop = Loop(**{"default": 24, "slack:T1": 25, "slack:T1/C1": 400})
    plan = schedule(database, loop)
    plan.owed(MONDAY)
    done = plan.work_off(MONDAY + timedelta(days=1))
    assert ([run.scope for run in done.started], done.waiting) == (["slack:T1", "slack:T1/C1"], ["default"])
    loop.pairs["default"] = 25
    assert plan.work_off(MONDAY + timedelta(days=1, hours=1)) == Outcome()
    assert [run.scope for run in plan.work_off(MONDAY + timedelta(days=2)).started] == list(loop.pairs)


def test_a_run_that_is_refused_is_told_and_not_tried_again_before_the_next_slot(database: Database) -> None:
    loop = Loop()
    plan = schedule(database, loop)
    plan.owed(MONDAY)
    loop.fail = InputError("There is no pair to train default on.")
    assert plan.work_off(MONDAY + timedelta(days=1)).refused == {"default": "There is no pair to train default on."}
    loop.fail = None
    assert plan.work_off(MONDAY + timedelta(days=1, hours=1)) == Outcome()
    assert plan.work_off(MONDAY + timedelta(days=2)).started


def test_a_slot_whose_process_died_is_taken_again_and_starts_no_second_run(database: Database) -> None:
    loop = Loop(**{"default": 30, "slack:T1": 30})
    plan = schedule(database, loop)
    plan.owed(MONDAY)
    loop.fail = StorageError("The disk is full.")
    tuesday = MONDAY + timedelta(days=1)
    with pytest.raises(StorageError):
        plan.work_off(tuesday)
    loop.fail = None
    # the other scope goes ahead; the one that somebody seems to be at is left to them
    assert [run.scope for run in plan.work_off(tuesday + timedelta(minutes=1)).started] == ["slack:T1"]
    assert plan.work_off(tuesday + timedelta(minutes=2)).started == []
    assert [run.scope for run in plan.work_off(tuesday + timedelta(minutes=20)).started] == ["default"]
    assert plan.work_off(tuesday + timedelta(minutes=21)) == Outcome()
    # one that died between the run and the end of its slot
    with database.write() as session:
        for row in session.scalars(select(JobSlotRow).where(JobSlotRow.job != "train-schedule")):
            row.finished_at = None
    assert plan.work_off(tuesday + timedelta(minutes=60)).started == []
    assert len(runs(database)) == 2


def test_two_bots_on_one_database_start_one_run_a_slot(settings: StorageSettings, database: Database) -> None:
    loop = Loop(**{"default": 30, "slack:T1": 30, "slack:T2": 30})
    others = [Database.open(settings) for _ in range(3)]
    plans = [schedule(each, loop) for each in (database, *others)]
    plans[0].owed(MONDAY)
    try:
        for day in (1, 2, 3):
            gate = threading.Barrier(len(plans))

            def look(plan: TrainingSchedule, day: int = day, gate: threading.Barrier = gate) -> None:
                gate.wait()
                plan.work_off(MONDAY + timedelta(days=day))

            threads = [threading.Thread(target=look, args=(plan,)) for plan in plans]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    finally:
        for each in others:
            each.close()
    days = [f"2026-05-{day:02d}T02:30" for day in (5, 6, 7)]
    assert runs(database) == sorted((scope, day) for scope in loop.pairs for day in days)
    assert schedule(database, loop).work_off(MONDAY + timedelta(days=3)) == Outcome()


def test_without_a_schedule_nothing_is_owed(database: Database) -> None:
    assert schedule(database, train_schedule="").work_off(MONDAY) == Outcome()


@pytest.mark.parametrize("kind", ["sqlite"])
@how(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]),
    jumps=st.lists(st.integers(-180, 400), max_size=3),
    start=st.sampled_from([datetime(2026, 3, 27, 22, tzinfo=UTC), datetime(2026, 10, 23, 22, tzinfo=UTC)]),
)
def test_however_the_clock_goes_a_slot_has_one_run_and_every_slot_that_was_shown_for_an_hour_has_one(
    make_settings: Callable[..., StorageSettings], kind: str, tmp_path_factory: pytest.TempPathFactory,
    zone: str, jumps: list[int], start: datetime,
) -> None:  # fmt: skip
    """The clock is set forth and back by minutes, over nights on which daylight saving changes too."""
    opened = Database.open(make_settings(kind, tmp_path_factory.mktemp("home")))
    try:
        plan = schedule(opened, train_timezone=zone, train_schedule="30 2 * * *")
        now, place = start, ZoneInfo(zone)
        plan.owed(now)
        shown = set()
        pending = list(jumps)
        for step in range(4 * 24 * 3):
            now += timedelta(minutes=20)
            if pending and step % 60 == 59:
                now += timedelta(minutes=pending.pop())
            plan.work_off(now)
            wall = now.astimezone(place)
            if (wall.hour, wall.minute) >= (2, 50):
                shown.add(f"{wall:%Y-%m-%d}T02:30")
        found = [slot for _, slot in runs(opened)]
        assert len(found) == len(set(found))
        first = f"{start.astimezone(place):%Y-%m-%d}T02:30"
        assert {slot for slot in shown if slot > first} <= set(found)
    finally:
        opened.close()
