"""Whose turn it is to write to an SQLite file, so that everybody's comes.

SQLite lets writers wait by sleeping, the longer the longer they have waited, so that one who has just committed takes
the lock again before any of them looks: of eight processes that wrote without pause, two waited for over 30 seconds
in vain. Here a writer first takes the place of the next one, keeps it until the present one is done, and gives it
free only then: whoever has just written comes after the one who waits.

The locks are advisory ones of the kernel (``flock``) and go with their process, however it ends. SQLite's own lock is
still what keeps the data safe; this decides the order only.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from storage.failures import busy, cannot_open, meaning

#: The next writer looks often, because the file lies idle until it does; those behind it need not.
_PAUSE_NEXT_S = 0.001
_PAUSE_QUEUED_S = 0.01


class Turns:
    """The turns of one database in this process; threads share one, and only one of them at a time asks the kernel.

    Args:
        home: the data directory; two lock files in it are created when missing.
        wait_s: longest wait for a turn, in seconds.
        where: the database as a person would call it.
    """

    def __init__(self, home: Path, wait_s: float, where: str) -> None:
        self._home = home
        self._wait_s = wait_s
        self._where = where
        self._next_thread = threading.Lock()
        self._present_thread = threading.Lock()

    @contextmanager
    def take(self) -> Iterator[None]:
        """Wait for the turn, and hold it for the block; not to be nested in one thread.

        Raises:
            StorageError: the turn did not come in time, or the lock files cannot be made.
        """
        deadline = time.monotonic() + self._wait_s
        with ExitStack() as held:
            with self._thread(self._next_thread, deadline):
                held.enter_context(self._thread(self._present_thread, deadline))
            with self._file("write-next.lock", deadline, _PAUSE_QUEUED_S):
                held.enter_context(self._file("write.lock", deadline, _PAUSE_NEXT_S))
            yield

    @contextmanager
    def _thread(self, lock: threading.Lock, deadline: float) -> Iterator[None]:
        if not lock.acquire(timeout=max(0.0, deadline - time.monotonic())):
            raise busy(self._where)
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _file(self, name: str, deadline: float, pause_s: float) -> Iterator[None]:
        handle = _lock(self._home / name, deadline, pause_s, self._where)
        try:
            yield
        finally:
            os.close(handle)


def _lock(path: Path, deadline: float, pause_s: float, where: str) -> int:
    """An open file that holds the lock until it is closed."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise meaning(error, where) or cannot_open(where) from error
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return handle
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise busy(where) from None
                time.sleep(pause_s)
    except BaseException:
        os.close(handle)
        raise
