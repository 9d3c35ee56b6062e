"""What every engine does with a request, whether it is asked in-process or over HTTP.

Admission, the model's loading, the adapters, the summariser over the batcher, places in the queue, health and drain,
once for :class:`engine.local.LocalClient` and :mod:`engine.server`. It knows nothing of HTTP, files or the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol

from engine.admission import Admission
from engine.batching import Batcher
from engine.failures import describe
from engine.protocols import AdapterSource, RowSubmitter, TextModel
from engine.requests import Event, Finished, Health, ModelInfo, Queued, SummaryRequest
from engine.serving import Report, Serving
from engine.settings import EngineSettings
from engine.worker import BatchDone, shutting_down
from storage.errors import EngineBusy, EngineError, InputError, OptionNotHonoured, RedraftError

_log = logging.getLogger(__name__)

#: For whoever waits while a fine-tune has the memory; see :func:`engine.client.held`.
HELD = "A fine-tune has this machine's memory; the summary will be written as soon as it has ended."
_HELD_DETAIL = "The model is out of memory while a fine-tune runs; requests wait until it has ended."


class Summarizing(Protocol):
    """What a service needs of :class:`engine.summarizer.Summarizer`."""

    def summarize(
        self, request: SummaryRequest, *, adapter: str = "base", request_key: str | None = None
    ) -> AsyncIterator[Event]:
        """Events of one summary, ending in ``Finished``."""
        ...


class Observer(Protocol):
    """Hears what is worth counting; see :mod:`engine.metrics`."""

    def batch(self, done: BatchDone) -> None:
        """A batch has ended; called on the worker's thread."""
        ...

    def request(self, outcome: str, seconds: float) -> None:
        """A request has ended: ``finished``, ``cancelled``, ``busy``, ``refused`` or ``failed``."""
        ...

    def summary(self, adapter: str) -> None:
        """A summary was written, by this adapter or by ``base``."""
        ...

    def adapter_refused(self, adapter: str) -> None:
        """An adapter was not fit to serve."""
        ...


def _summarizer(model: TextModel, rows: RowSubmitter) -> Summarizing:
    from engine.summarizer import Summarizer

    return Summarizer(info=model.info, count_tokens=model.count_tokens, render_chat=model.render_chat, submitter=rows)


class EngineService:
    """One model, its queue and its summariser.

    Args:
        settings: limits and the model's name.
        load: loads the model; called once, in the worker's thread.
        observer: hears batches and requests.
        adapters: which adapters serve whom; None serves the base only.
        memory_wanted: whether somebody else wants the model's memory now; asked once a second by :meth:`watch`.
        report: hears which adapters are refused and which are attached; see :class:`engine.serving.Serving`.
        summarizer: makes the summariser once the model is loaded.
        restarts: how often a supervisor has started this engine again.
        detail: one sentence for health on why it was started again.
    """

    def __init__(
        self,
        settings: EngineSettings,
        load: Callable[[], TextModel],
        *,
        observer: Observer | None = None,
        adapters: AdapterSource | None = None,
        memory_wanted: Callable[[], bool] | None = None,
        report: Report | None = None,
        summarizer: Callable[[TextModel, RowSubmitter], Summarizing] = _summarizer,
        restarts: int = 0,
        detail: str = "",
    ) -> None:
        self._observer = observer
        self._make = summarizer
        self._summarizer: tuple[TextModel, Summarizing] | None = None
        self._load = load
        self._memory_wanted = memory_wanted
        self._restarts = restarts
        self._detail = detail
        self._started = time.monotonic()
        self.batcher = Batcher.loading(self._load_model, settings, on_batch=observer.batch if observer else None)
        self.serving = Serving(
            adapters,
            self.batcher,
            on_refused=observer.adapter_refused if observer else lambda adapter: None,
            report=report,
        )

    def _load_model(self) -> TextModel:
        model = self._load()
        self.serving.attach_again(model)
        return model

    def start(self) -> None:
        """Begin to load the model; the first request does so too."""
        self._look_whether_held()
        self.batcher.start()

    async def watch(self) -> None:
        """Follow what is to serve, and whether somebody wants the memory, until cancelled.

        Without it both are still right when a request comes, but for the memory, and the first one waits for adapters.
        """
        await self.serving.watch(also=self._look_whether_held)

    def _look_whether_held(self) -> None:
        if self._memory_wanted is not None:
            self.batcher.hold(self._memory_wanted())

    async def ready(self) -> ModelInfo:
        """Wait until the model is loaded.

        Raises:
            ModelError: it could not be.
        """
        self.start()
        return (await self.batcher.model()).info

    async def summarize(self, request: SummaryRequest) -> AsyncGenerator[Event, None]:
        """Events of one summary; see :meth:`engine.protocols.EngineClient.summarize`.

        ``Queued`` comes once at the start and again whenever fewer are ahead, until the first row runs; and whenever
        the engine lets go of its model or has it again.
        """
        start, outcome = time.monotonic(), "cancelled"
        admission: Admission | None = None
        try:
            admission = self.batcher.admit()
            async with aclosing(self._events(request, admission)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        outcome = "finished"
                        if self._observer is not None:
                            self._observer.summary(event.result.adapter)
                    yield event
            if outcome != "finished":
                outcome = "failed"
                raise EngineError("The engine ended without a summary.", "Try again; its log says more.")
        except EngineBusy:
            outcome = "busy"
            raise
        except (InputError, OptionNotHonoured):
            outcome = "refused"
            raise
        except RedraftError:
            outcome = "failed"
            raise
        except Exception as error:
            outcome = "failed"
            _log.error("a request failed: %s", describe(error))
            raise EngineError("The engine failed on this request.", "Try again; its log says more.") from error
        finally:
            if admission is not None:
                admission.release()
            seconds = time.monotonic() - start
            if self._observer is not None:
                self._observer.request(outcome, seconds)
            messages = len(request.conversation.messages)
            _log.info("a request of %d messages ended: %s after %.3f s", messages, outcome, seconds)

    async def _events(self, request: SummaryRequest, admission: Admission) -> AsyncGenerator[Event, None]:
        """The summariser's events, with the request's place in the queue among them until it runs."""
        # Few and small, so the channel needs no bound: a slow reader must not hold up the model.
        channel: asyncio.Queue[Event | None] = asyncio.Queue()
        told = Queued(admission.ahead(), message=HELD if self.batcher.held else "")
        channel.put_nowait(told)

        async def places() -> None:
            nonlocal told
            while True:
                await admission.moved()
                ahead = 0 if admission.started else min(admission.ahead(), told.ahead)
                now = Queued(ahead, message=HELD if self.batcher.held else "")
                if now.message != told.message or (now.ahead < told.ahead and not admission.started):
                    told = now
                    channel.put_nowait(told)

        async def work() -> None:
            try:
                model = await self.batcher.model()
                lease = await self.serving.lease(request)
                try:
                    summarizer = self._summaries(model)
                    events = summarizer.summarize(request, adapter=lease.adapter, request_key=admission.key)
                    try:
                        async for event in events:
                            # Places are told above, once for all of a request's rows.
                            if not isinstance(event, Queued):
                                channel.put_nowait(event)
                    finally:
                        if isinstance(events, AsyncGenerator):
                            await events.aclose()
                finally:
                    lease.release()
            finally:
                channel.put_nowait(None)

        # The summariser runs in one task from beginning to end, whoever reads its events and from which task.
        working = asyncio.create_task(work())
        queueing = asyncio.create_task(places())
        try:
            while (event := await channel.get()) is not None:
                yield event
            await working
        finally:
            working.cancel()
            queueing.cancel()
            await asyncio.gather(working, queueing, return_exceptions=True)

    def _summaries(self, model: TextModel) -> Summarizing:
        if self._summarizer is None or self._summarizer[0] is not model:
            self._summarizer = (model, self._make(model, self.batcher))
        return self._summarizer[1]

    def health(self) -> Health:
        """How this engine is, at this moment."""
        model = self.batcher.loaded
        running, waiting = self.batcher.counts()
        held = [_HELD_DETAIL] if self.batcher.held else []
        details = [self.batcher.broken or self._detail, *held, *self.serving.problems()]
        return Health(
            state="draining" if self.batcher.draining else "up" if model is not None else "loading",
            model=model.info if model is not None else None,
            running=running,
            waiting=waiting,
            uptime_s=round(time.monotonic() - self._started, 3),
            restarts=self._restarts,
            detail=" ".join(filter(None, details)),
            adapters=self.serving.attached if model is not None else (),
            held=self.batcher.away,
        )

    def refuse_if_draining(self) -> None:
        """Before anything of a request is answered.

        Raises:
            EngineUnavailable: the engine is going down.
        """
        if self.batcher.draining:
            raise shutting_down()

    async def drain(self, seconds: float) -> bool:
        """Take no new requests and finish those under way; whether all did within ``seconds``."""
        return await self.batcher.drain(seconds)

    async def close(self) -> bool:
        """End whatever is under way and let go of the model; whether its thread has ended."""
        return await self.batcher.close()
