"""What an erasure removes outside the database: reports' texts, what fine-tunes left, copies, lines of logs, adapters.

Most of it follows from the database alone: the files of what is not there any more. So it is repeated by the daily job,
on each machine that shares a database. What it knows of reports and locks is theirs to say.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from engine.learning.erasure_journal import Kind
from engine.learning.evaluation_files import NAME as TEXTS
from engine.learning.evaluation_files import read_texts, runs_with_texts
from engine.learning.locks import held, run_lock
from engine.learning.report import NAME as REPORT
from engine.learning.report import forget_conversations
from storage import erasure_queries as queries
from storage.database import Database
from storage.errors import StorageError
from storage.home import Home
from storage.learning_tables import RunRow

#: Of a fine-tune, these may stay: conversations are taken out of them one by one.
_REPORTS = frozenset({TEXTS, REPORT})
#: How long a fine-tune may take to end by itself.
_PATIENCE_S = 20.0
_PAUSE_S = 0.05
#: Shorter ids stand in logs for something else too often.
_LEAST_ID = 5


def sweep(database: Database, home: Home, *, keys: Collection[str] = (), pairs: Collection[str] = ()) -> None:
    """Remove the files of what is not in the database any more; harmless when repeated.

    Args:
        keys: conversations whose texts go from reports in any case.
        pairs: pairs whose conversations go from reports; those that are not there any more are found here.

    Raises:
        StorageError: a file cannot be removed, or a fine-tune does not end; what came before is done.
    """
    with database.read() as session:
        runs = queries.runs_of_what_is_gone(session=session)
        unwanted = [row.id for row in queries.tainted(session=session) if row.state in ("retired", "rejected")]
        newest = max((row.at for row in queries.erasures(session=session)), default=None)
    for run_id in sorted(runs | _orphans(database, home)):
        _empty_run(database, home, run_id)
    read = (read_texts(home, run_id) for run_id in runs_with_texts(home))
    shown = {pair for texts in read if texts is not None for one in texts.held for pair in one.pairs}
    with database.read() as session:
        gone = queries.missing_pairs(session=session, pairs=shown)
    forget_conversations(database, home, frozenset(keys), frozenset(pairs) | gone)
    with _told(home):
        for adapter in unwanted:
            _remove_tree(home.adapters / adapter)
        if newest is not None:
            _remove_copies(home, newest)


def _orphans(database: Database, home: Home) -> set[str]:
    """Directories of fine-tunes that the database does not know, as after a restore: nobody can say what they hold."""
    with _told(home):
        # An empty one is perhaps just being made for a row that is about to be committed.
        there = {path.name for path in home.runs.iterdir() if path.is_dir() and any(path.iterdir())}
    with database.read() as session:
        return {name for name in there if session.get(RunRow, name) is None}


def _empty_run(database: Database, home: Home, run_id: str) -> None:
    """Remove what a fine-tune left (examples, checkpoints, its log); a process that is still at it is ended first."""
    directory = home.runs / run_id
    if directory.is_symlink() or not directory.is_dir():
        return
    if held(run_lock(home, run_id)):
        with database.read() as session:
            row = session.get(RunRow, run_id)
        _end(home, run_id, row.pid if row else 0)
    with _told(home):
        for path in directory.iterdir():
            if path.name not in _REPORTS:
                _remove_tree(path)
        if not any(directory.iterdir()):
            directory.rmdir()


def _end(home: Home, run_id: str, pid: int) -> None:
    """End the process that holds a run's lock: it would go on writing what is to be removed."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        # The lock is held, so that its number is still that of the process which the row names.
        if pid > 0 and held(run_lock(home, run_id)):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, how)
        deadline = time.monotonic() + _PATIENCE_S
        while held(run_lock(home, run_id)):
            if time.monotonic() > deadline:
                break
            time.sleep(_PAUSE_S)
        else:
            return
    raise StorageError(
        f"The fine-tune {run_id} holds erased words and does not end.", "End its process, then do the erasure again."
    )


def count_copies(home: Home) -> int:
    """How many copies of the database there are, and what killed restores left."""
    return sum(1 for _ in _copies(home))


def remove_copies(home: Home) -> int:
    """Remove every copy of the database; how many went.

    Raises:
        StorageError: one cannot be removed.
    """
    with _told(home):
        return _remove_copies(home, None)


def _remove_copies(home: Home, older_than: datetime | None) -> int:
    """Copies of the database hold what it held then; what a killed restore left may hold anything."""
    gone = 0
    for path in list(_copies(home)):
        with suppress(FileNotFoundError):
            made = datetime.fromtimestamp(path.lstat().st_mtime, UTC)
            if older_than is None or made < older_than:
                _remove_tree(path)
                gone += 1
    return gone


def _copies(home: Home) -> Iterator[Path]:
    yield from home.copies.glob("*")
    yield from home.root.glob(".restore-*")


def _remove_tree(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# Logs ---------------------------------------------------------------------------------------------------------------


def count_log_lines(home: Home, kind: Kind, subject: str) -> int:
    """How many lines of the logs mention a user or a conversation."""
    pattern = _mention(kind, subject)
    with _told(home):
        return sum(1 for path in _logs(home) for line in path.read_bytes().splitlines() if pattern.search(line))


def blank_log_lines(home: Home, kind: Kind, subject: str) -> int:
    """Overwrite the lines of the logs that mention a user or a conversation; how many.

    Where they stand and as long as they are: the process whose log it is goes on writing behind them.

    Raises:
        StorageError: a log cannot be read or written.
    """
    pattern, blanked = _mention(kind, subject), 0
    with _told(home):
        for path in _logs(home):
            with path.open("r+b") as file:
                at = 0
                for line in file.read().splitlines(keepends=True):
                    text = line.rstrip(b"\r\n")
                    if pattern.search(text):
                        os.pwrite(file.fileno(), _blank(len(text)), at)
                        blanked += 1
                    at += len(line)
                os.fsync(file.fileno())
    return blanked


def _blank(length: int) -> bytes:
    """A line of JSON that says so, as far as there is room for it."""
    word = b'{"event": "erased"}'
    return word.ljust(length) if len(word) <= length else b" " * length


def _logs(home: Home) -> list[Path]:
    return sorted(path for path in home.logs.rglob("*") if path.is_file() and not path.is_symlink())


def _mention(kind: Kind, subject: str) -> re.Pattern[bytes]:
    """The id as a word of its own, as it is and as JSON may write it; of a chat user also without the platform."""
    words = {subject}
    platform, _, account = subject.partition(":")
    if kind == "user" and platform != "local" and len(account) >= _LEAST_ID:
        words.add(account)
    words |= {json.dumps(word)[1:-1] for word in words}
    either = b"|".join(re.escape(word.encode("utf-8", "replace")) for word in sorted(words, key=len, reverse=True))
    return re.compile(rb"(?<![\w])(?:" + either + rb")(?![\w])")


@contextmanager
def _told(home: Home) -> Iterator[None]:
    """Errors of the file system in a sentence about the data directory."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or home.root} cannot be removed or written: {(error.strerror or 'unknown').lower()}.",
            "Correct its owner or permissions, then do the erasure again.",
        ) from error
