"""Reading the ledger: pages of it for people, and whether it is still what was written.

:func:`verify` holds every line against its own hash, against the line before it, and against the heads that this
machine kept outside the database (:mod:`engine.learning.heads`). It takes rows as the driver gives them, because who
altered one may have left nothing that can be read. What it cannot find is in ``docs/security.md``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from engine.learning import heads
from engine.learning.ledger import GENESIS, hash_of_values, pseudonym_of
from storage import ledger_queries as queries
from storage.database import Database
from storage.errors import StorageError
from storage.types import storable

#: The action of the line with which the chain of a backup goes on after a restore.
RESTORED = "backup.restored"
#: More findings than this say nothing that these do not.
_MOST = 100

Kind = Literal["altered", "missing", "unreadable", "witness"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it was written.

    Attributes:
        kind: ``altered``, a line is not what its hash says, or does not follow the one before it; ``missing``, a line
            is not there; ``unreadable``, a line holds what no line can; ``witness``, the chain is not the one whose
            head was kept outside the database.
        seq: the line's number.
        sentence: what was found.
    """

    kind: Kind
    seq: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Verification:
    """What a check found.

    Attributes:
        lines: how many lines there are.
        witnessed: the newest line for which a head outside the database vouches; 0 for none.
        findings: what is not as it was written, in order; empty where the ledger holds.
        notes: sentences on what a person should know and that is no sign of tampering.
    """

    lines: int
    witnessed: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line for people; ``person`` is who the pseudonym stands for, empty where their key was erased."""

    seq: int
    at: datetime
    actor: str
    person: str
    action: str
    subject: str
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Lines, newest first, and the number to pass as ``before`` for the next page; None at the end."""

    lines: tuple[Line, ...]
    next_before: int | None


def show(
    database: Database,
    *,
    actions: Sequence[str] = (),
    actor: str = "",
    subject: str = "",
    since: datetime | None = None,
    before: int | None = None,
    limit: int = 50,
) -> Page:
    """A page of the ledger.

    Args:
        actions: whole names, or what stands before the point (``adapter``); none is all.
        actor: a person's id, a pseudonym, or ``redraft``; empty is all.
        subject: the id of what it was done to; empty is all.
        since: only lines from then on (aware).
        before: only lines with a smaller number.

    Raises:
        StorageError: the database cannot be used, or a line cannot be read (:func:`verify` says which).
    """
    with database.read() as session:
        people = {pseudonym_of(key.person, key.key): key.person for key in queries.keys(session=session)}
        name: str | None = None
        if actor:
            known = {person: one for one, person in people.items()}
            # Nobody's pseudonym is a person's id: who has no key has done nothing, and gets an empty page.
            name = known.get(storable(actor), actor)
        try:
            rows = queries.lines(
                session=session,
                actions=actions,
                actor=name,
                subject=subject or None,
                since=since,
                before=before,
                limit=limit + 1,
            )
        except (ValueError, TypeError) as error:
            raise StorageError(
                "A line of the ledger cannot be read.", "`redraft ledger verify` says which, and what else is wrong."
            ) from error
    lines = tuple(
        Line(row.seq, row.at, row.actor, people.get(row.actor, ""), row.action, row.subject, row.details)
        for row in rows[:limit]
    )
    return Page(lines, lines[-1].seq if len(rows) > limit and lines else None)


def verify(database: Database) -> Verification:
    """Hold the whole ledger against its hashes and against the heads kept on this machine.

    Raises:
        StorageError: the database or ``ledger.heads`` cannot be read.
    """
    try:
        with ExitStack() as stack:
            # While it is held nobody adds to it: what it says is of the same moment as the rows. Where it is held for
            # too long, or not ours to write, it is read first all the same, and can only be behind the rows.
            with suppress(OSError):
                stack.enter_context(heads.held(database.home))
            kept = heads.read(database.home)
            wanted = {head.seq for head in kept.lines}
            with database.read() as session:
                chain = _Chain(wanted)
                chain.walk(queries.as_stored(session=session))
    except OSError as error:
        raise StorageError(
            f"{database.home.ledger_heads} cannot be read.", "Correct its owner or permissions."
        ) from error
    return _judged(chain, kept)


class _Chain:
    """One pass over the rows.

    Attributes:
        found: what is wrong within the chain itself.
        hashes: of the lines that somebody wants to compare, as they are stored.
        restored: numbers of the lines that say that a backup was restored.
    """

    def __init__(self, wanted: set[int]) -> None:
        self._wanted = wanted
        self.found: list[Finding] = []
        self.hashes: dict[int, str] = {}
        self.restored: dict[int, Mapping[str, Any]] = {}
        self.lines = 0
        self.newest = 0

    def walk(self, rows: Iterable[Mapping[str, Any]]) -> None:
        previous, expected = GENESIS, 1
        for row in rows:
            self.lines += 1
            seq = int(row["seq"])
            if seq < expected:
                self._say("altered", seq, f"Line {seq} has a number that no line has.")
                continue
            if seq > expected:
                many = f"Lines {expected} to {seq - 1} are" if seq > expected + 1 else f"Line {expected} is"
                self._say("missing", expected, f"{many} missing.")
            if self._is_whole(row) and row["previous"] != previous and seq == expected:
                self._say("altered", seq, f"Line {seq} does not follow the line before it.")
            previous, expected, self.newest = str(row["hash"]), seq + 1, seq
            if seq in self._wanted:
                self.hashes[seq] = previous

    def _is_whole(self, row: Mapping[str, Any]) -> bool:
        seq = row["seq"]
        try:
            values = {name: row[name] for name in ("actor", "action", "subject", "previous", "hash")}
            if not all(isinstance(value, str) for value in values.values()):
                raise TypeError("text is expected")
            details = row["details"]
            values["details"] = json.loads(details) if isinstance(details, str | bytes) else details
            own = values.pop("hash")
            right = hash_of_values(seq=seq, at=_time(row["at"]), **values) == own
        except (ValueError, TypeError, RecursionError):
            self._say("unreadable", seq, f"Line {seq} holds what no line can.")
            return False
        if not right:
            self._say("altered", seq, f"Line {seq} is not what was written: its hash is another.")
            return False
        if values["action"] == RESTORED and isinstance(values["details"], dict):
            self.restored[seq] = values["details"]
        return True

    def _say(self, kind: Kind, seq: int, sentence: str) -> None:
        if len(self.found) < _MOST:
            self.found.append(Finding(kind, seq, sentence))


def _time(value: object) -> datetime:
    """A time as the driver gives it: aware from PostgreSQL, text in UTC from SQLite."""
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


@dataclass(slots=True)
class _Section:
    """The heads of one chain: from the beginning of the file, or from a restore, up to the next one.

    ``first`` is the line with which a backup's chain went on, 1 at the beginning; ``present`` says whether the present
    chain is that one. A restore that was cut off left a beginning, and the chain stayed what it was.
    """

    first: int
    present: bool
    lines: list[heads.Head]


def _sections(chain: _Chain, kept: heads.Heads) -> list[_Section]:
    found = [_Section(1, True, [])]
    for head in kept.lines:
        if head.restored:
            present = chain.hashes.get(head.seq) == head.hash and head.seq in chain.restored
            found.append(_Section(head.seq, present, []))
        found[-1].lines.append(head)
    return found


def _judged(chain: _Chain, kept: heads.Heads) -> Verification:
    found = list(chain.found)
    strange = "Line {} of ledger.heads is nothing that was written there."
    found += [Finding("witness", 0, strange.format(number)) for number in kept.unreadable]
    witnessed = 0
    broken: list[heads.Head] = []
    sections = _sections(chain, kept)
    for place, section in enumerate(sections):
        later = [one.first for one in sections[place + 1 :] if one.present]
        highest = 0
        for head in section.lines:
            if head.seq < highest:
                found.append(Finding("witness", head.seq, f"ledger.heads names line {head.seq} out of its order."))
            highest = max(highest, head.seq)
            if chain.hashes.get(head.seq) == head.hash:
                witnessed = max(witnessed, head.seq)
            elif later and (head.seq >= min(later) or not section.present):
                pass  # a restore took this line out of the ledger, which its own line there says
            elif not (head.restored and not section.present):
                broken.append(head)
    found += _differences(chain, broken)
    found.sort(key=lambda one: one.seq)
    notes = [_restore_note(seq, details) for seq, details in chain.restored.items()]
    if chain.newest > witnessed and not broken:
        notes.append(_unwitnessed(chain.newest, witnessed))
    return Verification(chain.lines, witnessed, tuple(found[:_MOST]), tuple(notes))


def _differences(chain: _Chain, broken: Sequence[heads.Head]) -> list[Finding]:
    """What it means that heads which were seen on this machine are not the chain's."""
    found = []
    perhaps = f" Line {min(chain.restored)} tells of a restore; if another machine made it, that is why." if any(
        seq <= head.seq for seq in chain.restored for head in broken
    ) else ""  # fmt: skip
    gone = [head.seq for head in broken if head.seq > chain.newest]
    if gone:
        lines = f"Lines {chain.newest + 1} to {max(gone)} are" if max(gone) > chain.newest + 1 else f"Line {gone[0]} is"
        found.append(Finding("missing", chain.newest + 1, f"{lines} missing, the last in the ledger.{perhaps}"))
    others = [head.seq for head in broken if head.seq in chain.hashes]
    if others:
        sentence = f"Line {min(others)}, or one before it, is another than the one that was seen on this machine."
        found.append(Finding("witness", min(others), sentence + perhaps))
    return found


def _unwitnessed(newest: int, witnessed: int) -> str:
    if not witnessed:
        return "No head of this ledger was kept on this machine: its lines stand on the chain alone."
    many = newest - witnessed
    what = f"The newest {many} lines have" if many > 1 else "The newest line has"
    return f"{what} no witness on this machine yet; the next line that is written vouches for all before it."


def _restore_note(seq: int, details: Mapping[str, Any]) -> str:
    lost = details.get("lines_replaced")
    gone = f"; {lost} lines that had come after it went with the database that it replaced" if lost else ""
    return f"Line {seq} tells of a restore of the backup of {details.get('backup', 'an unknown time')}{gone}."
