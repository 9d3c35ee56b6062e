"""Stopping a fine-tune that is under way: it writes a checkpoint and ends, and can be resumed from there.

Whoever stands by one on the command line presses Ctrl-C; this is for everybody else. It is a line of the ledger.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from engine.learning.ledger import recorded
from engine.learning.locks import run_lock
from engine.learning.runs import TrainingRefused, alive, end_run, find_run
from storage.learning_tables import RunRow
from storage.run_queries import OPEN

if TYPE_CHECKING:
    from storage.database import Database
    from storage.home import Home


def stop_run(database: Database, home: Home, *, run_id: str, by: str, now: datetime | None = None) -> RunRow:
    """Ask the process of a run to write its checkpoint and end; one that no process has taken up yet is stopped here.

    Returns:
        The run as it is now: its state changes when its process has ended.

    Raises:
        InputError: there is no such run.
        TrainingRefused: it has come to its end, or it is another machine's.
        StorageError: the database cannot be used.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        named = find_run(session, run_id)
        row = session.get(RunRow, named.id, with_for_update=True, populate_existing=True)
        assert row is not None
        if row.state not in OPEN:
            raise TrainingRefused(f"The run {row.id} is not under way: it is {row.state}.")
        if not run_lock(home, row.id).parent.is_dir():
            raise TrainingRefused(f"The run {row.id} is another machine's.", "Stop it there.")
        ledger.append("run.stop_requested", by=by, subject=row.id, details={"scope": row.scope}, now=moment)
        under_way = alive(home, row.id)
        if not under_way:
            end_run(ledger, row, "stopped", "It was stopped before it began; it can be resumed.", moment)
    # After the line is committed: a process that has ended nobody can ask, and its end is recorded by itself.
    if under_way and row.pid:
        try:
            os.kill(row.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise TrainingRefused(
                f"The process {row.pid} of the run {row.id} belongs to another user.", "Stop it as that user."
            ) from error
    return row
