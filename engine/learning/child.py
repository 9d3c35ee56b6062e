"""The process of one fine-tune: ``python -m engine.learning.child RUN``. Train, publish, record, measure, tell.

One at a time on a machine; its crash, its memory and its ``kill -9`` are its own. Each thing that others can see comes
into being whole: checkpoints by their marker, an adapter by rename, the candidate with the run's row in one
transaction. Whatever it was at when it died, whoever resumes the run goes on from there. The model libraries are behind
:func:`engine.training.fine_tune.fine_tune`; this file holds ends together and knows none of them.

Exit codes: 0 finished, 1 failed or refused, 3 stopped and resumable.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from engine.learning import alerts, runs
from engine.learning.learner import Learner, Stop
from engine.learning.ledger import recorded
from engine.learning.locks import machine_lock, run_lock, taken
from engine.learning.settings import LearningSettings
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import RedraftError, StorageError
from storage.home import Home
from storage.learning_tables import AdapterRow, RunRow

if TYPE_CHECKING:
    from engine.model.adapter_files import Manifest
    from engine.training.job import Trained

FINISHED, FAILED, STOPPED = 0, 1, 3
#: Below whatever serves: a fine-tune takes what is left.
_NICE = 10
_GONE = (
    "Pairs of this run were erased or rejected, or may not be trained on any more; nothing of it is kept.",
    "Start another with `redraft train`.",
)


class Child:
    """One run, from its lock to its end.

    Args:
        database: open.
        home: the data directory.
        run_id: of a queued or stopped run.
        stop: set by a signal.
    """

    def __init__(self, database: Database, home: Home, run_id: str, stop: Stop) -> None:
        self._database = database
        self._home = home
        self._run_id = run_id
        self._stop = stop
        self._waited = False
        self._log = structlog.get_logger("train").bind(run=run_id)

    async def run(self) -> int:
        """Do the run; the exit code. What went wrong is in its row.

        Raises:
            StorageError: the database cannot be used; the run is found and can be resumed later.
        """
        with taken(run_lock(self._home, self._run_id), wait=lambda: False) as mine:
            if not mine:
                self._log.error("the run is being done by another process")
                return FAILED
            row = self._claim()
            if row is None:
                self._log.error("the run cannot be done: there is none, or it has come to its end")
                return FAILED
            try:
                settings, engine = runs.restored(row)
                with taken(machine_lock(settings), wait=self._wait) as alone:
                    if not alone:
                        return self._ended("stopped", "It was stopped before its turn came; it can be resumed.")
                    return await self._work(row, settings, engine)
            except RedraftError as error:
                # A disk that is full has room for the sentence that says so, or else this raises once more.
                return self._failed(error)
            except Exception as error:
                self._log.exception("the run failed")
                return self._failed(_unexpected(error))

    def _wait(self) -> bool:
        """While another fine-tune has the machine."""
        if not self._waited:
            self._waited = True
            self._say("Waits for another fine-tune on this machine to end.")
        return not self._stop.asked

    async def _work(self, row: RunRow, settings: LearningSettings, engine: EngineSettings) -> int:
        from engine.training.job import TrainingStopped

        self._begin()
        os.nice(_NICE)
        adapter_id = row.adapter_id
        if not adapter_id:
            try:
                async with _memory(self._home, settings):
                    trained = await asyncio.to_thread(self._train, row, settings, engine)
            except TrainingStopped as stopped:
                return self._ended("stopped", stopped.message)
            adapter_id = self._publish(row, trained)
            del trained
        self._checkpoints().clear()
        try:
            note = await self._measure(adapter_id, settings, engine)
        except asyncio.CancelledError:
            return self._ended("stopped", f"It was stopped while {adapter_id} was measured; it can be resumed.")
        self._finish(adapter_id, note)
        runs.prune(self._database, self._home, keep=settings.train_runs_kept)
        return FINISHED

    # Training -------------------------------------------------------------------------------------------------------

    def _train(self, row: RunRow, settings: LearningSettings, engine: EngineSettings) -> Trained:
        """Fine-tune on the run's pairs, in a thread of its own."""
        from engine.training.fine_tune import fine_tune
        from engine.training.job import Hyper

        pairs, validation = Learner.pairs(self._database, self._run_id)
        learner = Learner(self._database, self._run_id, self._stop)
        hyper = Hyper(
            rank=settings.train_rank,
            alpha=settings.train_alpha,
            dropout=settings.train_dropout,
            learning_rate=settings.train_learning_rate,
            epochs=settings.train_epochs,
            warmup=settings.train_warmup,
            batch=settings.train_batch,
            accumulation=settings.train_accumulation,
            patience=settings.train_patience,
            judged=settings.train_judged,
            seed=settings.train_seed,
            threads=settings.train_threads,
            checkpoint_seconds=settings.train_checkpoint_minutes * 60,
        )
        try:
            return fine_tune(
                pairs,
                validation,
                engine=engine,
                hyper=hyper,
                listener=learner,
                checkpoints=self._home.runs / self._run_id / "checkpoints",
                run=f"{self._run_id}/{row.data_hash}/{row.settings_hash}",
                pins=self._home.models,
            )
        finally:
            learner.flush()

    def _publish(self, row: RunRow, trained: Trained) -> str:
        """Bring the adapter into being and record it as a candidate with its run, in one transaction."""
        from engine.learning.registry import record_candidate
        from engine.model.adapter_files import AdapterAbout
        from engine.model.adapter_publishing import publish

        about = AdapterAbout(
            scope=row.scope,
            base_model=trained.info.name,
            base_revision=trained.info.revision,
            base_fingerprint=trained.info.fingerprint,
            model_type=trained.info.model_type,
            prompt_version=row.prompt_version,
            tokenizer_sha256=trained.tokenizer_sha256,
            run_id=row.id,
            data_hash=row.data_hash,
            settings_hash=row.settings_hash,
            train_pairs=int(trained.metrics["examples"]),
            settings=row.settings,
            metrics=trained.metrics,
        )
        manifest = publish(self._home.adapters, weights=trained.weights, config=trained.config, about=about)
        try:
            with recorded(self._database) as (session, ledger):
                self._still_allowed(session)
                stored = session.get(RunRow, self._run_id, with_for_update=True)
                assert stored is not None
                record_candidate(session, ledger, manifest, size_bytes=_size(self._home, manifest))
                stored.adapter_id = manifest.id
                stored.metrics = trained.metrics
                stored.base_revision = trained.info.revision
                stored.left_out = {**stored.left_out, **_unusable(trained.metrics)}
        except BaseException:
            with self._database.read() as session:
                known = session.get(AdapterRow, manifest.id) is not None
            if not known:
                shutil.rmtree(self._home.adapters / manifest.id, ignore_errors=True)
            raise
        return manifest.id

    def _still_allowed(self, session: Any) -> None:
        """Refuse where a pair of the run may not be trained on any more.

        Raises:
            TrainingRefused: one was erased or rejected, or its platform's authorisation revoked, for example.
        """
        from engine.learning.selection import taken_back

        row = session.get(RunRow, self._run_id)
        settings, _ = runs.restored(row)
        if taken_back(session, row.id, row.scope, settings):
            raise runs.TrainingRefused(*_GONE)

    # Measuring ------------------------------------------------------------------------------------------------------

    async def _measure(self, adapter_id: str, settings: LearningSettings, engine: EngineSettings) -> str:
        """Evaluate the candidate; a sentence where that could not be done, or nothing."""
        from engine.client import find_client
        from engine.learning.evaluation import engines_of_their_own, evaluate
        from engine.learning.registry import RegistrySource

        self._say(f"Measures {adapter_id} on held-out conversations.")
        note = ""
        client = find_client(engine, self._home, adapters=RegistrySource(self._database, self._home))
        # What serves, and so a running engine, may belong to another base than the run's.
        elsewhere = engines_of_their_own(engine, self._database)
        task = asyncio.ensure_future(
            evaluate(self._database, client, settings, adapter_id=adapter_id, tell=self._measuring, elsewhere=elsewhere)
        )
        try:
            with self._stop.cancelling(task):
                await task
        except StorageError:
            raise
        except RedraftError as error:
            note = f"It could not be measured: {error.message}"
        finally:
            await client.close()
        return note

    def _measuring(self, sentence: str) -> None:
        with contextlib.suppress(StorageError):
            self._say(sentence)

    # The run's row --------------------------------------------------------------------------------------------------

    def _claim(self) -> RunRow | None:
        """Make the run this process's; None where it is not to be done."""
        with self._database.write() as session:
            row = session.get(RunRow, self._run_id, with_for_update=True)
            if row is None or row.state not in runs.RESUMABLE:
                return None
            row.resumed += row.state != "queued"
            row.state, row.pid, row.message, row.finished_at = "queued", os.getpid(), "", None
            return row

    def _begin(self) -> None:
        """It is this run's turn."""
        with recorded(self._database) as (session, ledger):
            row = session.get(RunRow, self._run_id, with_for_update=True)
            assert row is not None
            self._still_allowed(session)
            row.state, row.message = "running", ""
            row.started_at = row.started_at or _now()
            details = {"scope": row.scope, "resumed": row.resumed}
            ledger.append("run.started", by="redraft", subject=row.id, details=details)

    def _say(self, sentence: str) -> None:
        """What takes time now, where others can read it."""
        with self._database.write() as session:
            row = session.get(RunRow, self._run_id)
            if row is not None and row.message != sentence:
                row.message = sentence

    def _finish(self, adapter_id: str, note: str) -> None:
        with recorded(self._database) as (session, ledger):
            row = session.get(RunRow, self._run_id, with_for_update=True)
            adapter = session.get(AdapterRow, adapter_id)
            assert row is not None
            verdict = adapter.verdict if adapter is not None else ""
            ended = f"The candidate {adapter_id} was found {verdict}." if verdict else f"It made {adapter_id}."
            runs.end_run(ledger, row, "finished", f"{ended} {note}".strip())
            alerts.clear_alert(session, kind="run-failed", subject=row.scope)
            if adapter is not None and adapter.state == "candidate":
                alerts.candidate_waiting(session, adapter=adapter)
        self._log.info("the run is finished", adapter=adapter_id, verdict=verdict)
        self._report()

    def _report(self) -> None:
        """Write the report of a run that has ended: it says how. `redraft evaluate` writes one that could not be."""
        from engine.learning.report import write_report

        try:
            write_report(self._database, self._home, self._run_id)
        except RedraftError as error:
            self._log.warning("the report could not be written", reason=error.message)

    def _failed(self, error: RedraftError) -> int:
        self._log.error("the run failed", reason=error.message)
        return self._ended("failed", str(error))

    def _ended(self, state: Any, message: str) -> int:
        with recorded(self._database) as (session, ledger):
            row = session.get(RunRow, self._run_id, with_for_update=True)
            assert row is not None
            runs.end_run(ledger, row, state, message)
            if state == "failed":
                alerts.run_failed(session, scope=row.scope, run_id=row.id, message=message)
        if state == "failed":
            self._report()
        return STOPPED if state == "stopped" else FAILED

    def _checkpoints(self) -> Any:
        from engine.training.checkpoints import Checkpoints

        return Checkpoints(self._home.runs / self._run_id / "checkpoints")


@contextlib.asynccontextmanager
async def _memory(home: Home, settings: LearningSettings) -> AsyncIterator[None]:
    """The engine's memory for the time of the block, where the settings say so."""
    from engine.client import held

    if settings.train_beside_serving == "unload":
        async with held(home):
            yield
    else:
        yield


def _size(home: Home, manifest: Manifest) -> int:
    return sum(path.stat().st_size for path in (home.adapters / manifest.id).iterdir())


def _unusable(metrics: dict[str, Any]) -> dict[str, int]:
    """Pairs that the model could not be trained on, by reason, beside those that were left out before."""
    found = metrics.get("left_out")
    return {f"model_{reason}": int(count) for reason, count in found.items()} if isinstance(found, dict) else {}


def _unexpected(error: Exception) -> RedraftError:
    if isinstance(error, MemoryError):
        return RedraftError("The memory ran out.", "Raise TRAIN_ACCUMULATION, or train where there is more.")
    if isinstance(error, OSError):
        reason = (error.strerror or type(error).__name__).lower()
        return RedraftError(f"A file could not be read or written: {reason}.", "Run `redraft doctor`.")
    return RedraftError(
        f"Something went wrong that should not have ({type(error).__name__}).", "The run's log.txt says where."
    )


def _now() -> datetime:
    return datetime.now(UTC)


def main(arguments: list[str]) -> int:
    """Entry point; one argument, the run's id."""
    from storage.logs import configure_logging
    from storage.settings import StorageSettings

    if len(arguments) != 1:
        sys.stderr.write("usage: python -m engine.learning.child RUN\n")
        return 2
    storage = StorageSettings.load()
    home = Home.create(storage)
    configure_logging("train", home.logs)
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop.on_signal)
    try:
        with contextlib.closing(Database.open(storage)) as database:
            code = asyncio.run(Child(database, home, arguments[0], stop).run())
    except StorageError as error:
        # Its row says that it is under way; whoever looks next finds that it is not (`runs.recover`).
        structlog.get_logger("train").error("the run cannot go on", run=arguments[0], reason=str(error))
        code = FAILED
    # Threads of native libraries must not keep a process alive that has nothing more to do.
    sys.stdout.flush()
    sys.stderr.flush()
    if threading.active_count() > 1:
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
