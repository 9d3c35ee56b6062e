"""Locks of fine-tunes: one at a time on a machine, and which of them is alive.

All are ``flock``\\ s, which the kernel lets go of when their process ends, however it ends: none has to be recovered.
The common lock is where every user of the machine finds it, whatever their environment says, and nobody can remove
another's: in a sticky directory. It is opened for reading only, so that users who cannot write each other's files can
hold it in turn; nothing is ever written to it, no link is followed, and what is no plain file is refused.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from engine.learning.settings import LearningSettings
from storage.errors import StorageError
from storage.home import Home

#: How often somebody who waits looks again, in seconds.
_PAUSE_S = 0.2
#: Where machines let every user make a file, whatever TMPDIR says. In the first, nothing goes because it is old, and a
#: service has no private one.
_SHARED = (Path("/run/lock"), Path("/var/tmp"), Path("/tmp"))  # noqa: S108
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def machine_lock(settings: LearningSettings) -> Path:
    """The lock that a fine-tune on this machine holds, whosoever it is."""
    return settings.train_lock or _shared() / "redraft-train.lock"


def _shared(candidates: Sequence[Path] = _SHARED) -> Path:
    """The first directory in which all users may make files and nobody may remove another's; the same for all users."""
    for directory in candidates:
        with contextlib.suppress(OSError):
            mode = directory.stat().st_mode
            if stat.S_ISDIR(mode) and mode & stat.S_ISVTX and mode & stat.S_IWOTH:
                return directory
    return candidates[-1]


def run_lock(home: Home, run_id: str) -> Path:
    """The lock that the process of a run holds for as long as it lives."""
    return home.runs / run_id / "run.lock"


def held(path: Path) -> bool:
    """Whether some process holds a lock now; one that cannot be looked at counts as free."""
    try:
        handle = os.open(path, _PLAIN)
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
    while True:
        handle = _open(path)
        try:
            mine = _locked(handle, wait)
            # Somebody may have removed the file meanwhile; whoever comes next would lock another of that name.
            if not mine or _still_there(path, handle):
                yield mine
                return
        finally:
            os.close(handle)


def _still_there(path: Path, handle: int) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(handle))
    return False


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
    try:
        for _ in range(3):
            # Without O_CREAT first: in a shared directory such as /tmp, Linux refuses it for a file of another user.
            with contextlib.suppress(FileNotFoundError):
                return _plain(os.open(path, _PLAIN))
            with contextlib.suppress(FileExistsError):
                handle = os.open(path, _PLAIN | os.O_CREAT | os.O_EXCL, 0o644)
                # Whatever this user's umask says, others must be able to open it. Not every file system can be told.
                with contextlib.suppress(PermissionError):
                    os.fchmod(handle, 0o644)
                return handle
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    except OSError as error:
        raise StorageError(
            f"The lock file {path} cannot be opened: {(error.strerror or type(error).__name__).lower()}.",
            "Let TRAIN_LOCK name a file in a directory that you may write.",
        ) from error


def _plain(handle: int) -> int:
    """The handle of a plain file; of anything else it is closed."""
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError(errno.EINVAL, "It is no plain file")
