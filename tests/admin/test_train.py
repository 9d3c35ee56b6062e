"""`redraft train` and `redraft runs`, as a person and a script use them, with real fine-tunes of a tiny model."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.learning.importing import Options, import_pairs
from engine.learning.locks import taken
from engine.learning.pairs import approve
from engine.training.checkpoints import MARKER
from storage import run_queries as queries
from storage.database import Database
from storage.learning_tables import AdapterRow, PairRow, RunRow
from storage.settings import StorageSettings
from tests.admin import cli
from tests.engine import tiny
from tests.engine.learning.pairing import conversation, corrected
from tests.engine.processes import redraft, wait_until
from tests.engine.training.people import QUICK_SETTINGS, rows, take, written


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make("bart", tmp_path_factory.mktemp("tiny") / "bart")


@pytest.fixture
def given(model: Path, tmp_path: Path) -> dict[str, str]:
    """Settings for a fine-tune in a moment."""
    return {**QUICK_SETTINGS, "ENGINE_MODEL": str(model), "TRAIN_LOCK": str(tmp_path / "train.lock")}


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    yield opened
    opened.close()


def document(text: str) -> dict[str, Any]:
    """Standard output, which is one JSON document and nothing else."""
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_two_pairs_make_a_candidate_and_those_that_no_model_could_read_are_left_out_and_counted(
    database: Database, tmp_path: Path, given: dict[str, str]
) -> None:
    take(database, tmp_path, train=2)
    too_much = [
        {"id": "megabyte", "dialogue": "Ana: " + "the export job failed " * 48_000, "summary": "It failed."},
        {"id": "long", "dialogue": "\n".join(f"Tomas: step {n} was done before lunch." for n in range(90)),
         "summary": "Tomas did it all."},
    ]  # fmt: skip
    path = written(tmp_path / "more.jsonl", too_much)
    import_pairs(database, path, Options(split="train", approve=True), by="local:ana")
    done = cli.redraft("train", "--json", **given)
    assert done.returncode == 0, done.stderr
    run = document(done.stdout)
    assert (run["state"], run["train_pairs"], run["left_out"]) == ("finished", 4, {"model_too_long": 2})
    assert (run["metrics"]["examples"], run["step"], run["steps"]) == (2, 2, 2)
    with database.read() as session:
        adapter = session.get(AdapterRow, run["adapter"])
    assert adapter is not None
    assert (adapter.state, adapter.train_pairs, adapter.scope) == ("candidate", 2, "default")

    again = cli.redraft("train", "--json", **given)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == (
        f"redraft: Nothing is new: the adapter {adapter.id} was trained on just these pairs with these settings.\n"
        f"         Approve more pairs, or see `redraft adapters show {adapter.id}`.\n"
    )
    shown = cli.redraft("runs", "show", run["run"][:-3])
    assert "Pairs: 4; left out: 2 longer than the model reads\n" in shown.stdout
    assert f"Adapter: {adapter.id}\n" in shown.stdout
    listed = document(cli.redraft("runs", "list", "--json").stdout)
    assert [row["run"] for row in listed["runs"]] == [run["run"]]
    curves = document(cli.redraft("runs", "show", run["run"], "--json").stdout)["progress"]
    assert [(point["kind"], point["step"]) for point in curves] == [("train", 1), ("train", 2)]


def test_ctrl_c_keeps_a_checkpoint_and_the_run_is_gone_on_with(
    database: Database, tmp_path: Path, given: dict[str, str]
) -> None:
    take(database, tmp_path, train=1)
    given |= {"TRAIN_EPOCHS": "60", "TRAIN_CHECKPOINT_MINUTES": "0.000001"}

    def newest() -> RunRow | None:
        with database.read() as session:
            found = queries.runs(session=session, limit=1)
        return found[0] if found else None

    with redraft("train", home=database.home, **given) as command:
        with taken(Path(given["TRAIN_LOCK"]), wait=lambda: False) as mine:
            assert mine
            wait_until(lambda: "another fine-tune" in (row.message if (row := newest()) else ""), "it says it waits")
        row = newest()
        assert row is not None
        checkpoints = database.home.runs / row.id / "checkpoints"
        wait_until(lambda: any(checkpoints.glob(f"step-*/{MARKER}")), "there is a checkpoint")
        command.signal(signal.SIGINT)
        assert command.ends() == 130
    assert command.said[-1] == f"         Go on with: redraft train --resume {row.id}"
    stopped = newest()
    assert stopped is not None
    assert (stopped.state, 0 < stopped.step < stopped.steps) == ("stopped", True)
    assert stopped.message.startswith(f"The fine-tune was stopped after {stopped.step} of 60 steps.")
    assert (checkpoints / f"step-{stopped.step:06d}" / MARKER).is_file()

    resumed = cli.redraft("train", "--resume", row.id[:-2], "--json", **given)
    assert resumed.returncode == 0, resumed.stderr
    run = document(resumed.stdout)
    assert (run["state"], run["step"], run["resumed"], run["validation_pairs"]) == ("finished", 60, 1, 0)
    with database.read() as session:
        points = queries.progress(session=session, run_id=row.id, kind="train")
    assert [point.step for point in points] == list(range(1, 61))
    once_more = cli.redraft("train", "--resume", row.id, **given)
    assert (once_more.returncode, "has come to its end (finished)" in once_more.stderr) == (1, True)


def test_without_a_pair_and_with_wrong_names_it_is_one_sentence(database: Database, given: dict[str, str]) -> None:
    for arguments, told in (
        (("train", "--json"), "There is no pair to train default on.\n         Import some"),
        (("train", "--scope", "everywhere\x1b[31m"), "is no scope"),
        (("train", "--resume", "2026"), "There is no run '2026'."),
        (("runs", "show", "%", "--json"), "There is no run '%'."),
    ):
        done = cli.redraft(*arguments, **given)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert told in done.stderr
        assert "Traceback" not in done.stderr
        assert "\x1b" not in done.stderr
    assert cli.redraft("runs", "list").stdout == "There has been no fine-tune yet; `redraft train` begins one.\n"
    assert document(cli.redraft("runs", "list", "--json").stdout) == {"runs": []}


def test_pairs_that_wait_and_pairs_held_out_are_named_when_there_is_nothing_else(
    database: Database, tmp_path: Path, given: dict[str, str]
) -> None:
    take(database, tmp_path, train=0, heldout=1)
    path = written(tmp_path / "waiting.jsonl", rows(1))
    import_pairs(database, path, Options(split="train"), by="local:ana")
    done = cli.redraft("train", **given)
    assert done.returncode == 1
    assert "There is no pair to train default on: 1 waiting for approval, 1 held out for measuring." in done.stderr


def test_pairs_of_a_platform_that_nobody_authorised_are_left_out_and_train_says_so_and_what_to_do(
    database: Database, tmp_path: Path, given: dict[str, str]
) -> None:
    take(database, tmp_path, train=1)
    chat = corrected(database, conversation()).pair
    assert chat is not None
    with database.write() as session:
        pair = session.get(PairRow, chat.id)
        assert pair is not None
        pair.split = "train"
        # Short enough for a tiny model.
        pair.dialogue, pair.summary = "Imke: The job failed.\nTariq: I start it again.", "Tariq starts it."
    approve(database, pair_ids=[chat.id], by="local:ana", administrator=True)
    given |= {"TRAIN_DEFAULT_TAKES_WORKSPACES": "true"}

    done = cli.redraft("train", **given)
    assert done.returncode == 0, done.stderr
    assert done.stderr == (
        "Left out: 1 from a platform on which training is not authorised.\n"
        "`redraft training authorize` records who authorised a platform, and on what basis.\n"
    )
    assert "Pairs: 1; left out: 1 from a platform on which training is not authorised\n" in done.stdout
