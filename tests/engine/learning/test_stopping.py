"""A fine-tune under way is asked to end by anybody who may; one that nobody has taken up is stopped at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.learning.ledger_check import show
from engine.learning.locks import run_lock
from engine.learning.runs import TrainingRefused
from engine.learning.stopping import resume_run, stop_run
from storage.database import Database
from storage.errors import InputError
from storage.learning_tables import RunRow
from tests.engine.learning import making


def stop(database: Database, run_id: str = "r1") -> RunRow:
    return stop_run(database, database.home, run_id=run_id, by="local:ana")


def test_queued_run_is_stopped_at_once_and_can_be_resumed(database: Database) -> None:
    making.run(database, "r1", state="queued")
    run_lock(database.home, "r1").parent.mkdir(parents=True)
    assert stop(database).state == "stopped"
    assert [line.action for line in show(database, limit=2).lines] == ["run.stopped", "run.stop_requested"]


@pytest.mark.parametrize("state", ["finished", "failed", "stopped"])
def test_run_that_has_come_to_its_end_is_refused(database: Database, state: str) -> None:
    making.run(database, "r1", state=state)
    with pytest.raises(TrainingRefused, match=f"it is {state}"):
        stop(database)


def test_run_of_another_machine_is_refused(database: Database) -> None:
    making.run(database, "r1", state="running", pid=1)
    with pytest.raises(TrainingRefused, match="another machine's"):
        stop(database)
    assert not show(database, limit=1).lines


def test_run_that_is_not_there_is_one_sentence(database: Database) -> None:
    with pytest.raises(InputError):
        stop(database, "nothing")


def resume(database: Database, by: str = "local:ana", **given: object) -> RunRow:
    return resume_run(database, database.home, run_id="r1", by=by, **given)  # type: ignore[arg-type]


def test_resuming_is_a_line_of_the_ledger_and_whoever_comes_second_is_told(database: Database) -> None:
    making.run(database, "r1", state="stopped")
    run_lock(database.home, "r1").parent.mkdir(parents=True)
    resume(database, expected="stopped")
    (line,) = show(database, limit=2).lines
    assert (line.action, line.person, line.subject) == ("run.resume_requested", "local:ana", "r1")
    with pytest.raises(TrainingRefused, match="local:ana had the run r1 go on just now"):
        resume(database, "local:ben", expected="stopped")
    resume(database, "local:ben", now=datetime.now(UTC) + timedelta(minutes=5))


def test_run_in_another_state_than_it_was_seen_in_does_not_go_on(database: Database) -> None:
    making.run(database, "r1", state="failed")
    run_lock(database.home, "r1").parent.mkdir(parents=True)
    with pytest.raises(TrainingRefused, match="is failed now, and no longer stopped"):
        resume(database, expected="stopped")
    assert not show(database, limit=1).lines
