"""The ledger's heads outside the database: ``ledger.heads`` in the data directory, to which lines are only added.

    12 9f86d081…             the newest line of the ledger at some moment: its number and its hash
    restored 31 60303ae2…    from here on, the chain is that of a backup, if line 31 of the ledger has this hash

A hash covers every line before it, so that one head vouches for all of them. The file knows no database: what it says
is held against one by :mod:`engine.learning.ledger`. Only one process adds to it or judges by it at a time; several
machines that share a PostgreSQL database have one each, with the heads that each of them saw.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from storage.files import append_line
from storage.home import Home

#: How long to wait for another process that reads the newest line of the ledger, which takes milliseconds.
_WAIT_S = 10.0
_PAUSE_S = 0.005
_LINE = re.compile(r"(?P<restored>restored )?(?P<seq>[1-9][0-9]{0,17}) (?P<hash>[0-9a-f]{64})")
_PART = re.compile(r"[0-9]{1,18}(?: [0-9a-f]{0,63})?")
#: More than the longest line, twice.
_TAIL = 256


@dataclass(frozen=True, slots=True)
class Head:
    """A line of the ledger as it was seen; ``restored`` where it begins the chain of a backup."""

    seq: int
    hash: str
    restored: bool = False

    def __str__(self) -> str:
        return f"{'restored ' if self.restored else ''}{self.seq} {self.hash}"


@dataclass(frozen=True, slots=True)
class Heads:
    """What the file says.

    Attributes:
        lines: its lines in order.
        unreadable: numbers of lines, from 1, that nothing of ours wrote.
    """

    lines: tuple[Head, ...] = ()
    unreadable: tuple[int, ...] = ()


@contextmanager
def held(home: Home) -> Iterator[None]:
    """Keep other processes from adding to the file; not to be nested.

    Raises:
        TimeoutError: another process kept it for too long.
        OSError: the file cannot be opened.
    """
    handle = os.open(home.ledger_heads, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise TimeoutError("ledger.heads is held by another process") from None
                time.sleep(_PAUSE_S)
        yield
    finally:
        os.close(handle)


def add(home: Home, head: Head) -> None:
    """Add a line to the file, on the disk when this returns; the caller holds it (:func:`held`).

    Raises:
        OSError: it cannot be written.
    """
    append_line(home.ledger_heads, str(head))


def read(home: Home) -> Heads:
    """What the file says; nothing where there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        text = home.ledger_heads.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return Heads()
    return parse(text)


def last(home: Home) -> Head | None:
    """The newest whole line, or None where there is none; read from the end, however long the file is.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with home.ledger_heads.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            found = parse(file.read().decode("ascii", "replace")).lines
    except FileNotFoundError:
        return None
    return found[-1] if found else None


def parse(text: str) -> Heads:
    """The heads in a text; what is only the beginning of a line was cut off when its writer died, and says nothing."""
    lines, unreadable = [], []
    for number, line in enumerate(text.split("\n"), start=1):
        found = _LINE.fullmatch(line)
        if found is not None:
            lines.append(Head(int(found["seq"]), found["hash"], bool(found["restored"])))
        elif not _cut_off(line):
            unreadable.append(number)
    return Heads(tuple(lines), tuple(unreadable))


def _cut_off(line: str) -> bool:
    word = "restored "
    return word.startswith(line) or _PART.fullmatch(line.removeprefix(word)) is not None
