"""Eight processes write at once, a transaction a row: every row is there, and nobody is told of a lock.

``rounds`` is the number of rows that each process writes.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

from engine.conversation import Conversation, Message
from engine.records import store_conversation
from storage import queries
from storage.database import Database
from storage.settings import StorageSettings

FULL_ROUNDS = 1000
WRITERS = 8


def run(rounds: int, seed: int) -> dict[str, Any]:
    """Eight writers on an SQLite file; ``seed`` is taken for the sake of the others: nothing here is drawn."""
    del seed
    with tempfile.TemporaryDirectory() as home:
        return contend(StorageSettings(redraft_home=Path(home) / "home", database_url=None), rounds)


def contend(settings: StorageSettings, rows: int, writers: int = WRITERS) -> dict[str, Any]:
    """Write ``rows`` rows in each of ``writers`` processes, and count what is stored and what was said."""
    spawn = multiprocessing.get_context("spawn")
    reports: multiprocessing.Queue[tuple[list[float], str]] = spawn.Queue()
    together = spawn.Barrier(writers)
    processes = [
        spawn.Process(target=_write, args=(settings, number, rows, together, reports)) for number in range(writers)
    ]
    for process in processes:
        process.start()
    found = [reports.get(timeout=1800) for _ in processes]
    for process in processes:
        process.join(60)
    commits = sorted(seconds for report in found for seconds in report[0])
    errors = [report[1] for report in found if report[1]]
    database = Database.open(settings)
    try:
        with database.read() as session:
            stored = queries.counts(session=session)
        problems, journal = database.check(), database.journal_mode()
    finally:
        database.close()
    assert not errors, f"{len(errors)} writers were told: {errors[0]}"
    assert stored["conversations"] == stored["messages"] == writers * rows, f"{stored} rows of {writers * rows}"
    assert not problems, problems
    return {
        "writers": writers,
        "rows": stored["conversations"],
        "lock_errors": len(errors),
        "journal": journal,
        "slowest_commit_s": round(commits[-1], 3),
        "median_commit_s": round(commits[len(commits) // 2], 4),
    }


def _write(settings: StorageSettings, number: int, rows: int, together: Any, reports: Any) -> None:
    """One writer's process: its transactions' seconds, and what it was told when one failed."""
    seconds: list[float] = []
    told = ""
    try:
        database = Database.open(settings)
        together.wait(120)
        for row in range(rows):
            conversation = Conversation(f"w{number}-{row}", (Message("1", f"Writer {number}", f"row {row}"),))
            start = time.perf_counter()
            with database.write() as session:
                store_conversation(session, conversation, now=_now())
            seconds.append(time.perf_counter() - start)
        database.close()
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
    reports.put((seconds, told))


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime.now(UTC)
