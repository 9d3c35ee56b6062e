"""What a run is made of, when one may not start and what is said then, and what becomes of one whose process died."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engine.learning import authorisation, promotion, runs
from engine.learning.importing import Options, import_pairs
from engine.learning.ledger_check import verify
from engine.learning.locks import run_lock, taken
from engine.learning.pairs import approve, reject
from engine.learning.settings import LearningSettings
from engine.settings import EngineSettings
from storage import run_queries as queries
from storage.database import Database
from storage.errors import InputError, StorageError
from storage.learning_tables import PairRow, RunRow
from tests.engine.learning.making import START, candidate
from tests.engine.learning.making import run as made
from tests.engine.learning.pairing import conversation, corrected, one_database, rows

NOW = START + timedelta(days=1)
LEARNING = LearningSettings()


def imported(database: Database, folder: Path, count: int, *, start: int = 0, approved: bool = True) -> None:
    """So many pairs that no other resembles, none of them held out."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(count, start=start)))
    import_pairs(database, path, Options(split="train", approve=approved), by="local:ana", now=START)


def begun(database: Database, *, settings: LearningSettings = LEARNING, scope: str = "default") -> RunRow:
    return runs.start_run(
        database, database.home, settings=settings, engine=EngineSettings(), scope=scope, cause="manual",
        by="local:ana", now=NOW,
    )  # fmt: skip


def refused(database: Database, *, settings: LearningSettings = LEARNING, scope: str = "default") -> str:
    """What somebody is told who asks for a run; nothing of it is left."""
    before = sorted(database.home.runs.iterdir())
    with pytest.raises(runs.TrainingRefused) as told:
        begun(database, settings=settings, scope=scope)
    assert sorted(database.home.runs.iterdir()) == before
    return str(told.value)


def stored(database: Database, run_id: str) -> RunRow:
    with database.read() as session:
        row = session.get(RunRow, run_id)
    assert row is not None
    return row


def change(database: Database, run_id: str, **values: object) -> None:
    with database.write() as session:
        row = session.get(RunRow, run_id)
        assert row is not None
        for name, value in values.items():
            setattr(row, name, value)


# Beginning ----------------------------------------------------------------------------------------------------------


def test_a_run_is_made_of_its_pairs_and_settings_and_of_nothing_that_changes_later(
    database: Database, tmp_path: Path
) -> None:
    imported(database, tmp_path, 30)
    row = begun(database, settings=LearningSettings(train_rank=4, train_epochs=2.5))
    assert (row.state, row.train_pairs, row.validation_pairs) == ("queued", 27, 3)
    assert run_lock(database.home, row.id).parent.is_dir()
    imported(database, tmp_path, 3, start=30)
    with database.read() as session:
        roles = [role for _, role in queries.pairs_of_run(session=session, run_id=row.id)]
    assert (roles.count("train"), roles.count("validation")) == (27, 3)
    learning, engine = runs.restored(stored(database, row.id))
    assert (learning.train_rank, learning.train_epochs, engine.engine_model) == (4, 2.5, EngineSettings().engine_model)
    assert not verify(database).findings


def test_without_a_pair_it_says_what_lacks_and_what_to_do(database: Database, tmp_path: Path) -> None:
    assert refused(database) == (
        "There is no pair to train default on. Import some with `redraft pairs import`, or correct summaries."
    )
    imported(database, tmp_path, 3, approved=False)
    assert refused(database) == (
        "There is no pair to train default on: 3 waiting for approval."
        " Look at them with `redraft pairs list`, and approve some."
    )


def test_a_platform_that_nobody_authorised_trains_nothing_until_somebody_does(database: Database) -> None:
    found = corrected(database, conversation())
    with database.write() as session:
        pair = session.get(PairRow, found.pair.id if found.pair else "")
        assert pair is not None
        pair.split = "train"
    approve(database, pair_ids=[pair.id], by="local:ana", administrator=True)
    assert refused(database, scope="slack:T1") == (
        "There is no pair to train slack:T1 on: 1 from a platform on which training is not authorised."
        " Authorise it with `redraft training authorize`, if the platform's terms allow."
    )
    authorisation.authorise(
        database, platform="slack", authorised_by="Maria", basis="an agreement", by="local:ana", now=START
    )
    assert begun(database, scope="slack:T1").train_pairs == 1


def test_a_scope_has_one_run_at_a_time_and_other_scopes_are_not_kept_from_theirs(
    database: Database, tmp_path: Path
) -> None:
    imported(database, tmp_path, 2)
    first = begun(database)
    assert refused(database) == (
        f"A fine-tune of default is under way already ({first.id}, queued)."
        f" Wait for it, or see `redraft runs show {first.id}`."
    )
    change(database, first.id, state="finished")
    begun(database)


def test_the_same_pairs_with_the_same_settings_are_not_trained_twice_nor_offered_after_a_rejection(
    database: Database, tmp_path: Path
) -> None:
    imported(database, tmp_path, 2)
    first = begun(database)
    change(database, first.id, state="finished")
    made_of = {"data_hash": first.data_hash, "settings_hash": first.settings_hash}
    adapter = candidate(database, seed=1, run_id=first.id, **made_of)
    assert f"Nothing is new: the adapter {adapter.id} was trained on just these pairs" in refused(database)
    promotion.reject(
        database, database.home, LEARNING, adapter_id=adapter.id, by="local:ana", reason="it invents", now=NOW
    )
    assert refused(database) == (
        f"An adapter of just these pairs and settings, {adapter.id}, was rejected; the same is not offered again."
        " Approve more pairs, or change a setting of the fine-tune."
    )
    other = begun(database, settings=LearningSettings(train_rank=8))
    change(database, other.id, state="failed")
    imported(database, tmp_path, 1, start=2)
    assert begun(database).data_hash != first.data_hash


@one_database
def test_where_the_directory_of_a_run_cannot_be_made_there_is_no_run(database: Database, tmp_path: Path) -> None:
    imported(database, tmp_path, 2)
    database.home.runs.rmdir()
    database.home.runs.write_text("in the way")
    with pytest.raises(StorageError, match="runs cannot be written: not a directory"):
        begun(database)
    with database.read() as session:
        assert not queries.runs(session=session)
    assert not verify(database).findings


@one_database
def test_a_name_that_is_no_scope_is_refused_before_anything_is_looked_at(database: Database) -> None:
    with pytest.raises(InputError, match="scope"):
        begun(database, scope="everywhere")


@one_database
def test_few_new_pairs_are_not_due_and_pairs_that_were_trained_on_are_not_new(
    database: Database, tmp_path: Path
) -> None:
    settings = LearningSettings(train_min_new_pairs=5)

    def due() -> int:
        with database.read() as session:
            return runs.due(session, "default", settings)

    imported(database, tmp_path, 4)
    assert due() == 0
    imported(database, tmp_path, 3, start=4)
    assert due() == 7
    row = begun(database)
    assert due() == 7, "what is under way may come to nothing"
    change(database, row.id, state="finished")
    assert due() == 0


@given(st.integers(1, 60), st.floats(0.01, 0.49), st.integers(0, 99))
@examples(max_examples=40, deadline=None)
def test_the_validation_slice_is_whole_conversations_and_stays_when_more_come(
    conversations: int, share: float, seed: int
) -> None:
    chance = random.Random(seed)
    pairs = [
        PairRow(id=f"{number}-{part}", conversation_key=f"c{number}")  # type: ignore[call-arg]
        for number in range(conversations)
        for part in range(chance.randint(1, 3))
    ]
    chosen = runs.validation_slice(pairs, share)
    keys = {pair.conversation_key for pair in pairs if pair.id in chosen}
    assert chosen == {pair.id for pair in pairs if pair.conversation_key in keys}
    assert len(keys) == (max(1, round(share * conversations)) if conversations >= 10 else 0)
    chance.shuffle(pairs)
    assert runs.validation_slice(pairs, share) == chosen
    more = [*pairs, PairRow(id="new", conversation_key="another")]  # type: ignore[call-arg]
    after = {pair.conversation_key for pair in more if pair.id in runs.validation_slice(more, share)}
    # One newcomer changes at most one of them, or makes the slice one larger.
    assert conversations < 10 or len(keys - after) <= 1


# Dying --------------------------------------------------------------------------------------------------------------


def found_dead(database: Database, **later: float) -> list[str]:
    return [row.id for row in runs.recover(database, database.home, now=NOW + timedelta(**later))]


def directory(database: Database, run_id: str) -> None:
    run_lock(database.home, run_id).parent.mkdir(mode=0o700)


def test_a_run_whose_process_died_is_stopped_once_and_can_be_gone_on_with(database: Database) -> None:
    made(database, "dead", state="running", pid=2**22 + 1)
    directory(database, "dead")
    assert found_dead(database) == ["dead"]
    assert found_dead(database) == []
    row = stored(database, "dead")
    assert (row.state, row.message) == ("stopped", "Its process died; it can be resumed from its last checkpoint.")
    runs.check_resumable(database.home, row)
    assert not verify(database).findings


@one_database
def test_a_run_that_lives_waits_or_is_another_machines_is_left_alone(database: Database) -> None:
    for name, state, pid in (("alive", "running", 1), ("waits", "queued", 0), ("ended", "finished", 1)):
        made(database, name, state=state, pid=pid)
        change(database, name, created_at=NOW)
        directory(database, name)
    made(database, "elsewhere", state="running", pid=1)
    with taken(run_lock(database.home, "alive"), wait=lambda: False) as mine:
        assert mine
        assert found_dead(database, minutes=5) == []
        with pytest.raises(runs.TrainingRefused, match="is being done by process 1"):
            runs.check_resumable(database.home, stored(database, "alive").model_copy(update={"state": "stopped"}))
        assert found_dead(database, minutes=11) == ["waits"], "nobody came for it"
    assert stored(database, "elsewhere").state == "running"
    assert found_dead(database, minutes=11) == ["alive"]


@one_database
def test_a_lock_goes_with_its_process_however_that_ends(database: Database) -> None:
    made(database, "held", state="running", pid=1)
    directory(database, "held")
    script = (
        "import fcntl,os,sys,signal; fcntl.flock(os.open(sys.argv[1], os.O_CREAT), fcntl.LOCK_EX);"
        "print('held', flush=True); signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(run_lock(database.home, "held"))], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert found_dead(database) == []
        child.kill()
    assert found_dead(database) == ["held"]


@one_database
@pytest.mark.parametrize(
    ("state", "told"), [("finished", "has come to its end (finished)"), ("stopped", "has no directory here any more")]
)
def test_what_cannot_be_gone_on_with_is_told(database: Database, state: str, told: str) -> None:
    made(database, "old", state=state)
    with pytest.raises(runs.TrainingRefused) as refusal:
        runs.check_resumable(database.home, stored(database, "old"))
    assert told in refusal.value.message


@one_database
def test_a_run_is_found_by_the_beginning_of_its_name_where_only_one_begins_so(database: Database) -> None:
    for name in ("20260504-090000-aaa", "20260504-090000-aab", "100%"):
        made(database, name)
    with database.read() as session:
        assert runs.find_run(session, "20260504-090000-aab").id == "20260504-090000-aab"
        assert runs.find_run(session, "100").id == "100%"
        for name, told in (("2026", "Several runs"), ("", "There is no run"), ("%", "no run"), ("_00%", "no run")):
            with pytest.raises(InputError, match=told):
                runs.find_run(session, name)


# Pruning ------------------------------------------------------------------------------------------------------------


@one_database
def test_only_directories_of_old_runs_go_that_nobody_may_still_look_at(database: Database) -> None:
    for number in range(6):
        name = f"run-{number}"
        made(database, name, state="running" if number == 0 else "finished")
        change(database, name, created_at=START + timedelta(hours=number))
        directory(database, name)
        (database.home.runs / name / "report.html").write_text("figures")
    adapter = candidate(database, seed=1)
    change(database, "run-1", adapter_id=adapter.id)
    (database.home.runs / "not-ours").mkdir()
    outside = database.home.root / "outside"
    outside.mkdir()
    (database.home.runs / "linked").symlink_to(outside)
    made(database, "linked")
    change(database, "linked", created_at=START - timedelta(hours=1))
    assert runs.prune(database, database.home, keep=2) == 2
    left = sorted(path.name for path in database.home.runs.iterdir())
    assert left == ["linked", "not-ours", "run-0", "run-1", "run-4", "run-5"]
    assert runs.prune(database, database.home, keep=2) == 0
    assert outside.is_dir()


@one_database
def test_a_pair_that_was_rejected_since_is_not_trained_on_when_its_turn_comes(
    database: Database, tmp_path: Path
) -> None:
    imported(database, tmp_path, 3)
    row = begun(database)
    with database.read() as session:
        pair = queries.pairs_of_run(session=session, run_id=row.id)[0][0]
    reject(database, pair_ids=[pair.id], by="local:ana", reason="it is wrong", now=NOW)
    process = runs.spawn(database.home, row.id, environment={**os.environ})
    assert process.wait(60) == 1
    ended = stored(database, row.id)
    assert ended.state == "failed"
    assert ended.message.startswith("Pairs of this run were erased or rejected, or may not be trained on any more")
    assert ended.adapter_id == ""
