"""What an erasure leaves in the data directory while it is under way, and for ever after.

    erasing.json     the one that is under way, with whom it is about: whoever finds it there brings it to its end
    erasures.jsonl   every one that was ever begun here; whom it was about is a salted hash

The second is what a restore goes by: a backup is older than the erasures that were made after it. It knows no database.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from storage.errors import StorageError
from storage.files import append_line, remove, replace_private
from storage.home import Home

Kind = Literal["user", "conversation"]


@dataclass(frozen=True, slots=True)
class Mark:
    """An erasure as it is remembered.

    Attributes:
        digest: SHA-256 over salt, kind and subject, in hexadecimal.
        immediately: whether adapters that had learnt from it went at once.
    """

    id: str
    at: datetime
    kind: Kind
    salt: str
    digest: str
    immediately: bool = False

    def is_about(self, subject: str) -> bool:
        """Whether it was about this user or conversation."""
        return digest_of(self.kind, subject, self.salt) == self.digest


@dataclass(frozen=True, slots=True)
class Work:
    """What an erasure has still to see to once the rows are gone.

    Attributes:
        keys: conversations whose texts go from reports.
        pairs: pairs that are gone.
        runs: fine-tunes that were made of some of them.
    """

    keys: list[str] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Order:
    """An erasure under way; ``work`` is None until the rows are about to go."""

    id: str
    kind: Kind
    subject: str
    by: str
    at: datetime
    salt: str
    immediately: bool = False
    work: Work | None = None

    @classmethod
    def new(cls, kind: Kind, subject: str, *, by: str, at: datetime, immediately: bool, salt: str = "") -> Order:
        """An erasure that has not begun; ``salt`` is that of an earlier one of the same subject, or empty."""
        return cls(secrets.token_hex(16), kind, subject, by, at, salt or secrets.token_hex(16), immediately)

    @property
    def mark(self) -> Mark:
        """What of it is remembered."""
        digest = digest_of(self.kind, self.subject, self.salt)
        return Mark(self.id, self.at, self.kind, self.salt, digest, self.immediately)

    def at_work(self, work: Work) -> Order:
        """The same with what is still to be seen to."""
        return replace(self, work=work)


def digest_of(kind: Kind, subject: str, salt: str) -> str:
    """SHA-256 in hexadecimal. Who has the salt can try ids: it hides nobody from those who may read the directory."""
    return hashlib.sha256(f"{salt}\n{kind}\n{subject}".encode("utf-8", "replace")).hexdigest()


@contextmanager
def alone(home: Home, wait_s: float) -> Iterator[None]:
    """One erasure or restore at a time in a data directory; not to be nested.

    Raises:
        StorageError: another one did not end in time.
        OSError: what a killed one has left cannot be removed.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(home.root / "erasing.lock", timeout=wait_s, mode=0o600):
            # What one that was killed while it wrote its order has left names somebody, too.
            for path in home.root.glob(f".{_pending_file(home).name}.*.tmp"):
                with suppress(FileNotFoundError):
                    path.unlink()
            yield
    except Timeout as error:
        raise StorageError(
            "Another erasure or a restore is under way.", "Wait for it to end, then try again."
        ) from error


def _pending_file(home: Home) -> Path:
    return home.root / "erasing.json"


def marks_file(home: Home) -> Path:
    """Where erasures are remembered."""
    return home.root / "erasures.jsonl"


def pending(home: Home) -> Order | None:
    """The erasure that was begun here and not ended, or None.

    Raises:
        StorageError: there is one that cannot be read.
    """
    path = _pending_file(home)
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        work = found.pop("work")
        at = datetime.fromisoformat(found.pop("at"))
        return Order(**found, at=at, work=Work(**work) if work is not None else None)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"An erasure was begun and {path} does not say which.", "Do it again, then remove that file."
        ) from error


def begin(home: Home, order: Order) -> None:
    """Note an erasure as under way, or what of it is still to be done; on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    document = {**asdict(order), "at": order.at.isoformat()}
    replace_private(_pending_file(home), json.dumps(document).encode("utf-8"))


def end(home: Home) -> None:
    """The erasure under way is done: nothing names any more whom it was about.

    Raises:
        OSError: its file cannot be removed.
    """
    remove(_pending_file(home))


def remember(home: Home, marks: list[Mark]) -> None:
    """Add to the erasures ever made here those that are not among them; on the disk when this returns.

    One that is to take adapters out at once after all, which it was not when it was begun, is added once more.

    Raises:
        OSError: it cannot be written.
    """
    known = {mark.id: mark.immediately for mark in remembered(home)}
    for mark in marks:
        if mark.id not in known or (mark.immediately and not known[mark.id]):
            known[mark.id] = mark.immediately
            append_line(marks_file(home), json.dumps({**asdict(mark), "at": mark.at.isoformat()}))


def remembered(home: Home) -> list[Mark]:
    """The erasures ever made here, oldest first.

    A line that its writer's death cut off stands for one that :func:`pending` tells of; it is written again.

    Raises:
        OSError: the file cannot be read.
    """
    found: dict[str, Mark] = {}
    try:
        lines = marks_file(home).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            values: dict[str, Any] = json.loads(line)
            mark = Mark(**{**values, "at": datetime.fromisoformat(values["at"])})
        except (ValueError, KeyError, TypeError):
            continue
        if mark.id not in found or mark.immediately:
            found[mark.id] = mark
    return list(found.values())
