"""A submitted row as both sides see it: the worker's thread that writes it and the event loop that waits for it.

What the worker hears from the model is left on the row's handle, and one wake-up of the loop delivers many steps and
rows. It knows nothing of the queue, conversations or torch.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence

from engine.protocols import Generated, Row
from storage.errors import RedraftError

#: Text is handed to the loop at most this often, in seconds: faster than people read, slower than a step of a small
#: model, whose thread would otherwise lose time to the interpreter lock. Endings are handed over at once.
_TEXT_INTERVAL_S = 0.04


class SubmittedRow:
    """A submitted row; see :class:`engine.protocols.RowHandle`. Fields without underscore are the worker's."""

    def __init__(self, row: Row, key: str, outbox: Outbox, cancel: Callable[[SubmittedRow], None]) -> None:
        self.row: Row | None = row
        self.key = key
        self.tokens = row.prompt_tokens
        self.wanted = True
        self.running = False
        self.latest = ""
        self.outcome: Generated | RedraftError | None = None
        self.dirty = False
        self.outbox = outbox
        self.ahead = 0
        self._cancel = cancel
        self._text = ""
        self._told: Generated | RedraftError | None = None
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()

    async def texts(self) -> AsyncIterator[str]:
        """See :meth:`engine.protocols.RowHandle.texts`."""
        seen = ""
        while True:
            self._changed.clear()
            if self._text != seen:
                seen = self._text
                yield seen
            elif self._told is not None:
                return
            else:
                await self._changed.wait()

    async def result(self) -> Generated:
        """See :meth:`engine.protocols.RowHandle.result`."""
        await self._ended.wait()
        if isinstance(self._told, RedraftError):
            # One error may end many rows, each with a waiter of its own; an exception is raised in one place only.
            raise type(self._told)(self._told.message, self._told.hint)
        assert self._told is not None
        return self._told

    def cancel(self) -> None:
        """See :meth:`engine.protocols.RowHandle.cancel`."""
        self._cancel(self)

    def deliver(self) -> None:
        """On the loop: take over what the worker has left."""
        self.dirty = False
        outcome, self._text = self.outcome, self.latest
        if outcome is not None and self._told is None:
            self._told = outcome
            self._ended.set()
        self._changed.set()


class Outbox:
    """What the worker has for one event loop, handed over in as few wake-ups as can be."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._dirty: list[SubmittedRow] = []
        self._scheduled = self._hurried = False
        self._last = 0.0

    def push(self, handle: SubmittedRow, *, ended: bool) -> None:
        """From any thread: ``handle`` has news; an ending is delivered without delay."""
        with self._lock:
            if not handle.dirty:
                handle.dirty = True
                self._dirty.append(handle)
            if self._hurried or (self._scheduled and not ended):
                return
            self._scheduled, self._hurried = True, ended
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            self.loop.call_soon_threadsafe(self._flush if ended else self._later)

    def _later(self) -> None:
        wait = self._last + _TEXT_INTERVAL_S - self.loop.time()
        if wait > 0:
            self.loop.call_later(wait, self._flush)
        else:
            self._flush()

    def _flush(self) -> None:
        with self._lock:
            dirty, self._dirty = self._dirty, []
            self._scheduled = self._hurried = False
        self._last = self.loop.time()
        for handle in dirty:
            handle.deliver()


class BatchListener:
    """Hears one batch on the worker's thread and passes it on to the rows' handles."""

    def __init__(self, handles: Sequence[SubmittedRow]) -> None:
        self._handles = handles
        self.output_tokens = 0

    def cancelled(self, row: int) -> bool:
        """See :class:`engine.protocols.Listener`."""
        return not self._handles[row].wanted

    def wrote(self, row: int, text: str) -> None:
        """See :class:`engine.protocols.Listener`."""
        handle = self._handles[row]
        handle.latest = text
        handle.outbox.push(handle, ended=False)

    def finished(self, row: int, generated: Generated) -> None:
        """See :class:`engine.protocols.Listener`."""
        self.output_tokens += generated.output_tokens
        settle(self._handles[row], generated)


def settle(handle: SubmittedRow, outcome: Generated | RedraftError) -> None:
    """Settle a row, once; from any thread."""
    if handle.outcome is not None:
        return
    if isinstance(outcome, Generated):
        handle.latest = outcome.text
    handle.row = None
    handle.outcome = outcome
    handle.outbox.push(handle, ended=True)
