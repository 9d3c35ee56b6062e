"""What the bot's daily job brings about, part by part: each is seen by what it leaves, not by its being called."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from bot.scheduler import Scheduler
from engine.learning.alerts import open_alerts
from engine.learning.settings import LearningSettings
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import AdapterRow, AlertRow, RunRow
from storage.settings import StorageSettings
from tests.engine.learning.making import START, candidate, run, serve
from tests.engine.learning.test_watch import LEAST, wrote

TODAY = START + timedelta(days=1)
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.learning.alerts.shutil.disk_usage", lambda _: Usage(10**12, 0, 10**9))


def bot(database: Database) -> Scheduler:
    return Scheduler(
        database=database,
        storage=StorageSettings.load(),
        learning=LearningSettings(watch_min_summaries=LEAST, train_runs_kept=1),
        daily_job_time="04:10",
        now=lambda: TODAY,
    )


def disliked(database: Database) -> AdapterRow:
    """An adapter that people correct far more than the one before it."""
    old, new = serve(database, seed=1), serve(database, seed=2)
    wrote(database, old.id, 60, after=timedelta(days=-2), corrected=3)
    wrote(database, new.id, LEAST, corrected=LEAST)
    return new


def overdue(database: Database) -> AdapterRow:
    """An adapter in service whose words were erased, and whose deadline has passed."""
    row = serve(database, seed=3, scope="slack:T1")
    with database.write() as session:
        stored = session.get(AdapterRow, row.id)
        assert stored is not None
        stored.tainted_at, stored.retire_by = START - timedelta(days=30), START
    return row


def old_runs(database: Database) -> None:
    """Two runs with what they left; the older one is one too many."""
    for name, hours in (("older", -2), ("newer", 2)):
        run(database, name)
        with database.write() as session:
            row = session.get(RunRow, name)
            assert row is not None
            row.created_at = START + timedelta(hours=hours)
        (database.home.runs / name).mkdir()
        (database.home.runs / name / "log.txt").touch()


def alerts(database: Database) -> dict[str, AlertRow]:
    with database.read() as session:
        return {f"{alert.kind} {alert.subject}".strip(): alert for alert in open_alerts(session)}


async def test_each_part_of_the_daily_job_leaves_its_effect(database: Database) -> None:
    worse, tainted, waiting = disliked(database), overdue(database), candidate(database, seed=4)
    shutil.rmtree(database.home.adapters / waiting.id)
    unfinished = database.home.adapters / ".new-x7"
    unfinished.mkdir()
    old_runs(database)
    assert alerts(database) == {}

    with capture_logs() as logged:
        assert await bot(database).run_due()

    assert [line for line in logged if line["log_level"] == "error"] == []
    found = alerts(database)
    assert found[f"regression {worse.id}"].sentence.startswith(f"People corrected {LEAST} of {LEAST} summaries")
    assert found["disk"].sentence.startswith("1.0 GB are free")
    assert found["backup"].sentence == "There has been no backup yet."
    assert f"adapter-missing {waiting.id}" in found
    assert not unfinished.exists()
    assert [path.name for path in database.home.runs.iterdir()] == ["newer"]
    with database.read() as session:
        gone = session.get(AdapterRow, tainted.id)
    assert gone is not None
    assert gone.state == "retired"


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("engine.learning.erasure.retire_overdue", StorageError("It is locked.")),
        ("engine.learning.registry.recover", PermissionError("denied")),
        ("engine.learning.watch.watch", ArithmeticError("nothing to divide by")),
    ],
)
async def test_a_part_that_fails_is_logged_keeps_none_from_being_done_and_is_owed(
    database: Database, monkeypatch: pytest.MonkeyPatch, broken: str, error: Exception
) -> None:
    candidate(database, seed=1)
    old_runs(database)

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as changed, capture_logs() as logged:
        changed.setattr(broken, fail)
        assert await bot(database).run_due()
    assert [(line["event"], line["log_level"]) for line in logged if line["log_level"] == "error"] == [
        ("daily job failed", "error")
    ]
    assert set(alerts(database)) == {"disk", "backup"}
    assert [path.name for path in database.home.runs.iterdir()] == ["newer"]
    assert await bot(database).run_due()
    assert not await bot(database).run_due()
