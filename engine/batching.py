"""One worker thread that owns the model, and the bounded queue of requests in front of it.

Rows that arrive while a batch runs form the next one (:mod:`engine.queueing` says which). What the worker hears from
the model is handed to the event loop of whoever submitted the row, many steps and rows in one wake-up. A batch that
fails fails its rows, and the worker lives on; where the device failed too it says so, for no later batch would do
better. It knows nothing of conversations, HTTP or torch; no prompt or answer ever reaches its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from engine.failures import describe, device_failed
from engine.handles import BatchListener, Outbox, SubmittedRow, settle
from engine.protocols import Generated, Row, TextModel
from engine.queueing import FairQueue
from engine.settings import EngineSettings
from storage.errors import EngineBusy, EngineError, EngineUnavailable, ModelError, RedraftError

_log = logging.getLogger(__name__)

#: An idle worker waits this long for company for a first row: 32 requests that arrive together would otherwise run
#: as 1 and 31. `_GATHER_MOST_S` bounds the wait while admitted requests still render their prompts.
_GATHER_S = 0.005
_GATHER_MOST_S = 0.05
#: Largest share of a batch's prompt tokens that may be padding (see benchmarks/throughput.py).
_MAX_PADDING = 0.5


@dataclass(frozen=True, slots=True)
class BatchDone:
    """What one batch was, for metrics: rows, tokens and seconds; never text."""

    rows: int
    input_tokens: int
    output_tokens: int
    seconds: float
    failed: bool


def shutting_down() -> EngineUnavailable:
    """The refusal of an engine that takes no new requests."""
    return EngineUnavailable("The engine is shutting down.", "Try again in a minute.")


class Admission:
    """One request's place in the engine, from being let in to :meth:`release`; belongs to its event loop."""

    def __init__(self, batcher: Batcher, key: str, loop: asyncio.AbstractEventLoop, *, implicit: bool) -> None:
        self.key = key
        self.started = False
        self.submitted = False
        self.implicit = implicit
        self.handles: dict[SubmittedRow, None] = {}
        self._batcher = batcher
        self._loop = loop
        self._moved = asyncio.Event()

    def ahead(self) -> int:
        """How many requests came before this one and have not ended; 0 once it runs."""
        return self._batcher._ahead(self)

    async def moved(self) -> None:
        """Wait until :meth:`ahead` may have changed since the last call."""
        await self._moved.wait()
        self._moved.clear()

    def release(self) -> None:
        """The request is over: its rows are cancelled, the next ones move up. Harmless when repeated."""
        self._batcher._release(self)

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has been closed: nobody waits
            self._loop.call_soon_threadsafe(self._moved.set)


class Batcher:
    """The worker and its queue; a :class:`engine.protocols.RowSubmitter`.

    Args:
        model: a loaded model; use :meth:`loading` to load it in the worker thread.
        settings: batch and queue limits.
        on_batch: called on the worker's thread after every batch.
    """

    def __init__(
        self,
        model: TextModel | None,
        settings: EngineSettings,
        *,
        load: Callable[[], TextModel] | None = None,
        on_batch: Callable[[BatchDone], None] | None = None,
    ) -> None:
        self._load = load
        self._on_batch = on_batch
        self._limit = settings.engine_queue_limit
        self._max_rows = settings.engine_max_batch
        self._condition = threading.Condition()
        self._queue: FairQueue[SubmittedRow] = FairQueue(
            settings.engine_max_batch, settings.engine_max_batch_tokens, _MAX_PADDING
        )
        self._live: dict[str, Admission] = {}
        self._outboxes: dict[asyncio.AbstractEventLoop, Outbox] = {}
        self._batch: list[SubmittedRow] = []
        self._keys = itertools.count(1)
        self._draining = self._stopping = False
        self._emptied: Admission | None = None
        self._ran = False
        self._thread: threading.Thread | None = None
        self._loaded: Future[TextModel] = Future()
        # From now on a waiter that is cancelled does not cancel it for the others.
        self._loaded.set_running_or_notify_cancel()
        self._broken: Future[None] = Future()
        self._broken.set_running_or_notify_cancel()
        if model is not None:
            self._loaded.set_result(model)

    @classmethod
    def loading(
        cls,
        load: Callable[[], TextModel],
        settings: EngineSettings,
        *,
        on_batch: Callable[[BatchDone], None] | None = None,
    ) -> Batcher:
        """A batcher whose worker thread first loads its model, when it is first needed or started."""
        return cls(None, settings, load=load, on_batch=on_batch)

    # --- from the event loop ---

    def start(self) -> None:
        """Start the worker, and with it the loading; submitting does so too."""
        with self._condition:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._work, name="redraft-model", daemon=True)
                self._thread.start()

    async def model(self) -> TextModel:
        """Wait for the loaded model.

        Raises:
            ModelError: it could not be loaded.
            EngineUnavailable: the batcher was closed before.
        """
        self.start()
        return await asyncio.wrap_future(self._loaded)

    @property
    def loaded(self) -> TextModel | None:
        """The model, or None while it loads or when it could not be."""
        if self._loaded.done() and self._loaded.exception() is None:
            return self._loaded.result()
        return None

    @property
    def broken(self) -> bool:
        """Whether the model's device has failed: every batch from then on would, until the process is another."""
        return self._broken.done()

    async def broke(self) -> None:
        """Wait until the engine is :attr:`broken`."""
        await asyncio.wrap_future(self._broken)

    @property
    def draining(self) -> bool:
        """Whether new requests are refused because the engine goes down."""
        return self._draining

    def counts(self) -> tuple[int, int]:
        """How many requests are being worked on, and how many wait."""
        with self._condition:
            running = sum(request.started for request in self._live.values())
            return running, len(self._live) - running

    def admit(self, key: str | None = None) -> Admission:
        """Let one request in; whoever does must release it.

        Raises:
            EngineBusy: as many requests wait as may.
            EngineUnavailable: the engine is going down.
        """
        loop = asyncio.get_running_loop()
        with self._condition:
            return self._admit(key or f"request-{next(self._keys)}", loop, implicit=False)

    async def submit(self, rows: Sequence[Row], request_key: str) -> Sequence[SubmittedRow]:
        """Queue rows; see :meth:`engine.protocols.RowSubmitter.submit`.

        A key that was not admitted before is admitted here, and released when the last of its rows has ended.
        """
        loop = asyncio.get_running_loop()
        self.start()
        with self._condition:
            if self._stopping:
                raise shutting_down()
            if self._loaded.done() and (problem := self._loaded.exception()) is not None:
                raise problem
            request = self._live.get(request_key) or self._admit(request_key, loop, implicit=True)
            ahead = self._ahead(request)
            outbox = self._outboxes.get(loop)
            if outbox is None:
                for closed in [each for each in self._outboxes if each.is_closed()]:
                    del self._outboxes[closed]
                outbox = self._outboxes[loop] = Outbox(loop)
            handles = [SubmittedRow(row, request_key, outbox, self._cancel) for row in rows]
            for handle in handles:
                handle.ahead = ahead
                request.handles[handle] = None
            request.submitted = True
            self._queue.add(request_key, handles)
            self._condition.notify_all()
        if not handles and request.implicit:
            request.release()
        return handles

    async def drain(self, seconds: float) -> bool:
        """Refuse new requests and let those under way finish; whether all did within ``seconds``.

        Whatever did not is ended as unavailable by :meth:`close`, which comes next.
        """
        with self._condition:
            self._draining = True
            self._emptied = Admission(self, "", asyncio.get_running_loop(), implicit=False)
            empty = not self._live
        if not empty:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.moved(), seconds)
        with self._condition:
            return not self._live

    async def close(self, wait_s: float = 10.0) -> bool:
        """Stop the worker within a step of the model; whatever waits or runs ends as unavailable.

        Returns:
            Whether the worker has ended; one that is loading, or in native code, cannot be interrupted.
        """
        with self._condition:
            self._draining = self._stopping = True
            left = [*self._queue.clear(), *self._batch]
            for handle in left:
                handle.wanted = False
                settle(handle, shutting_down())
            thread = self._thread
            if thread is None and not self._loaded.done():
                self._loaded.set_exception(shutting_down())
            self._condition.notify_all()
        if thread is None:
            return True
        await asyncio.to_thread(thread.join, wait_s if self._loaded.done() else 0.1)
        return not thread.is_alive()

    # --- under the lock ---

    def _admit(self, key: str, loop: asyncio.AbstractEventLoop, *, implicit: bool) -> Admission:
        if self._draining:
            raise shutting_down()
        if key in self._live:
            raise ValueError(f"the request {key} is already here")
        if sum(not request.started for request in self._live.values()) >= self._limit:
            raise EngineBusy(len(self._live))
        request = self._live[key] = Admission(self, key, loop, implicit=implicit)
        return request

    def _ahead(self, request: Admission) -> int:
        if request.started:
            return 0
        return sum(1 for _ in itertools.takewhile(lambda other: other is not request, list(self._live.values())))

    def _release(self, request: Admission) -> None:
        with self._condition:
            if self._live.get(request.key) is not request:
                return
            del self._live[request.key]
            handles = list(request.handles)
            request.handles.clear()
            behind = [other for other in self._live.values() if not other.started]
            emptied = self._emptied if not self._live else None
        for handle in handles:
            self._cancel(handle)
        for other in behind:
            other._wake()
        if emptied is not None:
            emptied._wake()

    def _cancel(self, handle: SubmittedRow) -> None:
        with self._condition:
            handle.wanted = False
            if handle.running or handle.outcome is not None:
                return  # the model asks once a step, and answers with what was written
            settle(handle, Generated("", 0, 0, "cancelled"))
        self._settled(handle)

    def _settled(self, handle: SubmittedRow) -> None:
        with self._condition:
            request = self._live.get(handle.key)
            if request is None or handle not in request.handles:
                return
            del request.handles[handle]
            over = request.implicit and not request.handles
        if over:
            request.release()

    # --- on the worker's thread ---

    def _work(self) -> None:
        model = self.loaded
        if model is None:
            model = self._load_here()
        while model is not None:
            batch = self._next_batch()
            if not batch:
                return
            self._run(model, batch)
            with self._condition:
                self._batch = []
            del batch  # while idle, the last batch's rows are not kept

    def _load_here(self) -> TextModel | None:
        assert self._load is not None
        try:
            model = self._load()
        except RedraftError as error:
            problem: RedraftError = error
        except Exception as error:
            _log.error("the model could not be loaded: %s", describe(error))
            problem = ModelError(f"The model could not be loaded ({type(error).__name__}).", "The log says more.")
        else:
            self._loaded.set_result(model)
            return model
        self._loaded.set_exception(problem)
        with self._condition:
            left = self._queue.clear()
        for handle in left:
            settle(handle, problem)
            self._settled(handle)
        return None

    def _next_batch(self) -> list[SubmittedRow]:
        with self._condition:
            # The first row of many starts the worker: the first batch waits for the others as an idle worker does.
            if not self._ran or not self._queue:
                while not self._queue and not self._stopping:
                    self._condition.wait()
                self._gather()
            self._ran = True
            if self._stopping:
                return []
            batch = self._queue.take()
            started = []
            for handle in batch:
                handle.running = True
                request = self._live.get(handle.key)
                if request is not None and not request.started:
                    request.started = True
                    started.append(request)
            self._batch = batch
        for request in started:
            request._wake()
        return batch or self._next_batch()

    def _gather(self) -> None:
        """Wait a moment for rows of requests that arrive together with the first."""
        until = time.monotonic() + _GATHER_MOST_S
        while not self._stopping and (left := until - time.monotonic()) > 0:
            rendering = any(not request.submitted for request in self._live.values())
            if not self._condition.wait(left if rendering else min(left, _GATHER_S)):
                return

    def _run(self, model: TextModel, batch: list[SubmittedRow]) -> None:
        rows = [handle.row for handle in batch if handle.row is not None]
        if len(rows) < len(batch):
            return  # closed in between, and all rows told so
        listener = BatchListener(batch)
        start = time.perf_counter()
        problem: EngineError | None = None
        again: list[list[SubmittedRow]] = []
        lost = False
        try:
            model.generate(rows, listener)
        except EngineError as error:
            problem = error
            _log.error("a batch of %d rows failed: %s", len(batch), error.message)
            lost = device_failed(error)
            if not lost and len(batch) > 1 and not any(handle.latest for handle in batch):
                # Too much for the memory, or a row that the model refuses. Nothing was written: halves may do better.
                again = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        except Exception as error:
            problem = EngineError("The engine failed while it wrote.", "Try again; its log says more.")
            _log.error("a batch of %d rows failed: %s", len(batch), describe(error))
            lost = device_failed(error)
        seconds = time.perf_counter() - start
        if self._on_batch is not None:
            tokens = sum(row.prompt_tokens for row in rows)
            self._on_batch(BatchDone(len(rows), tokens, listener.output_tokens, seconds, problem is not None))
        del rows
        for half in again:
            if (left := [handle for handle in half if handle.outcome is None]) and not self._stopping:
                self._run(model, left)
        for handle in batch:
            if handle.outcome is None:
                settle(handle, problem or EngineError("The engine ended without an answer.", "Try again."))
            self._settled(handle)
        if lost and not self._broken.done():
            _log.error("the model's device has failed: no batch can succeed any more")
            self._broken.set_result(None)
