"""Small files of the data directory: replaced whole or not at all, or added to line by line; on the disk when done.

It knows nothing of what is in them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from storage.migrate import sync


def append_line(path: Path, line: str) -> None:
    """Add a line to a file that only its owner may read; it is made where it is missing.

    A line that its writer's death cut off stays as it is, and the new one begins after it: the file may be one that
    its administrator lets nobody shorten.

    Raises:
        OSError: it cannot be written.
    """
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        size = os.fstat(handle).st_size
        begin = "" if not size or os.pread(handle, 1, size - 1) == b"\n" else "\n"
        data = f"{begin}{line}\n".encode("utf-8", "replace")
        while data:
            data = data[os.write(handle, data) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    if not size:
        sync(path.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Put a file that only its owner may read in place of what was there.

    Raises:
        OSError: it cannot be written; what was there stays.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
    sync(path.parent)


def remove(path: Path) -> None:
    """Remove a file for good, or do nothing where there is none.

    Raises:
        OSError: it cannot be removed.
    """
    path.unlink(missing_ok=True)
    sync(path.parent)
