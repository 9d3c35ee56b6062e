"""Makes small adapters and what the registry knows of them, for tests that need no training."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path

from engine.learning.ledger import recorded
from engine.learning.promotion import promote
from engine.learning.registry import record_candidate
from engine.learning.settings import LearningSettings
from engine.model.adapter_files import AdapterAbout, Manifest
from engine.model.adapter_publishing import publish
from engine.text.prompts import PROMPT_VERSION
from storage.database import Database
from storage.learning_tables import AdapterRow, EvaluationRow, RunRow

START = datetime(2026, 5, 4, 9, 0, tzinfo=UTC)
OURS = {"scope": "default", "base_model": "tiny", "base_revision": ""}


def files(adapters: Path, *, seed: int = 0, run_id: str = "", **about: str) -> Manifest:
    """An adapter's files in place, and no row."""
    import torch

    what = {**OURS, **about}
    generator = torch.Generator().manual_seed(seed)
    return publish(
        adapters,
        weights={"base_model.model.layer.lora_A.weight": torch.randn(2, 4, generator=generator)},
        config={"r": 2, "peft_type": "LORA"},
        about=AdapterAbout(
            model_type="bart",
            prompt_version=PROMPT_VERSION,
            tokenizer_sha256="0" * 64,
            run_id=run_id or f"run-{seed}",
            data_hash=what.pop("data_hash", f"data-{seed}"),
            settings_hash=what.pop("settings_hash", "settings"),
            train_pairs=30,
            settings={"rank": 2},
            metrics={},
            **what,
        ),
    )


def run(database: Database, run_id: str, *, scope: str = "default", state: str = "finished", **given: object) -> RunRow:
    """A run's row."""
    row = RunRow(id=run_id, scope=scope, state=state, cause="manual", created_at=START, **given)
    with database.write() as session:
        session.add(row)
    return row


def candidate(database: Database, *, seed: int = 0, now: datetime = START, **about: str) -> AdapterRow:
    """A candidate with its files, its run and its row."""
    manifest = files(database.home.adapters, seed=seed, **about)
    with database.read() as session:
        known = session.get(RunRow, manifest.about.run_id) is not None
    if not known:
        run(database, manifest.about.run_id, scope=manifest.about.scope)
    with recorded(database) as (session, ledger):
        return record_candidate(session, ledger, manifest, size_bytes=1234, now=now)


def serve(database: Database, *, seed: int, by: str = "local:ana", **about: str) -> AdapterRow:
    """An adapter in service, whatever a gate says."""
    row, settings = candidate(database, seed=seed, **about), LearningSettings()
    promote(database, database.home, settings, adapter_id=row.id, by=by, force=True, reason="for the test", now=START)
    return row


def gate(
    database: Database, row: AdapterRow, verdict: str = "better", *, against: str = "base", now: datetime = START
) -> None:
    """The newest gate of an adapter."""
    with database.write() as session:
        session.add(
            EvaluationRow(
                id=uuid.uuid4().hex, adapter_id=row.id, scope=row.scope, against=against, run_id=row.run_id, at=now,
                verdict=verdict, blind_references=80, report={},
            )
        )  # fmt: skip
        stored = session.get(AdapterRow, row.id)
        assert stored is not None
        stored.verdict = verdict
