"""Between a fine-tune and the database: pairs out of rows, the points of its curves into rows, a signal into a stop.

A point is stored with those that came in the same few seconds: the database is not asked at every step, and one that
is busy does not hold up the fine-tune. It knows no model.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from storage import run_queries as queries
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import PairRow, RunProgressRow, RunRow

if TYPE_CHECKING:
    from engine.training.job import Pair, Point

#: Seconds between two writes of progress.
_EVERY_S = 2.0


class Stop:
    """Whether the run was asked to stop, by a signal."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._hooks: list[Callable[[], object]] = []

    @property
    def asked(self) -> bool:
        """Whether it was."""
        return self._asked.is_set()

    def on_signal(self, _number: int, _frame: object) -> None:
        """A signal's handler: remember it, and cancel what can be."""
        self.ask()

    def ask(self) -> None:
        """Ask the run to stop."""
        self._asked.set()
        for hook in self._hooks:
            hook()

    @contextlib.contextmanager
    def cancelling(self, task: asyncio.Future[Any]) -> Iterator[None]:
        """A task that is cancelled when the run is asked to stop, from whatever thread; of a running event loop."""
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            loop.call_soon_threadsafe(task.cancel)

        self._hooks.append(cancel)
        if self.asked:
            task.cancel()
        try:
            yield
        finally:
            self._hooks.remove(cancel)


class Learner:
    """An :class:`engine.training.job.Listener` that writes the run's row and its curves.

    Args:
        database: where they are.
        run_id: of a run that exists.
        stop: whether to stop.
        clock: seconds, monotonic.
    """

    def __init__(
        self, database: Database, run_id: str, stop: Stop, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._run_id = run_id
        self._stop = stop
        self._clock = clock
        self._waiting: list[RunProgressRow] = []
        self._row: dict[str, Any] = {}
        self._written = clock()
        self._log = structlog.get_logger("train").bind(run=run_id)

    @staticmethod
    def pairs(database: Database, run_id: str) -> tuple[list[Pair], list[Pair]]:
        """The pairs of a run: those to learn, and those that decide when to stop; always in the same order."""
        with database.read() as session:
            rows = queries.pairs_of_run(session=session, run_id=run_id)
            return tuple([_pair(row) for row, role in rows if role == wanted] for wanted in ("train", "validation"))  # type: ignore[return-value]

    def tell(self, sentence: str) -> None:
        """See :class:`engine.training.job.Listener`."""
        self._log.info("training", now=sentence)
        self._row["message"] = sentence
        self.flush()

    def begins(self, *, step: int, steps: int, left_out: Mapping[str, int]) -> None:
        """See :class:`engine.training.job.Listener`."""
        self._log.info("training begins", step=step, steps=steps, left_out=dict(left_out))
        self._row |= {"step": step, "steps": steps, "message": ""}
        self.flush()

    def point(self, point: Point) -> None:
        """See :class:`engine.training.job.Listener`."""
        self._row["step"] = point.step
        self._waiting.append(
            RunProgressRow(
                run_id=self._run_id,
                kind=point.kind,
                step=point.step,
                at=datetime.now(UTC),
                epoch=point.epoch,
                loss=point.loss,
                learning_rate=point.learning_rate,
                tokens_per_second=point.tokens_per_second,
                memory_bytes=point.memory_bytes,
            )
        )
        if self._clock() - self._written >= _EVERY_S:
            self.flush()

    def stop(self) -> bool:
        """See :class:`engine.training.job.Listener`."""
        return self._stop.asked

    def flush(self) -> None:
        """Write what waits; where the database is busy it goes on waiting."""
        self._written = self._clock()
        try:
            with self._database.write() as session:
                row = session.get(RunRow, self._run_id)
                if row is not None:
                    for name, value in self._row.items():
                        setattr(row, name, value)
                queries.add_progress(session=session, rows=self._waiting)
            self._waiting, self._row = [], {}
        except StorageError as error:
            self._log.warning("progress could not be written", reason=error.message)


def _pair(row: PairRow) -> Pair:
    from engine.training.job import Pair

    style: Any = row.style
    return Pair(row.dialogue, row.summary, style, row.focus, row.output_language, tuple(row.summaries))
