"""A request's place in the engine, from being let in to its release; the batcher keeps the line."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.batching import Batcher
    from engine.handles import SubmittedRow


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
        """Wait until :meth:`ahead`, or whether the model is there, may have changed since the last call."""
        await self._moved.wait()
        self._moved.clear()

    def release(self) -> None:
        """The request is over: its rows are cancelled, the next ones move up. Harmless when repeated."""
        self._batcher._release(self)

    def wake(self) -> None:
        """Have :meth:`moved` return; from any thread."""
        with contextlib.suppress(RuntimeError):  # its loop has been closed: nobody waits
            self._loop.call_soon_threadsafe(self._moved.set)
