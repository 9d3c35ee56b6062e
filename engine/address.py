"""Where a running engine is and what it asks of its clients: ``engine.json`` and the token, in the data directory.

Both are readable by their owner only and appear whole or not at all. An address counts only while an engine holds this
directory's lock, which nobody but its owner can reach: a port that a dead engine has left may be anybody's by now, and
would otherwise be shown the token and the conversation. It knows nothing of HTTP or the model.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from storage.errors import StorageError

if TYPE_CHECKING:
    from storage.home import Home


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine answers.

    Attributes:
        url: base of its HTTP addresses.
        pid: its process.
        socket: path of its Unix socket, or an empty string where it listens on loopback.
    """

    url: str
    pid: int
    socket: str = ""


def address_file(home: Home) -> Path:
    """Where a running engine says where it is."""
    return home.root / "engine.json"


def publish(home: Home, address: Address) -> None:
    """Say where this process's engine is.

    Raises:
        StorageError: the data directory cannot be written.
    """
    _write(address_file(home), json.dumps(asdict(address)))


def withdraw(home: Home) -> None:
    """Take back what this process published; another engine's word is left alone."""
    found = published(home)
    if found is not None and found.pid == os.getpid():
        with contextlib.suppress(OSError):
            address_file(home).unlink()


def discard_stale(home: Home) -> None:
    """Remove what an engine that died has left; only for the holder of the lock, before it publishes.

    Raises:
        StorageError: the data directory cannot be written.
    """
    try:
        address_file(home).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(address_file(home), error) from error


def published(home: Home) -> Address | None:
    """What was last published and not taken back; its engine may be gone since: see :func:`alive`."""
    try:
        found = json.loads(address_file(home).read_text(encoding="utf-8"))
        return Address(url=str(found["url"]), pid=int(found["pid"]), socket=str(found.get("socket", "")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def lock_file(home: Home) -> Path:
    """What an engine holds locked (flock(2), exclusively) for as long as it lives; the kernel lets go when it dies."""
    return home.root / "engine.lock"


def alive(home: Home) -> bool:
    """Whether an engine of this data directory runs now, by its lock; one that cannot be looked at counts as none."""
    return _held(lock_file(home))


def hold_file(home: Home) -> Path:
    """What a fine-tune holds locked while it wants the engine's memory; the kernel lets go when it dies."""
    return home.root / "engine.hold"


def memory_wanted(home: Home) -> bool:
    """Whether a fine-tune of this data directory wants the memory of the engine's model now."""
    return _held(hold_file(home))


def supervised(home: Home) -> bool:
    """Whether `redraft up` looks after this data directory now, and so will start an engine that is down again."""
    return _held(home.up_lock)


def _held(lock: Path) -> bool:
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, so that clients who look at the same moment do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(descriptor)
    return False


def read_token(home: Home) -> str | None:
    """The token to show to the engine, or None where no engine has ever run."""
    try:
        return home.engine_token.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def ensure_token(home: Home) -> str:
    """The token of this data directory, made when there is none or when others could have read it.

    Raises:
        StorageError: the data directory cannot be written.
    """
    path = home.engine_token
    with contextlib.suppress(OSError):
        if path.stat().st_mode & 0o077 == 0 and (token := read_token(home)) is not None:
            return token
    token = secrets.token_urlsafe(32)
    _write(path, token + "\n")
    return token


def _write(path: Path, text: str) -> None:
    """Write a file of mode 0600 by rename."""
    temporary = ""
    try:
        # mkstemp creates with mode 0600, before there is anything to read.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: OSError) -> StorageError:
    reason = (error.strerror or type(error).__name__).lower()
    return StorageError(f"{path} cannot be written: {reason}.", "Run `redraft doctor`, which checks it.")
