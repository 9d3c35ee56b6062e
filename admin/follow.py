"""Following one summary to its end: progress on standard error where that is a terminal, silence elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from admin.report import progress_on_stderr
from engine.requests import Finished, Progress, Queued, SentenceWritten, SummaryRequest, SummaryResult
from storage.errors import EngineError

if TYPE_CHECKING:
    import rich.progress

    from engine.protocols import EngineClient


class Follower:
    """Shows how far a summary is.

    Args:
        display: rich's progress display, or None where nobody looks.
    """

    def __init__(self, display: rich.progress.Progress | None) -> None:
        self._display = display
        self._task = display.add_task("Starting", total=None) if display is not None else None

    def tell(self, sentence: str) -> None:
        """Show what takes time now; called from any thread."""
        self._show(sentence.rstrip("."))

    async def summary(self, client: EngineClient, request: SummaryRequest) -> SummaryResult:
        """The summary, once it is finished.

        Raises:
            RedraftError: see :meth:`engine.protocols.EngineClient.summarize`.
        """
        async for event in client.summarize(request):
            if isinstance(event, Finished):
                return event.result
            if isinstance(event, Queued):
                waiting = event.message.rstrip(".") or (f"Waiting, {event.ahead} ahead" if event.ahead else "Reading")
                self._show(waiting)
            elif isinstance(event, Progress):
                self._show("Reading the parts", event.done, event.total)
            elif isinstance(event, SentenceWritten):
                self._show("Writing")
        raise EngineError("The engine ended without a summary.", "Try again; its log says more.")

    def _show(self, description: str, done: int | None = None, total: int | None = None) -> None:
        if self._display is not None and self._task is not None:
            self._display.update(self._task, description=description, completed=done, total=total)


@contextmanager
def following() -> Iterator[Follower]:
    """A follower whose display ends with the block."""
    with progress_on_stderr() as display:
        yield Follower(display)
