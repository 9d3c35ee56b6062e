"""The console's way to a running engine: an event loop in a thread of its own, with nothing of it on the screen's.

What comes from the engine is handed over to the screen's loop, event by event. It knows no widget.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from engine.client import HttpClient
    from engine.requests import Event, Health, SummaryRequest
    from storage.home import Home

T = TypeVar("T")


class EngineLink:
    """A client of the engine that belongs to a data directory; made when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: tuple[Home, HttpClient] | None = None

    async def health(self, home: Home) -> Health:
        """How the engine is; one that does not run is down, and is not asked."""
        from engine.address import alive, published, supervised
        from engine.requests import Health

        def there() -> bool:
            return published(home) is not None and alive(home)

        if not await asyncio.to_thread(there):
            again = await asyncio.to_thread(supervised, home)
            return Health("down", detail="`redraft up` is starting it again." if again else "`redraft up` starts it.")

        async def ask() -> Health:
            return await self._of(home).health()

        return await self._call(ask())

    async def summarize(self, home: Home, request: SummaryRequest) -> AsyncGenerator[Event, None]:
        """The events of a summary; closing the iterator cancels it.

        Raises:
            EngineError: as :meth:`engine.protocols.EngineClient.summarize`.
        """
        here = asyncio.get_running_loop()
        events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue()

        def hand(what: Event | BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the console has ended
                here.call_soon_threadsafe(events.put_nowait, what)

        async def run() -> None:
            try:
                async with contextlib.aclosing(self._of(home).summarize(request)) as told:
                    async for event in told:
                        hand(event)
                hand(None)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                hand(error)

        future = asyncio.run_coroutine_threadsafe(run(), self._running())
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            future.cancel()

    def _of(self, home: Home) -> HttpClient:
        from engine.client import HttpClient

        if self._client is None or self._client[0] != home:
            self._client = (home, HttpClient(home))
        return self._client[1]

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="engine-link", daemon=True).start()
            return self._loop

    async def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._running()))
