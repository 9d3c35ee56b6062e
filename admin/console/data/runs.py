"""What the screen of fine-tunes shows and does: the runs, one run's curves and log; start, stop, resume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from admin.console.store import Store
from storage.learning_tables import RunProgressRow, RunRow

MOST = 500
_LOG_BYTES = 6_000


@dataclass(frozen=True, slots=True)
class RunDetails:
    """One run.

    Attributes:
        points: of its curves, by step.
        left_out: the pairs that were not used, in words.
        log: the end of what its process said.
        report: its HTML report, or None.
    """

    row: RunRow
    points: Sequence[RunProgressRow]
    left_out: str
    log: str
    report: Path | None


def runs(store: Store) -> Sequence[RunRow]:
    """The runs, newest first; what says it is under way and whose process is dead is found on the way."""
    from engine.learning.runs import recover
    from storage.run_queries import runs as newest

    database = store.database()
    if not store.read_only:
        recover(database, database.home, now=store.clock, ended=store.ended())
    with database.read() as session:
        return newest(session=session, limit=MOST)


def details(store: Store, run_id: str) -> RunDetails:
    """All about a run."""
    from engine.learning.report import report_path
    from engine.learning.runs import find_run, left_out_sentence
    from storage.run_queries import progress

    database = store.database()
    with database.read() as session:
        row = find_run(session, run_id)
        points = progress(session=session, run_id=row.id)
    report = report_path(database.home, row.id)
    log = _end_of(database.home.runs / row.id / "log.txt")
    return RunDetails(row, points, left_out_sentence(row.left_out), log, report if report.is_file() else None)


def start(store: Store, scope: str) -> RunRow:
    """Begin a run, and the process that does it."""
    from engine.learning.runs import start_run

    database = store.writable()
    row = start_run(
        database,
        database.home,
        settings=store.learning(),
        engine=store.engine(),
        scope=scope,
        cause="manual",
        by=store.by,
        now=store.clock,
    )
    store.spawn(row.id)
    return row


def resume(store: Store, seen: RunRow) -> RunRow:
    """Go on with a run that was stopped or failed; refused where it is in another state by now."""
    from engine.learning.stopping import resume_run

    database = store.writable()
    row = resume_run(database, database.home, run_id=seen.id, by=store.by, expected=seen.state, now=store.clock)
    store.spawn(row.id)
    return row


def stop(store: Store, run_id: str) -> RunRow:
    """Have a run write its checkpoint and end."""
    from engine.learning.stopping import stop_run

    database = store.writable()
    return stop_run(database, database.home, run_id=run_id, by=store.by, now=store.clock)


def scopes(store: Store) -> list[str]:
    """The scopes that have something to train on."""
    from engine.learning.selection import trainable_scopes

    with store.database().read() as session:
        return trainable_scopes(session, store.learning())


def _end_of(path: Path) -> str:
    from engine.text.safety import visible

    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _LOG_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    lines = text.splitlines()
    return visible("\n".join(lines[1:] if len(text) >= _LOG_BYTES else lines))
