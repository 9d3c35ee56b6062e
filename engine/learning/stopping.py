"""Stopping a fine-tune that is under way, which writes a checkpoint and ends, and having one go on from there.

Whoever stands by one on the command line presses Ctrl-C; stopping is for everybody else. Both are lines of the ledger.
"""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from engine.learning.ledger import person_of, recorded
from engine.learning.locks import run_lock
from engine.learning.runs import TrainingRefused, alive, check_resumable, end_run, find_run, recover
from storage import ledger_queries
from storage.learning_tables import RunRow
from storage.run_queries import OPEN

#: The line of the ledger for a person who has a run go on.
RESUMED = "run.resume_requested"
#: So long the process that it was started for may take until it says so.
_BEGINS = timedelta(seconds=60)

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


def resume_run(
    database: Database, home: Home, *, run_id: str, by: str, expected: str | None = None, now: datetime | None = None
) -> RunRow:
    """Record that a person has a run go on; :func:`engine.learning.runs.spawn` has it done.

    Args:
        expected: the state in which they saw it; refused when it is in another now.

    Raises:
        InputError: there is no such run.
        TrainingRefused: it has come to its end, is being done, is another machine's, or somebody was quicker.
        StorageError: the database cannot be used.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    recover(database, home, now=moment)
    with recorded(database) as (session, ledger):
        named = find_run(session, run_id)
        row = session.get(RunRow, named.id, with_for_update=True, populate_existing=True)
        assert row is not None
        if expected is not None and row.state != expected:
            raise TrainingRefused(
                f"The run {row.id} is {row.state} now, and no longer {expected}.", "Look at it again."
            )
        check_resumable(home, row)
        last = next(iter(ledger_queries.lines(session=session, subject=row.id, limit=1)), None)
        if last is not None and last.action == RESUMED and moment - last.at < _BEGINS:
            who = person_of(session, last.actor) or "somebody"
            raise TrainingRefused(f"{who} had the run {row.id} go on just now.", "Its process is about to take it up.")
        ledger.append(RESUMED, by=by, subject=row.id, details={"scope": row.scope}, now=moment)
    return row
