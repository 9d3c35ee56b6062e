"""Locks of fine-tunes: one at a time on a machine, and which of them is alive.

All are ``flock``\\ s, which the kernel lets go of when their process ends, however it ends: none has to be recovered.
The common lock is opened for reading only, so that users who cannot write each other's files can hold it in turn.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from engine.learning.settings import LearningSettings
from storage.errors import StorageError
from storage.home import Home

#: How often somebody who waits looks again, in seconds.
_PAUSE_S = 0.2


def machine_lock(settings: LearningSettings) -> Path:
    """The lock that a fine-tune on this machine holds, whosoever it is."""
    return settings.train_lock or Path(tempfile.gettempdir()) / "redraft-train.lock"


def run_lock(home: Home, run_id: str) -> Path:
    """The lock that the process of a run holds for as long as it lives."""
    return home.runs / run_id / "run.lock"


def held(path: Path) -> bool:
    """Whether some process holds a lock now; one that cannot be looked at counts as free."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two who look at the same moment do not take each other for the holder.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(handle)
    return False


@contextlib.contextmanager
def taken(path: Path, *, wait: Callable[[], bool]) -> Iterator[bool]:
    """Hold a lock for the block, created where it is missing; yields False where it was not to be had.

    Args:
        path: the lock file.
        wait: asked every so often while another process holds it; False gives up.

    Raises:
        StorageError: the lock file cannot be made or opened.
    """
    handle = _open(path)
    try:
        yield _locked(handle, wait)
    finally:
        os.close(handle)


def _locked(handle: int, wait: Callable[[], bool]) -> bool:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if not wait():
                return False
            time.sleep(_PAUSE_S)


def _open(path: Path) -> int:
    """The file open for reading; made first where it is missing."""
    plain = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        for _ in range(3):
            # Without O_CREAT first: in a shared directory such as /tmp, Linux refuses it for a file of another user.
            with contextlib.suppress(FileNotFoundError):
                return os.open(path, plain)
            with contextlib.suppress(FileExistsError):
                return os.open(path, plain | os.O_CREAT | os.O_EXCL, 0o644)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    except OSError as error:
        raise StorageError(
            f"The lock file {path} cannot be opened: {(error.strerror or type(error).__name__).lower()}.",
            "Let TRAIN_LOCK name a file in a directory that you may write.",
        ) from error
