"""``runs/<id>/report.html``: made from the run's rows and the texts of its evaluation, and again whenever they change.

It gathers; how it looks is :mod:`engine.learning.report_page`. An erasure has conversations forgotten here: their texts
go from every evaluation's file, and the reports are made anew without them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from engine.learning.evaluation_files import (
    Texts,
    path_of,
    read_texts,
    runs_with_texts,
    sweep,
    write_private,
    write_texts,
)
from engine.learning.report_page import Example, Page, render
from engine.scoring.gate import GateReport
from storage import evaluation_queries as queries
from storage.database import Database
from storage.errors import InputError
from storage.home import Home
from storage.learning_tables import AdapterRow, EvaluationRow, RunProgressRow, RunRow

NAME = "report.html"


def report_path(home: Home, run_id: str) -> Path:
    """Where a run's report is, once it is written."""
    return home.runs / run_id / NAME


def write_report(database: Database, home: Home, run_id: str) -> Path:
    """Write a run's report, in place of the one that there was; before an evaluation it has the curves alone.

    Args:
        run_id: of a run, or of an adapter that was evaluated and has none.

    Raises:
        InputError: there is no such run.
        StorageError: it cannot be written.
    """
    with database.read() as session:
        run = session.get(RunRow, run_id)
        evaluation = queries.newest_evaluation(session=session, name=run_id)
        progress = queries.progress_of(session=session, run_id=run_id)
        adapter = session.get(AdapterRow, run.adapter_id if run is not None else run_id)
    if run is None and evaluation is None:
        raise InputError(f"There is no run {run_id[:40]!r}.", "`redraft runs list` shows them.")
    path = report_path(home, run_id)
    texts = read_texts(home, run_id)
    while True:
        page = _page(run_id, run, adapter, evaluation, progress, texts)
        write_private(path, render(page).encode("utf-8", "replace"))
        # Whoever took a conversation out of the texts meanwhile must not find it back in the report.
        before, texts = texts, read_texts(home, run_id)
        if texts == before:
            return path


def forget_conversations(
    database: Database, home: Home, keys: Collection[str], pair_ids: Collection[str] = ()
) -> list[str]:
    """Take conversations out of every evaluation's texts, and write the reports that showed them anew.

    Call it outside a writing transaction of the database, and again after a failure: it is harmless when repeated. A
    file that cannot be read is deleted, with its report, since nobody can say what is in it.

    Args:
        keys: their ``conversation_key``.
        pair_ids: pairs whose conversations go too, whole, because somebody's reference is to be forgotten.

    Returns:
        The runs whose files changed.

    Raises:
        StorageError: a file cannot be written; what came before it is done.
    """
    forgotten, pairs = frozenset(keys), frozenset(pair_ids)
    sweep(home)
    changed = []
    for run_id in list(runs_with_texts(home)):
        texts = read_texts(home, run_id)
        kept = texts.without(forgotten, pairs) if texts is not None else None
        if texts is not None and kept is not None and len(kept.held) == len(texts.held):
            continue
        # First, so that whoever is killed here is not taken for done the next time; it is made anew below.
        report_path(home, run_id).unlink(missing_ok=True)
        if kept is None:
            path_of(home, run_id).unlink(missing_ok=True)
        else:
            write_texts(home, run_id, kept)
        with suppress(InputError):
            write_report(database, home, run_id)
        changed.append(run_id)
    return changed


def _page(
    run_id: str,
    run: RunRow | None,
    adapter: AdapterRow | None,
    evaluation: EvaluationRow | None,
    progress: Sequence[RunProgressRow],
    texts: Texts | None,
) -> Page:
    gate = _gate(evaluation)
    before = gate.against if gate is not None else "base"
    examples: list[Example] = []
    private = 0
    if gate is not None and evaluation is not None and texts is not None and texts.evaluation_id == evaluation.id:
        left, right = texts.summaries.get(before, ()), texts.summaries.get("candidate", ())
        examples = [Example(*row) for row in zip(texts.held, left, right, strict=False)]
        private = texts.private
    return Page(
        title=f"Run {run_id}" if run is not None else f"Adapter {run_id}",
        facts=_facts(run, adapter, evaluation),
        settings=run.settings if run is not None else {},
        training=[(row.step, row.loss) for row in progress if row.kind == "train"],
        validation=[(row.step, row.loss) for row in progress if row.kind == "validation"],
        gate=gate,
        before=before,
        examples=examples,
        private=private,
    )


def _gate(evaluation: EvaluationRow | None) -> GateReport | None:
    if evaluation is None:
        return None
    try:
        return GateReport.from_json(evaluation.report)
    except (ValueError, KeyError, TypeError):
        return None


def _facts(run: RunRow | None, adapter: AdapterRow | None, evaluation: EvaluationRow | None) -> list[tuple[str, str]]:
    facts: list[tuple[str, str]] = []
    if run is not None:
        base = f"{run.base_model}@{run.base_revision[:12]}" if run.base_revision else run.base_model
        facts += [
            ("Scope", run.scope),
            ("Base", base),
            ("State", f"{run.state}. {run.message}".strip()),
            ("Cause", run.cause),
            ("Pairs", f"{run.train_pairs:,} trained on, {run.validation_pairs:,} for deciding when to stop"),
            ("Left out", ", ".join(f"{count:,} {why}" for why, count in run.left_out.items() if count)),
            ("Steps", f"{run.step:,} of {run.steps:,}" if run.steps else ""),
            ("Started", f"{run.started_at:%Y-%m-%d %H:%M} UTC" if run.started_at else ""),
            ("Took", _took((run.finished_at - run.started_at).total_seconds()))
            if run.started_at and run.finished_at
            else ("Took", ""),
        ]
    if adapter is not None:
        facts += [("Adapter", adapter.id), ("Adapter is", adapter.state)]
        if run is None:
            facts += [("Scope", adapter.scope), ("Base", adapter.base_model)]
    if evaluation is not None:
        facts += [
            ("Evaluated", f"{evaluation.at:%Y-%m-%d %H:%M} UTC"),
            ("Measured against", evaluation.against),
        ]
    return facts


def _took(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
