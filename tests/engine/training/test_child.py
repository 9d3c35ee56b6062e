"""A whole fine-tune as its process does it, run here: from a row to a candidate, its figures and its report."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from engine.address import memory_wanted
from engine.learning import authorisation, registry, runs
from engine.learning.alerts import open_alerts
from engine.learning.child import FAILED, FINISHED, STOPPED, Child
from engine.learning.corrections import Corrected
from engine.learning.learner import Stop
from engine.learning.ledger import recorded
from engine.learning.ledger_check import verify
from engine.learning.locks import machine_lock, taken
from engine.learning.pairs import approve, reject
from engine.learning.promotion import promote
from engine.learning.settings import LearningSettings
from engine.model.loading import load
from engine.settings import EngineSettings
from engine.training import fine_tune
from engine.training.checkpoints import Checkpoints
from engine.training.job import TrainingFailed
from storage import adapter_queries
from storage import run_queries as queries
from storage.database import Database
from storage.learning_tables import AdapterRow, PairRow, RunRow
from tests.engine.learning import making
from tests.engine.learning.pairing import corrected
from tests.engine.model.lora import make_adapter
from tests.engine.training.people import QUICK_SETTINGS, take

pytestmark = pytest.mark.xdist_group("teachable-models")
Begin = Callable[[], str]


@pytest.fixture
def kind() -> str:
    return "sqlite"  # queries of its own are tested on both elsewhere


@pytest.fixture
def begin(
    database: Database, teachable_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Begin:
    """Begins a run of three pairs, with one to measure on."""
    for name, value in {**QUICK_SETTINGS, "ENGINE_MODEL": str(teachable_models["bart"])}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "nice", lambda _: 0)  # this process has more to do afterwards
    take(database, tmp_path, train=3, heldout=1)

    def begin() -> str:
        return runs.start_run(
            database, database.home, settings=LearningSettings.load(), engine=EngineSettings.load(), scope="default",
            cause="manual", by="local:ana",
        ).id  # fmt: skip

    return begin


async def done(database: Database, run_id: str, stop: Stop | None = None) -> int:
    return await Child(database, database.home, run_id, stop or Stop()).run()


def row(database: Database, run_id: str) -> RunRow:
    with database.read() as session:
        found = session.get(RunRow, run_id)
    assert found is not None
    return found


def adapters(database: Database) -> list[AdapterRow]:
    with database.read() as session:
        return list(registry.list_adapters(session))


def alerts(database: Database) -> list[str]:
    with database.read() as session:
        return [alert.kind for alert in open_alerts(session)]


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of at most so many bytes: beyond it the kernel refuses to write, as it does where a disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_run_ends_with_a_measured_candidate_its_curves_and_its_report(database: Database, begin: Begin) -> None:
    run_id = begin()
    assert await done(database, run_id) == FINISHED
    ended, (adapter,) = row(database, run_id), adapters(database)
    assert (ended.state, ended.adapter_id, ended.step, ended.steps) == ("finished", adapter.id, 4, 4)
    assert ended.message == f"The candidate {adapter.id} was found inconclusive."
    assert (adapter.state, adapter.run_id, adapter.train_pairs, adapter.verdict) == (
        "candidate", run_id, 3, "inconclusive",
    )  # fmt: skip
    with database.read() as session:
        points = queries.progress(session=session, run_id=run_id, kind="train")
    assert [point.step for point in points] == [1, 2, 3, 4]
    left = sorted(path.name for path in (database.home.runs / run_id).iterdir())
    assert left == ["evaluation.json", "report.html", "run.lock"]
    assert alerts(database) == ["candidate-waiting"]
    assert not verify(database).findings


async def test_where_the_disk_is_full_no_adapter_is_half_there_and_the_run_goes_on_once_there_is_room(
    database: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine.model import adapter_publishing

    run_id, real = begin(), adapter_publishing.publish

    def publish(*args: Any, **given: Any) -> Any:
        with room_for(20_000):
            return real(*args, **given)

    monkeypatch.setattr(adapter_publishing, "publish", publish)
    assert await done(database, run_id) == FAILED
    failed = row(database, run_id)
    assert (failed.state, failed.adapter_id) == ("failed", "")
    told = f"The adapter could not be written to {database.home.adapters}: file too large."
    assert failed.message.startswith(told)
    assert not list(database.home.adapters.iterdir())
    assert alerts(database) == ["run-failed"]
    monkeypatch.setattr(adapter_publishing, "publish", real)
    runs.check_resumable(database.home, failed)
    assert await done(database, run_id) == FINISHED
    ended = row(database, run_id)
    assert (ended.resumed, ended.adapter_id) == (1, adapters(database)[0].id)
    assert alerts(database) == ["candidate-waiting"]


async def test_a_checkpoint_that_there_is_no_room_for_leaves_the_one_before(
    database: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, real, stop = begin(), Checkpoints.save, Stop()

    def save(self: Checkpoints, checkpoint: Any) -> None:
        if checkpoint.step < 2:
            return real(self, checkpoint)
        stop.ask()
        with room_for(20_000):
            return real(self, checkpoint)

    monkeypatch.setattr(Checkpoints, "save", save)
    monkeypatch.setenv("TRAIN_CHECKPOINT_MINUTES", "0.000001")
    assert await done(database, run_id, stop) == STOPPED
    kept = Checkpoints(database.home.runs / run_id / "checkpoints").latest()
    assert kept is not None
    assert kept.step == 1
    monkeypatch.setattr(Checkpoints, "save", real)
    assert await done(database, run_id) == FINISHED
    assert row(database, run_id).step == 4


async def test_a_run_waits_for_the_machine_says_so_and_can_be_stopped_meanwhile(
    database: Database, begin: Begin
) -> None:
    run_id, stop = begin(), Stop()
    said: list[str] = []

    class Asking(Child):
        def _wait(self) -> bool:
            waits = super()._wait()
            said.append(row(database, run_id).message)
            stop.ask()
            return waits

    with taken(machine_lock(LearningSettings.load()), wait=lambda: False) as mine:
        assert mine
        assert await Asking(database, database.home, run_id, stop).run() == STOPPED
    assert said[0] == "Waits for another fine-tune on this machine to end."
    assert row(database, run_id).message == "It was stopped before its turn came; it can be resumed."


async def test_a_run_that_another_process_does_or_that_has_ended_is_not_done_again(
    database: Database, begin: Begin
) -> None:
    run_id = begin()
    with taken(runs.run_lock(database.home, run_id), wait=lambda: False):
        assert await done(database, run_id) == FAILED
    assert row(database, run_id).state == "queued"
    with database.write() as session:
        found = session.get(RunRow, run_id)
        assert found is not None
        found.state = "finished"
    assert await done(database, run_id) == FAILED
    assert row(database, run_id).state == "finished"


async def test_after_a_change_of_the_base_the_candidate_is_measured_against_what_serves_on_the_old_one(
    database: Database, begin: Begin, teachable_models: dict[str, Path]
) -> None:
    """Both have models of their own: the run's process loads one after the other."""
    old = load(EngineSettings.load(engine_model=str(teachable_models["llama"])))
    made = make_adapter(old, database.home.adapters, run_id="old")
    making.run(database, "old", settings={"engine_model": str(teachable_models["llama"])})
    with recorded(database) as (session, ledger):
        registry.record_candidate(session, ledger, made, size_bytes=1)
    promote(
        database, database.home, LearningSettings.load(), adapter_id=made.id, by="local:ana", force=True, reason="x"
    )
    run_id = begin()
    assert await done(database, run_id) == FINISHED
    ended = row(database, run_id)
    assert ended.message == f"The candidate {ended.adapter_id} was found inconclusive."
    with database.read() as session:
        found = adapter_queries.newest_evaluation(session=session, adapter_id=ended.adapter_id)
    assert found is not None
    assert (found.against, found.report["evaluation"]["failed"]) == (
        made.id, {"base": 0, "candidate": 0, "active": 0},
    )  # fmt: skip
    assert found.report["evaluation"]["systems"]["active"] == made.id


@pytest.mark.parametrize("setting", ["unload", "beside"])
async def test_a_run_has_the_engines_memory_while_it_trains_where_the_settings_say_so_and_gives_it_back(
    database: Database, begin: Begin, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    wanted: list[bool] = []
    real = fine_tune.fine_tune

    def trained(*args: Any, **given: Any) -> Any:
        wanted.append(memory_wanted(database.home))
        if len(wanted) == 1:
            raise TrainingFailed("The memory ran out while training.")
        return real(*args, **given)

    async def measured(*_: Any, **__: Any) -> str:
        wanted.append(memory_wanted(database.home))
        return ""

    monkeypatch.setenv("TRAIN_BESIDE_SERVING", setting)
    monkeypatch.setattr(fine_tune, "fine_tune", trained)
    monkeypatch.setattr(Child, "_measure", measured)
    run_id = begin()
    assert await done(database, run_id) == FAILED
    assert not memory_wanted(database.home)
    assert await done(database, run_id) == FINISHED
    held = setting == "unload"
    assert wanted == [held, held, False]  # the engine serves again before it is asked for summaries


_NEVER_MEASURED = """
import asyncio, sys
from engine.learning import child, writing

async def write(*_, **__):
    print("measuring", flush=True)
    await asyncio.Event().wait()

writing.Writer.write = write
sys.exit(child.main(sys.argv[1:]))
"""


async def test_a_signal_while_the_candidate_is_measured_stops_the_run_which_goes_on_with_measuring(
    database: Database, begin: Begin
) -> None:
    run_id = begin()
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _NEVER_MEASURED, run_id], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert "measuring\n" in process.stdout  # read until it says so
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == STOPPED
        finally:
            process.kill()
    stopped, (adapter,) = row(database, run_id), adapters(database)
    assert (stopped.state, stopped.adapter_id, adapter.verdict) == ("stopped", adapter.id, "")
    assert stopped.message == f"It was stopped while {adapter.id} was measured; it can be resumed."
    assert alerts(database) == []
    runs.check_resumable(database.home, stopped)
    assert await done(database, run_id) == FINISHED
    ended, (measured,) = row(database, run_id), adapters(database)
    assert (ended.state, ended.resumed, ended.adapter_id) == ("finished", 1, adapter.id)
    assert (measured.id, measured.verdict) == (adapter.id, "inconclusive")
    with database.read() as session:
        points = queries.progress(session=session, run_id=run_id, kind="train")
    assert [point.step for point in points] == [1, 2, 3, 4]  # it was not trained again


@pytest.fixture
def chat(
    database: Database, teachable_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> tuple[str, list[Corrected]]:
    """A run of a Slack workspace, and the three approved corrections that it was made of."""
    room = {"ENGINE_MODEL": str(teachable_models["bart"]), "ENGINE_MAX_NEW_TOKENS": "200"}
    for name, value in {**QUICK_SETTINGS, **room}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "nice", lambda _: 0)
    made = [corrected(database) for _ in range(3)]
    names = [one.pair.id for one in made if one.pair]
    with database.write() as session:
        for pair in session.scalars(select(PairRow)):
            pair.split = "train"
    authorisation.authorise(database, platform="slack", authorised_by="Ana Ruiz", basis="consent", by="local:ana")
    approve(database, pair_ids=names, by="local:ana", administrator=True)
    begun = runs.start_run(
        database, database.home, settings=LearningSettings.load(), engine=EngineSettings.load(), scope="slack:T1",
        cause="manual", by="local:ana",
    )  # fmt: skip
    return begun.id, made


def while_training(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], object]) -> None:
    """Have something happen between the fine-tune's last step and its publishing."""
    real = Child._train

    def train(self: Child, *args: Any) -> Any:
        trained = real(self, *args)
        happens()
        return trained

    monkeypatch.setattr(Child, "_train", train)


async def test_a_correction_that_replaces_a_pair_while_it_is_trained_on_lets_the_run_finish(
    database: Database, chat: tuple[str, list[Corrected]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, made = chat
    first = made[0].correction

    def replaced() -> None:
        again = corrected(
            database, summary_id=first.summary_id, builds_on=first.id, author_id="slack:U9",
            text="Somebody else entirely writes of that thread, and in quite other words than before.",
        )  # fmt: skip
        assert again.pair is not None
        approve(database, pair_ids=[again.pair.id], by="local:ana", administrator=True)
        with database.read() as session:
            before = session.get(PairRow, first.pair_id)
            assert before is not None and before.superseded_by == again.pair.id

    while_training(monkeypatch, replaced)
    assert await done(database, run_id) == FINISHED, row(database, run_id).message
    assert adapters(database)[0].run_id == run_id


@pytest.mark.parametrize("how", ["authorisation revoked", "pair rejected"])
async def test_what_is_taken_back_while_it_is_trained_on_comes_into_no_adapter(
    database: Database, chat: tuple[str, list[Corrected]], monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    run_id, made = chat

    def taken_back() -> None:
        if how == "pair rejected":
            reject(database, pair_ids=[made[0].correction.pair_id], by="local:ana", reason="off topic")
        else:
            authorisation.revoke(database, platform="slack", by="local:ana")

    while_training(monkeypatch, taken_back)
    assert await done(database, run_id) == FAILED
    told = "Pairs of this run were erased or rejected, or may not be trained on any more; nothing of it is kept."
    ended = row(database, run_id)
    assert (ended.state, ended.adapter_id) == ("failed", "") and ended.message.startswith(told)
    assert adapters(database) == [] and not list(database.home.adapters.iterdir())
