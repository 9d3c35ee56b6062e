"""The bot starts what is owed, one process at a time, tells what died, and takes its child along when it ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs

from bot.fine_tunes import FineTunes
from engine.learning.alerts import clear_alert, open_alerts
from engine.learning.locks import run_lock, taken
from engine.learning.settings import LearningSettings
from engine.learning.slots import TrainingSchedule
from engine.learning.waiting import MOST_RESUMED, next_run, retrain
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import StorageError
from storage.home import Home
from storage.learning_tables import AdapterRow, RunRow
from tests.engine.learning.making import candidate

NOW = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)
#: Holds its run's lock, says that it is there, and ends by a signal as a fine-tune does: with its checkpoint written.
CHILD = """
import fcntl, os, signal, sys
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY | os.O_CREAT, 0o600), fcntl.LOCK_EX)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
print("here", flush=True)
signal.pause()
"""


@pytest.fixture
def kind() -> str:
    return "sqlite"  # queries of its own are tested on both elsewhere


def run(database: Database, name: str, state: str = "queued", *, at: int = 0, **given: object) -> RunRow:
    values: dict[str, object] = {"scope": "default", "cause": "schedule", **given}
    row = RunRow(id=name, state=state, created_at=NOW + timedelta(minutes=at), **values)
    with database.write() as session:
        session.add(row)
    run_lock(database.home, name).parent.mkdir(mode=0o700)
    return row


def change(database: Database, name: str, **values: object) -> None:
    with database.write() as session:
        row = session.get(RunRow, name)
        assert row is not None
        for key, value in values.items():
            setattr(row, key, value)


class Processes:
    """Starts real processes in place of fine-tunes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.started: list[str] = []
        self.processes: list[subprocess.Popen[bytes]] = []
        self.fail: Exception | None = None

    def spawn(self, home: Home, name: str) -> subprocess.Popen[bytes]:
        if self.fail is not None:
            raise self.fail
        command = [sys.executable, "-S", "-c", CHILD, str(run_lock(home, name))]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n"
        self.started.append(name)
        self.processes.append(process)
        change(self.database, name, pid=process.pid, state="running")
        return process

    def ends(self, state: str) -> None:
        """The newest process ends, its run in this state."""
        change(self.database, self.started[-1], state=state)
        self.processes[-1].kill()
        self.processes[-1].wait()


@pytest.fixture
def processes(database: Database) -> Iterator[Processes]:
    found = Processes(database)
    yield found
    for process in found.processes:
        process.kill()
        process.communicate()


def tunes(database: Database, processes: Processes, schedule: TrainingSchedule | None = None) -> FineTunes:
    settings, engine = LearningSettings(train_schedule="30 2 * * *", train_timezone="UTC"), EngineSettings()
    return FineTunes(database, database.home, settings, engine, schedule=schedule, spawn=processes.spawn)


def alerts(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        return [(alert.kind, alert.sentence) for alert in open_alerts(session)]


def test_runs_that_wait_are_done_one_after_the_other_and_a_persons_own_are_left_to_them(
    database: Database, processes: Processes
) -> None:
    run(database, "second", at=2, scope="slack:T1")
    run(database, "first", at=1, cause="erasure")
    run(database, "by hand", at=0, cause="manual", scope="slack:T2")
    bot = tunes(database, processes)
    bot.look(NOW)
    bot.look(NOW)
    assert (processes.started, bot.under_way) == (["first"], "first")
    processes.ends("finished")
    bot.look(NOW)
    assert processes.started == ["first", "second"]
    processes.ends("finished")
    bot.look(NOW)
    assert (processes.started, bot.under_way) == (["first", "second"], "")
    assert alerts(database) == []


def test_what_the_schedule_owes_is_begun_and_its_process_started_in_the_same_look(
    database: Database, processes: Processes
) -> None:
    def start(database: Database, home: Home, *, scope: str, slot: str, **_: object) -> RunRow:
        return run(database, f"of {slot}", slot=slot)

    plan = TrainingSchedule(
        database, database.home, LearningSettings(train_schedule="30 2 * * *", train_timezone="UTC"), EngineSettings(),
        scopes=lambda session, settings: ["default"], due=lambda session, scope, settings: 30, start=start,
    )  # fmt: skip
    bot = tunes(database, processes, plan)
    bot.look(NOW)
    assert processes.started == []
    bot.look(NOW + timedelta(days=1))
    assert processes.started == ["of 2026-05-06T02:30"]


def test_a_process_that_dies_is_told_once_resumed_and_after_a_few_times_left_to_a_person(
    database: Database, processes: Processes
) -> None:
    run(database, "fragile")
    bot = tunes(database, processes)
    for attempt in range(MOST_RESUMED + 1):
        bot.look(NOW)
        assert processes.started == ["fragile"] * (attempt + 1)
        change(database, "fragile", resumed=attempt)
        processes.ends("running")
    bot.look(NOW)
    bot.look(NOW)
    assert len(processes.started) == MOST_RESUMED + 1
    ((kind, sentence),) = alerts(database)
    assert kind == "run-failed"
    assert "redraft train --resume fragile" in sentence
    with database.write() as session:  # as the child does when the run is finished after all
        assert clear_alert(session, kind="run-failed", subject="default")


def test_a_run_that_waits_long_for_its_turn_is_not_called_dead_and_has_its_turn(
    database: Database, processes: Processes
) -> None:
    run(database, "long", at=0)
    run(database, "patient", at=0, scope="slack:T1")
    bot = tunes(database, processes)
    bot.look(NOW)
    for hours in (1, 2):
        bot.look(NOW + timedelta(hours=hours))
    assert alerts(database) == []
    processes.ends("finished")
    bot.look(NOW + timedelta(hours=3))
    assert processes.started == ["long", "patient"]


def test_a_stopped_run_is_resumed_unless_a_newer_one_of_its_scope_was_begun(database: Database) -> None:
    run(database, "old", "stopped", at=0, pid=7)
    run(database, "other", "stopped", at=1, pid=7, scope="slack:T1", cause="manual")
    found = next_run(database, database.home)
    assert found is not None
    assert found.id == "old"
    run(database, "new", "finished", at=2, pid=8)
    assert next_run(database, database.home) is None


def test_a_run_of_another_machine_or_one_that_lives_starts_nothing_here(database: Database) -> None:
    run(database, "elsewhere")
    run_lock(database.home, "elsewhere").parent.rmdir()
    assert next_run(database, database.home) is None
    run(database, "here")
    with ExitStack() as holding:
        run(database, "alive", "running", scope="slack:T1", pid=1)
        assert holding.enter_context(taken(run_lock(database.home, "alive"), wait=lambda: False))
        assert next_run(database, database.home) is None
    found = next_run(database, database.home)
    assert found is not None
    assert found.id == "here"


def test_the_bot_ends_its_fine_tune_with_a_checkpoint_and_starts_no_other(
    database: Database, processes: Processes
) -> None:
    run(database, "long")
    run(database, "next", scope="slack:T1", at=1)
    bot = tunes(database, processes)
    bot.look(NOW)
    bot.stop()
    assert processes.processes[0].returncode == 3
    bot.look(NOW)
    assert processes.started == ["long"]


def test_a_failure_of_one_step_is_logged_and_keeps_no_other_from_being_done(
    database: Database, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(database, "waiting")
    bot = tunes(database, processes)
    monkeypatch.setattr("bot.fine_tunes.waiting.retrain", lambda *_, **__: 1 / 0)
    processes.fail = StorageError("The disk is full.")
    with capture_logs() as logged:
        bot.look(NOW)
    failed = {line["step"]: line.get("reason") for line in logged if line["log_level"] == "error"}
    assert failed == {"erasures": None, "start": "The disk is full."}
    processes.fail = None
    bot.look(NOW)
    assert processes.started == ["waiting"]


def test_what_an_erasure_owes_is_tried_once_an_hour_and_a_refusal_is_told(database: Database) -> None:
    row = candidate(database, seed=1)
    with database.write() as session:
        stored = session.get(AdapterRow, row.id)
        assert stored is not None
        stored.tainted_at = NOW
    settings, engine = LearningSettings(), EngineSettings()
    begun, refused = retrain(database, database.home, settings, engine, now=NOW)
    assert (begun, list(refused)) == ([], ["default"])
    assert "no pair to train default on" in refused["default"]
    assert retrain(database, database.home, settings, engine, now=NOW + timedelta(minutes=20)) == ([], {})
    assert retrain(database, database.home, settings, engine, now=NOW + timedelta(hours=1))[1]
