"""`redraft evaluate` measures with the model itself, and says what it found to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.learning.evaluation_files import read_texts
from engine.learning.ledger import recorded
from engine.learning.registry import record_candidate
from engine.model.loading import load
from engine.scoring.gate import judge
from engine.scoring.measuring import measure
from engine.scoring.metrics import house_stems
from engine.settings import EngineSettings
from storage.database import Database
from storage.learning_tables import EvaluationRow, RunRow
from storage.settings import StorageSettings
from tests.admin.cli import redraft
from tests.engine import tiny
from tests.engine.learning.making import START, candidate
from tests.engine.learning.test_evaluation import held
from tests.engine.model.lora import make_adapter
from tests.engine.scoring import invented


@pytest.fixture
def opened(own_home: Path) -> Database:
    return Database.open(StorageSettings.load())


def stored(database: Database, count: int = 80) -> EvaluationRow:
    """An evaluation of a candidate that writes as people do."""
    items = invented.items(count)
    house = house_stems(text for item in items for text in item.blind)
    systems = {
        "candidate": [item.blind[0] for item in items],
        "base": [invented.turns(item, 0, 1) for item in items],
    }
    report = judge(measure(items, systems, house), against="base")
    row = candidate(database)
    evaluation = EvaluationRow(
        id="e1", adapter_id=row.id, scope=row.scope, against="base", run_id=row.run_id, at=START,
        verdict=report.verdict, blind_references=240, report=report.as_json(),
    )  # fmt: skip
    with database.write() as session:
        session.add(evaluation)
    return evaluation


def test_the_newest_candidate_is_measured_with_the_model_itself(opened: Database, tmp_path: Path) -> None:
    folder = tiny.make("bart", tmp_path / "tiny")
    model = load(EngineSettings.load(engine_model=str(folder)))
    manifest = make_adapter(model, opened.home.adapters)
    with recorded(opened) as (session, ledger):
        session.add(RunRow(id="run-1", scope="default", state="finished", cause="manual", created_at=START))
        session.flush()
        record_candidate(session, ledger, manifest, size_bytes=1)
    held(opened, 3)
    done = redraft("evaluate", "--json", ENGINE_MODEL=str(folder))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    document = json.loads(done.stdout)
    assert (document["adapter"], document["against"], document["verdict"]) == (manifest.id, "base", "inconclusive")
    assert document["gate"]["blind"]["systems"]["candidate"]["empty"]["mean"] == 0
    texts = read_texts(opened.home, "run-1")
    assert texts is not None
    assert all(ours != base for ours, base in zip(texts.summaries["candidate"], texts.summaries["base"], strict=True))
    page = Path(document["report"])
    assert "Before and after" in page.read_text(encoding="utf-8")
    shown = redraft("evaluate", manifest.id[:6], "--last")
    assert shown.returncode == 0, shown.stderr
    assert "57 more conversations with a blind reference are needed" in shown.stdout
    assert str(page) in shown.stdout


def test_people_see_every_figure_with_its_interval_the_verdict_and_what_to_type(opened: Database) -> None:
    row = stored(opened)
    done = redraft("evaluate", "--last")
    assert done.returncode == 0, done.stderr
    for expected in (
        "ROUGE-L",
        "content F1",
        "novelty",
        "first 3 turns",
        "People's own references",
        "candidate − base",
        "Verdict: better",
    ):
        assert expected in done.stdout
    assert f"redraft adapters promote {row.adapter_id}" in done.stdout
    found = row.report["blind"]["differences"]["rougeL"]
    assert f"{found['mean']:+.1f} {found['low']:+.1f}…{found['high']:+.1f}" in done.stdout


def test_a_narrow_terminal_cuts_nothing_off(opened: Database) -> None:
    row = stored(opened)
    done = redraft("evaluate", "--last", COLUMNS="80")
    for system in ("candidate", "base", "trivial"):
        found = row.report["blind"]["systems"][system]["rouge1"]
        assert f"{found['mean']:.1f}" in done.stdout
        assert f"{found['low']:.1f}…{found['high']:.1f}" in done.stdout
    assert max(map(len, done.stdout.split("Verdict")[0].splitlines()[1:])) <= 80


def test_what_cannot_be_evaluated_is_refused_with_a_sentence(opened: Database) -> None:
    assert "no candidate for slack:T1" in refusal("evaluate", "--scope", "slack:T1")
    assert "is no scope" in refusal("evaluate", "--scope", "nowhere")
    row = candidate(opened)
    assert "never evaluated" in refusal("evaluate", "--last")
    assert "is for default" in refusal("evaluate", row.id, "--scope", "slack:T1")


def refusal(*arguments: str) -> str:
    done = redraft(*arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr
