"""The daily job runs once a slot: over restarts, over two processes, over a clock that goes back."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from structlog.testing import capture_logs

from bot.fine_tunes import FineTunes
from bot.scheduler import Scheduler
from engine.conversation import Conversation, Message
from engine.learning.settings import LearningSettings
from engine.records import store_conversation
from storage.database import Database
from storage.errors import StorageError
from storage.queries import counts
from storage.settings import StorageSettings

_BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    yield opened
    opened.close()


def _scheduler(database: Database, now: datetime) -> Scheduler:
    return _at(database, "04:10", now)


def _at(database: Database, time: str, now: datetime, fine_tunes: FineTunes | None = None) -> Scheduler:
    return Scheduler(
        database=database,
        storage=StorageSettings.load(),
        learning=LearningSettings(),
        daily_job_time=time,
        fine_tunes=fine_tunes,
        now=lambda: now,
    )


def test_slot_is_the_local_date_of_the_newest_time_that_has_come(database: Database) -> None:
    early = _scheduler(database, datetime(2026, 5, 2, 3, 0, tzinfo=_BERLIN))
    late = _scheduler(database, datetime(2026, 5, 2, 4, 10, tzinfo=_BERLIN))
    assert (early.latest_slot(), late.latest_slot()) == ("2026-05-01", "2026-05-02")


def test_both_times_of_a_night_that_has_the_hour_twice_are_one_slot(database: Database) -> None:
    first = datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN, fold=0)
    second = datetime(2026, 10, 25, 2, 30, tzinfo=_BERLIN, fold=1)
    slots = {_at(database, "02:20", moment).latest_slot() for moment in (first, second)}
    assert slots == {"2026-10-25"}


async def test_slot_runs_once_over_a_restart_and_a_missed_one_is_caught_up(database: Database) -> None:
    monday = datetime(2026, 5, 4, 12, 0, tzinfo=_BERLIN)
    assert await _scheduler(database, monday).run_due()
    assert not await _scheduler(database, monday + timedelta(hours=6)).run_due()
    assert await _scheduler(database, monday + timedelta(days=3)).run_due()
    assert not await _scheduler(database, monday + timedelta(days=3)).run_due()


async def test_slot_that_another_process_has_done_is_not_done_again(database: Database) -> None:
    now = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    other = Database.open(StorageSettings.load())
    try:
        assert await _scheduler(other, now).run_due()
    finally:
        other.close()
    assert not await _scheduler(database, now).run_due()


@pytest.mark.parametrize("error", [PermissionError("/home/ana: denied"), StorageError("It is locked.")])
async def test_job_that_fails_is_logged_and_leaves_the_bot_running(
    database: Database, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    now = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr("bot.scheduler.enforce_slot", fail)
        scheduler = _scheduler(database, now)
        await scheduler.start()
        await scheduler.stop()
    assert [(line["event"], line["log_level"]) for line in logged] == [("daily job failed", "error")]
    # and it is still owed
    assert await _scheduler(database, now).run_due()


async def test_daily_job_removes_what_retention_no_longer_keeps(database: Database) -> None:
    conversation = Conversation("c-1", (Message("m-1", "Amara", "We ship on Friday."),))
    now = datetime.now(UTC)
    with database.write() as session:
        store_conversation(session, conversation, now=now)
    await _scheduler(database, now).run_due()
    with database.read() as session:
        assert counts(session=session)["conversations"] == 1
    await _scheduler(database, now + timedelta(days=45)).run_due()
    with database.read() as session:
        assert counts(session=session)["conversations"] == 0
