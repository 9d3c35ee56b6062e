"""Runs: fine-tunes as the database knows them. Whether one may start, what it is made of, and what became of it.

A run is begun here in one transaction and done by a process of its own (:mod:`engine.learning.child`). Its data and
settings are fixed when it is begun: whoever resumes it goes on with the same. This file knows no model library.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sqlmodel import Session

from engine.learning.ledger import Ledger, recorded
from engine.learning.locks import held, run_lock
from engine.learning.settings import LearningSettings
from engine.scopes import parse
from engine.settings import EngineSettings
from storage import run_queries as queries
from storage.database import Database
from storage.errors import InputError, RedraftError, StorageError
from storage.home import Home
from storage.learning_tables import PairRow, RunRow

if TYPE_CHECKING:
    from engine.learning.selection import Selection

Cause = Literal["manual", "schedule", "erasure", "demo"]

#: What decides the weights that come out, beside the pairs.
TRAINING = (
    "train_rank", "train_alpha", "train_dropout", "train_learning_rate", "train_epochs", "train_warmup",
    "train_batch", "train_accumulation", "train_validation", "train_patience", "train_judged", "train_seed",
)  # fmt: skip
MODEL = ("engine_model", "engine_revision", "engine_quantization", "engine_max_context", "engine_max_new_tokens")
#: Fewer conversations than this are all trained on: a slice of one or two would stop a run by chance.
_LEAST_FOR_VALIDATION = 10
#: A run whose process was never seen is given up after this long.
_UNSEEN = timedelta(minutes=10)
#: States in which a run can be done, from its last checkpoint where it has one.
RESUMABLE = ("queued", "running", "stopped", "failed")
#: What a model cannot be trained on, as :mod:`engine.training.examples` counts it, and how a sentence says it.
_MODEL_REASONS = {
    "model_too_long": "longer than the model reads",
    "model_no_summary": "without a summary",
    "model_summary_too_long": "with a summary longer than the model writes",
    "model_style": "in a style that the model cannot be asked for",
    "model_language": "in a language that the model cannot be asked for",
    "model_no_dialogue": "without a readable dialogue",
    "model_focus": "with a topic that no message is about",
}


class TrainingRefused(RedraftError):
    """A fine-tune may not start, with the reason."""


# Beginning ----------------------------------------------------------------------------------------------------------


def start_run(
    database: Database,
    home: Home,
    *,
    settings: LearningSettings,
    engine: EngineSettings,
    scope: str,
    cause: Cause,
    by: str,
    slot: str = "",
    now: datetime | None = None,
) -> RunRow:
    """Begin a run: its pairs, its settings and its line in the ledger, in one transaction. :func:`spawn` has it done.

    Args:
        settings: of the learning loop; what decides the weights is kept with the run.
        engine: which base model.
        scope: see :mod:`engine.scopes`.
        by: who asks for it: ``local:maria``, ``slack:U01AB``, or ``redraft`` for the schedule.
        slot: the due time that started it, local date and time.

    Raises:
        InputError: the scope is none.
        TrainingRefused: there is no pair to train on, one is under way in the scope, or the outcome is known already.
        StorageError: the database or the data directory cannot be written.
    """
    from engine.learning import selection
    from engine.model.resolve import identity
    from engine.text.prompts import PROMPT_VERSION

    scope = str(parse(scope))
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    recover(database, home, now=moment)
    model, revision = identity(engine, home.models)
    snapshot = snapshot_of(settings, engine)
    settings_hash = hash_of({**snapshot, "base": model, "revision": revision, "prompt_version": PROMPT_VERSION})
    run_id = f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    try:
        with recorded(database) as (session, ledger):
            _refuse_second(session, scope)
            chosen = selection.training_pairs(session, scope, settings)
            if not chosen.pairs:
                raise _nothing_to_train(scope, chosen)
            data_hash = selection.data_hash(chosen.pairs)
            _refuse_known(session, data_hash, settings_hash)
            validation = validation_slice(chosen.pairs, settings.train_validation)
            row = RunRow(
                id=run_id,
                scope=scope,
                state="queued",
                cause=cause,
                slot=slot,
                requested_by=by,
                created_at=moment,
                base_model=model,
                base_revision=revision,
                prompt_version=PROMPT_VERSION,
                settings=snapshot,
                settings_hash=settings_hash,
                data_hash=data_hash,
                train_pairs=len(chosen.pairs) - len(validation),
                validation_pairs=len(validation),
                left_out=dict(chosen.left_out),
            )
            session.add(row)
            session.flush()
            roles = ((pair.id, "validation" if pair.id in validation else "train") for pair in chosen.pairs)
            queries.add_run_pairs(session=session, run_id=run_id, roles=roles)
            ledger.append(
                "run.requested",
                by=by,
                subject=run_id,
                details={"scope": scope, "cause": cause, "pairs": len(chosen.pairs), "data": data_hash},
                now=moment,
            )
            with _told_as_storage_error(home.runs):
                run_lock(home, run_id).parent.mkdir(mode=0o700)
    except BaseException:
        # Made last inside the transaction: without its row it means nothing.
        with contextlib.suppress(OSError):
            run_lock(home, run_id).parent.rmdir()
        raise
    return row


def due(session: Session, scope: str, settings: LearningSettings) -> int:
    """How many new approved pairs came in a scope since its last finished run; 0 where they are too few to train."""
    from engine.learning import selection

    count = selection.new_pairs(session, scope, settings, queries.last_finished(session=session, scope=scope))
    return count if count >= settings.train_min_new_pairs else 0


def snapshot_of(settings: LearningSettings, engine: EngineSettings) -> dict[str, Any]:
    """What a run keeps of the settings, by their names."""
    found = {name: getattr(settings, name) for name in TRAINING}
    return {**found, **{name: getattr(engine, name) for name in MODEL}}


def restored(row: RunRow) -> tuple[LearningSettings, EngineSettings]:
    """The settings that a run goes by: those of today, and of the day it was begun what decides the weights.

    Raises:
        SettingsError: a setting of today is malformed.
    """
    kept: Mapping[str, Any] = row.settings
    learning = LearningSettings.load(**{name: kept[name] for name in TRAINING if name in kept})
    return learning, EngineSettings.load(**{name: kept[name] for name in MODEL if name in kept})


def hash_of(document: Mapping[str, Any]) -> str:
    """SHA-256 in hexadecimal of canonical JSON."""
    return hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def validation_slice(pairs: Sequence[PairRow], share: float) -> set[str]:
    """Ids of the pairs that decide when to stop, whole conversations; none where there are few.

    Which conversations these are depends on their keys alone, so that a run with more pairs keeps those of the last.
    """
    keys = sorted({pair.conversation_key for pair in pairs}, key=lambda key: _digest(f"validation/{key}"))
    if len(keys) < _LEAST_FOR_VALIDATION:
        return set()
    chosen = set(keys[: max(1, round(share * len(keys)))])
    return {pair.id for pair in pairs if pair.conversation_key in chosen}


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()


def _refuse_second(session: Session, scope: str) -> None:
    for row in queries.open_runs(session=session, scope=scope):
        raise TrainingRefused(
            f"A fine-tune of {scope} is under way already ({row.id}, {row.state}).",
            f"Wait for it, or see `redraft runs show {row.id}`.",
        )


def _refuse_known(session: Session, data_hash: str, settings_hash: str) -> None:
    known = queries.adapter_of(session=session, data_hash=data_hash, settings_hash=settings_hash)
    if known is None:
        return
    if known.state == "rejected":
        raise TrainingRefused(
            f"An adapter of just these pairs and settings, {known.id}, was rejected; the same is not offered again.",
            "Approve more pairs, or change a setting of the fine-tune.",
        )
    raise TrainingRefused(
        f"Nothing is new: the adapter {known.id} was trained on just these pairs with these settings.",
        f"Approve more pairs, or see `redraft adapters show {known.id}`.",
    )


def _nothing_to_train(scope: str, chosen: Selection) -> TrainingRefused:
    """The sentence for a training set of no pair: what lacks, and what to do about the first of it."""
    why = left_out_sentence(chosen.left_out)
    message = f"There is no pair to train {scope} on" + (f": {why}." if why else ".")
    if chosen.left_out.get("unauthorised"):
        return TrainingRefused(
            message, "Authorise it with `redraft training authorize`, if the platform's terms allow."
        )
    if chosen.left_out.get("pending"):
        return TrainingRefused(message, "Look at them with `redraft pairs list`, and approve some.")
    return TrainingRefused(message, "Import some with `redraft pairs import`, or correct summaries.")


def left_out_sentence(left_out: Mapping[str, Any]) -> str:
    """How many pairs are not used and why, as the end of a sentence; empty where all are."""
    from engine.learning.selection import REASONS

    known = {**REASONS, **_MODEL_REASONS}
    return ", ".join(
        f"{count:,} {known.get(reason, reason.replace('_', ' '))}" for reason, count in left_out.items() if count
    )


# Processes ----------------------------------------------------------------------------------------------------------


def spawn(home: Home, run_id: str, *, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start the process that does a run, in a session of its own; it outlives whoever started it.

    What it says goes to ``runs/<id>/log.txt``. Its exit code is 0 for a finished run, 3 for one that was stopped and
    can be resumed, 1 for one that failed.

    Args:
        home: the data directory.
        run_id: a queued or stopped run of it.
        environment: in place of this process's own.

    Raises:
        StorageError: the run's directory cannot be written.
    """
    path = home.runs / run_id / "log.txt"
    with _told_as_storage_error(path):
        log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    given = dict(os.environ if environment is None else environment)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.learning.child", run_id],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**given, "REDRAFT_HOME": str(home.root)},
            start_new_session=True,
        )
    finally:
        os.close(log)


@contextlib.contextmanager
def _told_as_storage_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise StorageError(f"{path} cannot be written: {reason}.", "Run `redraft doctor`.") from error


def alive(home: Home, run_id: str) -> bool:
    """Whether the process of a run lives now, on this machine."""
    return held(run_lock(home, run_id))


def recover(
    database: Database, home: Home, *, now: datetime | None = None, ended: Collection[str] = ()
) -> list[RunRow]:
    """Find runs that say they are under way and whose process is dead; they become resumable. Harmless when repeated.

    Runs of other machines that share the database have no directory here and are left alone.

    Args:
        ended: runs whose process is known to have ended, though they may never have said a word.

    Raises:
        StorageError: the database cannot be used.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with database.read() as session:
        suspects = [row.id for row in queries.open_runs(session=session) if _dead(home, row, moment, ended)]
    if not suspects:
        return []
    found = []
    with recorded(database) as (session, ledger):
        for run_id in suspects:
            row = session.get(RunRow, run_id, with_for_update=True)
            # Looked at again inside the transaction: it may have ended by itself meanwhile.
            if row is None or row.state not in queries.OPEN or not _dead(home, row, moment, ended):
                continue
            end_run(ledger, row, "stopped", "Its process died; it can be resumed from its last checkpoint.", moment)
            found.append(row)
    return found


def _dead(home: Home, row: RunRow, now: datetime, ended: Collection[str]) -> bool:
    if not run_lock(home, row.id).parent.is_dir() or alive(home, row.id):
        return False
    # Between the row and its process's first word there is a moment, and a run may wait for somebody to spawn it.
    return row.id in ended or row.pid != 0 or (row.state == "running" or now - row.created_at > _UNSEEN)


def end_run(
    ledger: Ledger,
    row: RunRow,
    state: Literal["stopped", "finished", "failed", "refused"],
    message: str,
    now: datetime | None = None,
) -> None:
    """Set how a run ended, in the transaction of ``ledger``, with its line there."""
    row.state, row.message = state, message
    row.finished_at = (now or datetime.now(UTC)).astimezone(UTC)
    details = {"scope": row.scope, "step": row.step, "adapter": row.adapter_id}
    ledger.append(f"run.{state}", by="redraft", subject=row.id, details=details, now=row.finished_at)


# Looking ------------------------------------------------------------------------------------------------------------


def find_run(session: Session, name: str) -> RunRow:
    """The run with this id, or with one that begins so.

    Raises:
        InputError: there is none, or there are several.
    """
    found = queries.run_named(session=session, name=name) if name else []
    exact = [row for row in found if row.id == name]
    if len(exact) == 1 or len(found) == 1:
        return (exact or list(found))[0]
    if found:
        raise InputError(f"Several runs begin with {name[:40]}.", "Write more of the id; `redraft runs list` has them.")
    raise InputError(f"There is no run {name[:40]!r}.", "`redraft runs list` has them all.")


def check_resumable(home: Home, row: RunRow) -> None:
    """Refuse to go on with a run that has come to its end, is being done, or is another machine's.

    Raises:
        TrainingRefused: with the reason.
    """
    if row.state not in RESUMABLE:
        raise TrainingRefused(f"The run {row.id} has come to its end ({row.state}).", "Begin another: `redraft train`.")
    if not run_lock(home, row.id).parent.is_dir():
        raise TrainingRefused(f"The run {row.id} has no directory here any more.", "Begin another: `redraft train`.")
    if alive(home, row.id):
        raise TrainingRefused(f"The run {row.id} is being done by process {row.pid}.", "Wait for it to end.")


def prune(database: Database, home: Home, *, keep: int) -> int:
    """Remove the directories of all but the newest runs; how many went.

    Those of runs under way stay, and those whose adapter serves or waits: their reports are still of use.
    """
    with database.read() as session:
        rows = queries.runs(session=session)
        in_use = queries.adapters_in_use(session=session)
    spared = {row.id for row in rows[:keep]}
    spared |= {row.id for row in rows if row.state in queries.OPEN or (row.adapter_id and row.adapter_id in in_use)}
    known = {row.id for row in rows}
    return _removed(home, known - spared)


def _removed(home: Home, run_ids: Iterable[str]) -> int:
    count = 0
    for run_id in run_ids:
        directory = home.runs / run_id
        if directory.is_dir() and not directory.is_symlink() and not alive(home, run_id):
            shutil.rmtree(directory, ignore_errors=True)
            count += not directory.exists()
    return count
