"""The bounded queue of requests in front of the one worker that owns the model.

Rows that arrive while a batch runs form the next one (:mod:`engine.queueing` says which); :mod:`engine.worker` runs
them. What it hears from the model is handed to the event loop of whoever submitted the row, many steps and rows in one
wake-up. It knows nothing of conversations, HTTP or torch; no prompt or answer ever reaches a log.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from engine.admission import Admission
from engine.handles import Outbox, SubmittedRow, settle
from engine.protocols import Generated, Row, TextModel
from engine.queueing import FairQueue
from engine.settings import EngineSettings
from engine.worker import BatchDone, Worker, shutting_down
from storage.errors import EngineBusy, RedraftError

#: An idle worker waits this long for company for a first row: 32 requests that arrive together would otherwise run
#: as 1 and 31. `_GATHER_MOST_S` bounds the wait while admitted requests still render their prompts.
_GATHER_S = 0.005
_GATHER_MOST_S = 0.05
#: Largest share of a batch's prompt tokens that may be padding (see benchmarks/throughput.py).
_MAX_PADDING = 0.5

T = TypeVar("T")


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
        self._draining = False
        self._emptied: Admission | None = None
        self._idle = True
        self._worker = Worker(model, load, _Line(self), self._condition, on_batch)

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
        self._worker.start()

    async def model(self) -> TextModel:
        """Wait for the loaded model; while it is let go of, the one that still counts tokens.

        Raises:
            ModelError: it could not be loaded.
            EngineUnavailable: the batcher was closed before.
        """
        return await self._worker.model()

    @property
    def loaded(self) -> TextModel | None:
        """The model, or None while it loads, when it could not be, and while it is let go of."""
        return self._worker.loaded

    @property
    def broken(self) -> str:
        """A sentence on why no batch can be trusted until the process is another; empty while all is well."""
        return self._worker.broken

    async def broke(self) -> str:
        """Wait until the engine is :attr:`broken`, and why."""
        return await self._worker.broke()

    async def between(self, work: Callable[[TextModel], T]) -> T:
        """Have ``work`` done with the model between batches; see :meth:`engine.worker.Worker.between`."""
        return await self._worker.between(work)

    def hold(self, wanted: bool) -> None:
        """Let go of the model after the batch that runs, or load it again; requests are kept waiting meanwhile."""
        self._worker.hold(wanted)

    @property
    def held(self) -> bool:
        """Whether requests wait because the model is to be let go of, or is."""
        return self._worker.held

    @property
    def away(self) -> bool:
        """Whether the model has been let go of, so that its memory is free."""
        return self._worker.away

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
            self._worker.refuse_if_over()
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
                async with asyncio.timeout(seconds):
                    await self._emptied.moved()
        with self._condition:
            return not self._live

    async def close(self, wait_s: float = 10.0) -> bool:
        """Stop the worker within a step of the model; whatever waits or runs ends as unavailable.

        Returns:
            Whether the worker has ended; one that is loading, or in native code, cannot be interrupted.
        """
        with self._condition:
            self._draining = True
            left = [*self._queue.clear(), *self._batch]
            for handle in left:
                handle.wanted = False
                settle(handle, shutting_down())
            self._worker.stop()
        return await self._worker.ended(wait_s)

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
            other.wake()
        if emptied is not None:
            emptied.wake()

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

    def _take(self) -> list[SubmittedRow]:
        # The first row of many starts the worker: the first batch waits for the others as an idle worker does.
        if self._idle:
            self._gather()
            if self._worker.stopping:
                return []
        self._idle = False
        batch = self._queue.take()
        for handle in batch:
            handle.running = True
            request = self._live.get(handle.key)
            if request is not None and not request.started:
                request.started = True
                request.wake()
        self._batch = batch
        return batch

    def _gather(self) -> None:
        """Wait a moment for rows of requests that arrive together with the first."""
        until = time.monotonic() + _GATHER_MOST_S
        while not self._worker.stopping and (left := until - time.monotonic()) > 0:
            rendering = any(not request.submitted for request in self._live.values())
            if not self._condition.wait(left if rendering else min(left, _GATHER_S)):
                return


class _Line:
    """What the worker sees of a batcher; see :class:`engine.worker.Line`."""

    def __init__(self, batcher: Batcher) -> None:
        self._batcher = batcher

    def ready(self) -> bool:
        batcher = self._batcher
        batcher._batch = []  # whoever asks has ended the batch before: its rows are not kept
        if not batcher._queue:
            batcher._idle = True
        return bool(batcher._queue)

    def take(self) -> list[SubmittedRow]:
        return self._batcher._take()

    def settled(self, handle: SubmittedRow) -> None:
        self._batcher._settled(handle)

    def fail(self, problem: RedraftError) -> None:
        batcher = self._batcher
        with batcher._condition:
            left = batcher._queue.clear()
        for handle in left:
            settle(handle, problem)
            batcher._settled(handle)

    def changed(self) -> None:
        batcher = self._batcher
        with batcher._condition:
            live = list(batcher._live.values())
        for request in live:
            request.wake()
