"""The thread that owns the model: it loads it, runs batches, and between them does whatever else touches the model.

Adapters are attached and taken off between batches, and the model itself is let go of and loaded again, so that a
fine-tune can have its memory. A batch that fails fails its rows, and the worker lives on; where nothing that comes
after could be trusted it says so and writes no more. What waits, and in which order, is the business of a
:class:`Line`. It knows nothing of torch; no prompt or answer ever reaches its log.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from engine.failures import ModelLost, describe, device_failed
from engine.handles import BatchListener, SubmittedRow, settle
from engine.protocols import TextModel
from storage.errors import EngineError, EngineUnavailable, ModelError, RedraftError

_log = logging.getLogger(__name__)

#: A model that was let go of is tried to be loaded again so often, and so many seconds apart: whoever had its memory
#: may still be ending.
_RELOADS, _RELOAD_PAUSE_S = 3, 2.0
DEVICE_FAILED = "The model's device has failed."
_NOT_RELOADED = "The model could not be loaded again after a fine-tune."
_START_AGAIN = "Start the engine again; `redraft up` does so by itself."

T = TypeVar("T")
_Job = tuple[Callable[[TextModel], Any], "Future[Any]"]


def shutting_down() -> EngineUnavailable:
    """The refusal of an engine that takes no new requests."""
    return EngineUnavailable("The engine is shutting down.", "Try again in a minute.")


@dataclass(frozen=True, slots=True)
class BatchDone:
    """What one batch was, for metrics: rows, tokens and seconds; never text."""

    rows: int
    input_tokens: int
    output_tokens: int
    seconds: float
    failed: bool


class Line(Protocol):
    """What waits for the worker; the first two are called under the lock that both share."""

    def ready(self) -> bool:
        """Whether rows wait."""
        ...

    def take(self) -> list[SubmittedRow]:
        """The next batch, marked as running; empty where every row was cancelled meanwhile."""
        ...

    def settled(self, handle: SubmittedRow) -> None:
        """A row has its outcome."""
        ...

    def fail(self, problem: RedraftError) -> None:
        """No model will come: whatever waits is to be told so."""
        ...

    def changed(self) -> None:
        """Whether the model is there has changed: whoever waits may want to know."""
        ...


class Worker:
    """One thread and its model.

    Args:
        model: a loaded model, or None to have ``load`` make it on the thread.
        load: loads the model; also after it was let go of.
        line: where batches come from.
        lock: shared with ``line``; notified when something was put there.
        on_batch: called on the thread after every batch.
    """

    def __init__(
        self,
        model: TextModel | None,
        load: Callable[[], TextModel] | None,
        line: Line,
        lock: threading.Condition,
        on_batch: Callable[[BatchDone], None] | None = None,
    ) -> None:
        self._load = load
        self._line = line
        self._lock = lock
        self._on_batch = on_batch
        self._jobs: deque[_Job] = deque()
        self._thread: threading.Thread | None = None
        self._loading = self._hold = False
        self.stopping = False
        #: The error that everything ends with from now on, because no model will come.
        self.over: RedraftError | None = None
        # What the worker has in hand, and the newest that it ever had: one that was let go of still counts tokens.
        self._model, self._newest = model, model
        self._loaded: Future[TextModel] = Future()
        # From now on a waiter that is cancelled does not cancel it for the others.
        self._loaded.set_running_or_notify_cancel()
        self._broken: Future[str] = Future()
        self._broken.set_running_or_notify_cancel()
        if model is not None:
            self._loaded.set_result(model)

    # --- from other threads ---

    def start(self) -> None:
        """Start the thread, and with it the loading; harmless when repeated."""
        with self._lock:
            if self._thread is None and not self.stopping:
                self._thread = threading.Thread(target=self._work, name="redraft-model", daemon=True)
                self._thread.start()

    async def model(self) -> TextModel:
        """Wait for the loaded model; while it is let go of, the one that still counts tokens.

        Raises:
            ModelError: it could not be loaded.
            EngineUnavailable: the worker was stopped before.
        """
        self.start()
        first = await asyncio.wrap_future(self._loaded)
        return self._newest or first

    @property
    def loaded(self) -> TextModel | None:
        """The model, or None while it loads, when it could not be, and while it is let go of."""
        return self._model

    @property
    def broken(self) -> str:
        """A sentence on why no batch can be trusted until the process is another; empty while all is well."""
        return self._broken.result() if self._broken.done() else ""

    async def broke(self) -> str:
        """Wait until it is :attr:`broken`, and why."""
        return await asyncio.wrap_future(self._broken)

    async def between(self, work: Callable[[TextModel], T]) -> T:
        """Have ``work`` done with the model on its thread, before the next batch; waits while the model is away.

        Once begun it is finished, also when nobody waits for it any more.

        Raises:
            EngineUnavailable: the engine is going down.
            ModelError: the model could not be loaded.
            Exception: whatever ``work`` raises.
        """
        done: Future[T] = Future()
        done.set_running_or_notify_cancel()
        self.start()
        with self._lock:
            self.refuse_if_over()
            self._jobs.append((work, done))
            self._lock.notify_all()
        return await asyncio.wrap_future(done)

    def refuse_if_over(self) -> None:
        """Under the lock.

        Raises:
            EngineUnavailable: the engine is going down.
            RedraftError: no model will come.
        """
        if self.stopping:
            raise shutting_down()
        if self.over is not None:
            raise type(self.over)(self.over.message, self.over.hint)

    def hold(self, wanted: bool) -> None:
        """Let go of the model after the batch that runs, or load it again; whatever waits goes on waiting."""
        with self._lock:
            if self._hold is wanted:
                return
            self._hold = wanted
            self._lock.notify_all()
        self._line.changed()

    @property
    def held(self) -> bool:
        """Whether the model is to be let go of, or is."""
        return self._hold

    @property
    def away(self) -> bool:
        """Whether the model has been let go of, so that its memory is free."""
        return self._hold and self._model is None and not self._loading

    def stop(self) -> None:
        """Under the lock: end after the step of the model that runs."""
        self.stopping = True
        self._drop_jobs(shutting_down())
        if self._thread is None and not self._loaded.done():
            self._loaded.set_exception(shutting_down())
        self._lock.notify_all()

    async def ended(self, wait_s: float) -> bool:
        """Wait for the thread's end; whether it has. One that is loading, or in native code, cannot be interrupted."""
        thread = self._thread
        if thread is None:
            return True
        await asyncio.to_thread(thread.join, wait_s if self._loaded.done() and not self._loading else 0.1)
        return not thread.is_alive()

    # --- on the thread ---

    def _work(self) -> None:
        try:
            if self._model is None:
                self._wait_while_held()
                self._load_first()
            while self._model is not None and self._step(self._model):
                pass
        except Exception as error:  # a fault of ours; nobody may wait for ever
            _log.error("the worker ended: %s", describe(error))
            self._give_up(EngineError("The engine failed.", _START_AGAIN))
            self._break("The engine failed.")

    def _step(self, model: TextModel) -> bool:
        """Do one thing; whether to go on."""
        job: _Job | None = None
        batch: list[SubmittedRow] = []
        with self._lock:
            self._lock.wait_for(lambda: self._jobs or self._hold or self.stopping or self._line.ready())
            if self.stopping:
                return False
            hold = self._hold
            if not hold:
                job = self._jobs.popleft() if self._jobs else None
                batch = self._line.take() if job is None else []
        if hold:
            del model
            self._let_go_and_load_again()
        elif job is not None:
            self._do(model, *job)
        elif batch:
            self._run(model, batch)
        return True

    def _load_first(self) -> None:
        try:
            self._load_here()
        except RedraftError as error:
            self._give_up(error)
            self._loaded.set_exception(error)
        else:
            assert self._model is not None
            self._loaded.set_result(self._model)

    def _load_here(self) -> None:
        assert self._load is not None
        self._loading = True
        try:
            if self.stopping:
                raise shutting_down()
            self._model = self._newest = self._load()
        except RedraftError:
            raise
        except Exception as error:
            _log.error("the model could not be loaded: %s", describe(error))
            message = f"The model could not be loaded ({type(error).__name__})."
            raise ModelError(message, "The log says more.") from error
        finally:
            self._loading = False

    def _let_go_and_load_again(self) -> None:
        model, self._model = self._model, None
        assert model is not None
        model.unload()
        del model
        _log.info("the model has been let go of")
        self._wait_while_held()
        for attempt in range(1, _RELOADS + 1):
            try:
                self._load_here()
            except RedraftError as error:
                if self.stopping:
                    return
                _log.error("the model could not be loaded again: %s", error.message)
                if attempt < _RELOADS:
                    with self._lock:
                        self._lock.wait_for(lambda: self.stopping, _RELOAD_PAUSE_S)
            else:
                _log.info("the model has been loaded again")
                self._line.changed()
                return
        self._give_up(EngineError(_NOT_RELOADED, _START_AGAIN))
        self._break(_NOT_RELOADED)

    def _wait_while_held(self) -> None:
        with self._lock:
            self._lock.wait_for(lambda: self.stopping or not self._hold)

    def _give_up(self, problem: RedraftError) -> None:
        with self._lock:
            self.over = problem
            self._drop_jobs(problem)
        self._line.fail(problem)

    def _drop_jobs(self, problem: RedraftError) -> None:
        jobs, self._jobs = self._jobs, deque()
        for _, done in jobs:
            done.set_exception(problem)

    def _do(self, model: TextModel, work: Callable[[TextModel], Any], done: Future[Any]) -> None:
        try:
            self._refuse_if_broken()
            result = work(model)
        except Exception as error:
            if why := _why_lost(error):
                self._break(why)
            done.set_exception(error)
        else:
            done.set_result(result)

    def _refuse_if_broken(self) -> None:
        if self.broken:
            raise EngineError(self.broken, _START_AGAIN)

    def _break(self, why: str) -> None:
        if not self._broken.done():
            _log.error("no batch can be trusted any more: %s", why)
            self._broken.set_result(why)

    def _run(self, model: TextModel, batch: Sequence[SubmittedRow]) -> None:
        rows = [handle.row for handle in batch if handle.row is not None]
        if len(rows) < len(batch):
            return  # closed in between, and all rows told so
        listener = BatchListener(batch)
        start = time.perf_counter()
        problem: EngineError | None = None
        again: list[Sequence[SubmittedRow]] = []
        try:
            self._refuse_if_broken()
            model.generate(rows, listener)
        except EngineError as error:
            problem = error
            _log.error("a batch of %d rows failed: %s", len(batch), error.message)
            if why := _why_lost(error):
                self._break(why)
            if not self.broken and len(batch) > 1 and not any(handle.latest for handle in batch):
                # Too much for the memory, or a row that the model refuses. Nothing was written: halves may do better.
                again = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        except Exception as error:
            problem = EngineError("The engine failed while it wrote.", "Try again; its log says more.")
            _log.error("a batch of %d rows failed: %s", len(batch), describe(error))
            if why := _why_lost(error):
                self._break(why)
        seconds = time.perf_counter() - start
        if self._on_batch is not None:
            tokens = sum(row.prompt_tokens for row in rows)
            self._on_batch(BatchDone(len(rows), tokens, listener.output_tokens, seconds, problem is not None))
        del rows
        for half in again:
            if (left := [handle for handle in half if handle.outcome is None]) and not self.stopping:
                self._run(model, left)
        for handle in batch:
            if handle.outcome is None:
                settle(handle, problem or EngineError("The engine ended without an answer.", "Try again."))
            self._line.settled(handle)


def _why_lost(error: Exception) -> str:
    """The sentence for an error after which no batch can be trusted; empty where the next may do well."""
    if not device_failed(error):
        return ""
    return error.message if isinstance(error, ModelLost) else DEVICE_FAILED
