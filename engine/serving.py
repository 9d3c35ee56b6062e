"""Which adapter writes a request: what is to serve, what is attached, and what was refused and why.

A source says what is to serve whom; the worker attaches it between batches. A request keeps the adapter that it began
with to its end. Where the one that should serve is refused, the one that served before stands in, also after a restart,
else the next wider scope's serves, else the base, and health says so. It knows no database, no torch and no HTTP. One
event loop uses it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from engine import scopes
from engine.failures import describe
from engine.protocols import AdapterSource, ServingTable, TextModel
from engine.requests import SummaryRequest
from storage.errors import AdapterError, OptionNotHonoured, RedraftError

_log = logging.getLogger(__name__)

BASE = "base"
#: So many adapters stay attached when nobody uses them; each takes the memory of its matrices.
MOST_ATTACHED = 8
#: Seconds between two looks at the source, and how long one may take before the engine goes on without it.
_EVERY_S, _PATIENCE_S = 1.0, 5.0
#: What was refused is looked at again when its files have changed, or after so many seconds.
_AGAIN_S = 60.0
#: Beginnings of an id that are taken for it have so many characters.
_SHORTEST_ID = 4

T = TypeVar("T")
Report = Callable[[Mapping[str, str], Sequence[str]], None]


class Models(Protocol):
    """What is needed of :class:`engine.batching.Batcher`."""

    @property
    def loaded(self) -> TextModel | None:
        """The model, or None while there is none."""
        ...

    async def model(self) -> TextModel:
        """Wait for it."""
        ...

    async def between(self, work: Callable[[TextModel], T]) -> T:
        """Have something done with it between batches."""
        ...


@dataclass(frozen=True, slots=True)
class _Refusal:
    error: AdapterError
    files: object
    at: float


class Lease:
    """One request's hold on an adapter: it stays attached until :meth:`release`."""

    def __init__(self, adapter: str, leases: Counter[str]) -> None:
        self.adapter = adapter
        self._leases = leases
        self._open = True

    def release(self) -> None:
        """The request has ended; harmless when repeated."""
        if self._open:
            self._open = False
            self._leases[self.adapter] -= 1


class Serving:
    """The adapters of one engine.

    Args:
        source: what is to serve; None serves the base only.
        models: the worker.
        most: how many adapters stay attached; those in use stay beyond it.
        on_refused: hears the id of each adapter that is refused.
        report: hears, in a thread, which adapters are refused (a sentence by id) and which are attached, whenever that
            has changed; one that could not keep it raises a RedraftError and hears it again.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        source: AdapterSource | None,
        models: Models,
        *,
        most: int = MOST_ATTACHED,
        on_refused: Callable[[str], None] = lambda adapter: None,
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source = source
        self._models = models
        self._most = most
        self._on_refused = on_refused
        self._report = report
        self._reported: object = None
        self._clock = clock
        self._table = ServingTable()
        self._looked: float | None = None
        self._reading: Future[tuple[ServingTable, Mapping[str, object]]] | None = None
        self._source_problem = ""
        #: Least recently used first.
        self._known: OrderedDict[str, None] = OrderedDict()
        self._leases: Counter[str] = Counter()
        self._refused: dict[str, _Refusal] = {}
        self._attaching: dict[str, asyncio.Task[None]] = {}

    @property
    def attached(self) -> tuple[str, ...]:
        """Ids of the adapters that can write at once."""
        return tuple(sorted(self._known))

    def problems(self) -> list[str]:
        """A sentence each on what should serve and does not, fit to show."""
        found = [self._source_problem] if self._source_problem else []
        for scope, adapter in sorted(self._table.active.items()):
            refusal = self._refused.get(adapter)
            if refusal is not None:
                found.append(f"{refusal.error.message} The {self._instead(scope)} serves {scope}.")
        return found

    # For a request ---------------------------------------------------------------------------------------------------

    async def lease(self, request: SummaryRequest) -> Lease:
        """The adapter that writes a request, attached; whoever takes it must release it.

        Raises:
            OptionNotHonoured: the request names an adapter that there is not.
            AdapterError: it names one that is refused.
            EngineError: the engine is going down or has failed.
        """
        if request.adapter == BASE or (self._source is None and request.adapter is None):
            return self._leased(BASE)
        if self._looked is None or self._clock() - self._looked > 2 * _EVERY_S:
            await self.look()  # nobody watches, or the watch is held up
        if request.adapter is not None:
            return await self._attached(await self._named(request.adapter))
        for scope in scopes.serving(request.conversation):
            for adapter in self._table.serving(scope):
                with suppress(AdapterError):
                    return await self._attached(adapter)
        return self._leased(BASE)

    async def _named(self, name: str) -> str:
        for fresh in (False, True):
            if fresh:
                await self.look()
            if name in self._table.available:
                return name
            begun = [each for each in self._table.available if each.startswith(name)]
            if len(name) >= _SHORTEST_ID and len(begun) == 1:
                return begun[0]
        raise OptionNotHonoured(
            f"There is no adapter {name[:80]!r}.",
            "`redraft adapters list` shows them; `base` is the model without one.",
        )

    async def _attached(self, adapter: str) -> Lease:
        """A lease on an adapter that is attached.

        The lease comes first, so that whoever takes adapters off, or loads the model anew, sees it.
        """
        lease = self._leased(adapter)
        try:
            await self._ensure(adapter)
        except BaseException:
            lease.release()
            raise
        return lease

    def _leased(self, adapter: str) -> Lease:
        self._leases[adapter] += 1
        if adapter in self._known:
            self._known.move_to_end(adapter)
        return Lease(adapter, self._leases)

    def _able(self, scope: str) -> str | None:
        """What serves a scope of its own, as far as is known by now."""
        return next((each for each in self._table.serving(scope) if each not in self._refused), None)

    def _instead(self, scope: str) -> str:
        """What serves a scope whose adapter is refused, in words."""
        if (before := self._able(scope)) is not None:
            return f"adapter before it, {before},"
        for wider in scopes.serving(scopes.parse(scope))[1:]:
            if (adapter := self._able(wider)) is not None:
                return f"adapter {adapter} of {wider}"
        return "base model"

    # Attaching and taking off ----------------------------------------------------------------------------------------

    async def _ensure(self, adapter: str) -> None:
        """Attach an adapter unless it is; several who want it at once wait for the same attempt."""
        if adapter in self._known:
            return
        refusal = self._refused.get(adapter)
        if refusal is not None:
            if self._clock() - refusal.at < _AGAIN_S:
                raise AdapterError(refusal.error.message, refusal.error.hint)
            del self._refused[adapter]
        task = self._attaching.get(adapter)
        if task is None:
            task = self._attaching[adapter] = asyncio.create_task(self._attach(adapter))
            task.add_done_callback(lambda _: self._attaching.pop(adapter, None))
        try:
            await asyncio.shield(task)
        except AdapterError as error:  # one for each who waits
            raise AdapterError(error.message, error.hint) from error

    async def _attach(self, adapter: str) -> None:
        directory = Path(self._table.available.get(adapter) or f"/{adapter}")
        files = await asyncio.to_thread(_signature, directory)
        try:
            model = await self._models.model()
            prepared = await asyncio.to_thread(model.prepare, directory)

            def attach(now: TextModel) -> None:
                # The model may have been loaded anew since, and be another.
                now.attach(prepared if now is model else now.prepare(directory))

            await self._models.between(attach)
        except AdapterError as error:
            _log.error("%s", error.message)
            self._refused[adapter] = _Refusal(error, files, self._clock())
            self._on_refused(adapter)
            raise
        self._known[adapter] = None
        _log.info("the adapter %s is attached", adapter)
        await self._take_off()

    async def _take_off(self) -> None:
        """Take off what is not there to serve any more, and what was not used for longest where there are too many."""
        idle = [each for each in self._known if not self._leases[each]]
        gone = [each for each in idle if each not in self._table.available]
        serving = {self._able(scope) for scope in self._table.active}
        rest = sorted((each for each in idle if each not in gone), key=lambda each: each in serving)
        surplus = max(0, len(self._known) - len(gone) - self._most)
        for adapter in [*gone, *rest[:surplus]]:
            if self._leases[adapter] or adapter not in self._known:
                continue  # wanted, or taken off by another, while the one before it was
            # Whoever wants it from now on has it attached again, behind this.
            del self._known[adapter]
            await self._models.between(lambda model, adapter=adapter: model.detach(adapter))  # type: ignore[misc]
            _log.info("the adapter %s was taken off", adapter)

    def attach_again(self, model: TextModel) -> None:
        """On the worker's thread: a model that was loaded anew gets the adapters of the requests under way."""
        self._known = OrderedDict()  # before the leases are counted: see `_attached`
        for adapter, count in list(self._leases.items()):
            directory = self._table.available.get(adapter)
            if count > 0 and directory is not None:
                try:
                    model.attach(model.prepare(Path(directory)))
                except AdapterError as error:
                    _log.error("%s", error.message)
                else:
                    self._known[adapter] = None

    # What is to serve ------------------------------------------------------------------------------------------------

    async def watch(self, also: Callable[[], None] = lambda: None) -> None:
        """Look at the source every second and attach what is to serve, until cancelled.

        ``also`` is called before each look, in a thread.
        """
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                await asyncio.to_thread(also)
                await self.look()
                if self._models.loaded is not None and not tasks:
                    task = asyncio.create_task(self._bring_about())
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                await asyncio.sleep(_EVERY_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _bring_about(self) -> None:
        """Attach what is in service before it is asked for, so that a refusal is known and no request waits."""
        try:
            await self._take_off()
            for wanted in sorted({self._table.serving(scope) for scope in self._table.active})[: self._most]:
                for adapter in wanted:
                    with suppress(AdapterError):  # told in health
                        await self._ensure(adapter)
                        break
        except RedraftError as error:
            _log.warning("adapters could not be attached: %s", error.message)

    async def look(self) -> None:
        """Read the source; where that fails or takes too long the engine goes on with what it last knew."""
        if self._source is None:
            return
        if self._reading is None:
            self._reading = _in_thread(self._read)
        problem = ""
        try:
            # Not wait_for: that of Python 3.11 loses a cancellation that comes together with the result.
            async with asyncio.timeout(_PATIENCE_S):
                found = await asyncio.shield(asyncio.wrap_future(self._reading))
        except TimeoutError:
            problem = "takes too long"  # the thread is left to it, and asked again for its result
        except RedraftError as error:
            problem, self._reading = error.message, None
        except Exception as error:
            problem, self._reading = describe(error), None
        else:
            self._reading = None
            self._table, signatures = found
            for adapter, files in signatures.items():
                if adapter in self._refused and self._refused[adapter].files != files:
                    del self._refused[adapter]
        self._looked = self._clock()
        if problem and not self._source_problem:
            _log.warning("which adapters are in service cannot be read: %s", problem)
        self._source_problem = (
            "Which adapters are in service cannot be read at the moment; the engine goes on with what it last knew."
            if problem
            else ""
        )

    def _read(self) -> tuple[ServingTable, Mapping[str, object]]:
        assert self._source is not None
        table = self._source.serving()
        self._tell()
        refused = [each for each in list(self._refused) if each in table.available]
        return table, {each: _signature(Path(table.available[each])) for each in refused}

    def _tell(self) -> None:
        told = {adapter: refusal.error.message for adapter, refusal in list(self._refused.items())}, self.attached
        if self._report is None or told == self._reported:
            return
        try:
            self._report(*told)
        except RedraftError as error:
            _log.warning("it could not be kept which adapters are refused: %s", error.message)
        else:
            self._reported = told


def _signature(directory: Path) -> Sequence[object]:
    """What changes when an adapter's files do, without reading them."""
    try:
        with os.scandir(directory) as entries:
            stats = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    except OSError:
        return ()
    return sorted((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in stats)


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Call in a thread that nobody waits for at exit: a database may take its time to say that it is locked."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, name="redraft-adapters", daemon=True).start()
    return done
