"""Erasure: everything of a user or a conversation goes, from the database and from every file beside it.

:func:`forget` removes the rows in one transaction, which also marks the adapters that have learnt from them as tainted
and writes the line in the ledger; then reports, what fine-tunes left, copies of the database and lines of logs; and
writes the database anew, so that nothing is left in its free space. Killed on the way, it is brought to its end by the
next erasure, by the daily job or by a restore; whoever reads meanwhile sees the rows there or gone. A restore does the
erasures since again (:mod:`engine.learning.restoring`). Somebody's leaving erases nothing.

Tainted adapters serve on until one that was trained anew is promoted, and until their deadline at the latest
(:func:`retire_overdue`). Which scopes are to be trained anew says :func:`engine.learning.tainted.retraining_owed`.

It reaches one data directory and its database: no backup elsewhere, no chat platform, and nothing that others say
about a person in messages of their own. Where several machines share a PostgreSQL database, the daily job of each
removes its files; lines of logs only go where the erasure was asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlmodel import Session

from engine.learning import erasure_files as files
from engine.learning import erasure_journal as journal
from engine.learning.erasure_journal import Kind, Mark, Order, Work
from engine.learning.erasure_rows import Found, Subject, bring_forward, find, record, remove, subject_of
from engine.learning.ledger import PROGRAM, Ledger, recorded
from engine.learning.settings import LearningSettings
from engine.learning.tainted import retire_due, retire_these, retraining_owed
from storage import erasure_queries as queries
from storage.database import Database
from storage.errors import InputError
from storage.failures import told
from storage.home import Home
from storage.learning_tables import ErasureRow

#: How long an erasure waits for another one, or for a restore, in seconds.
_WAIT_S = 30.0


@dataclass(frozen=True, slots=True)
class Learner:
    """An adapter that has learnt from what is to go, and where it stands."""

    id: str
    scope: str
    state: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What an erasure would take.

    Attributes:
        kind: ``user`` or ``conversation``; ``subject`` is its id.
        counts: rows by what people call them (messages, summaries, pairs, …), zeros included.
        learners: adapters that were trained on some of it, or on what an earlier erasure of the same took.
        copies: copies of the database that would go, because they hold what it held.
        log_lines: lines of logs that mention it.
        mark: of just which rows and adapters.
    """

    kind: Kind
    subject: str
    counts: dict[str, int]
    learners: tuple[Learner, ...]
    copies: int
    log_lines: int
    mark: str

    @property
    def nothing(self) -> bool:
        """Whether nothing here, but perhaps a copy, knows of it."""
        return not any(self.counts.values()) and not self.log_lines


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure took.

    Attributes:
        id: under which the ledger and the table of erasures have it.
        counts, copies, log_lines: as in :class:`Preview`.
        tainted: adapters that still serve or wait until one trained anew is promoted, at the latest until ``deadline``.
        retired: adapters that were taken out at once, with their files.
        owed: scopes that are to be trained anew.
    """

    id: str
    kind: Kind
    counts: dict[str, int]
    copies: int
    log_lines: int
    tainted: tuple[str, ...]
    retired: tuple[str, ...]
    owed: tuple[str, ...]
    deadline: datetime


def preview(database: Database, home: Home, *, user: str | None = None, conversation: str | None = None) -> Preview:
    """Say what an erasure would take; nothing is changed.

    Args:
        user: ``slack:U01AB``, ``discord:123`` or ``local:maria``.
        conversation: a conversation's id, or the key that an imported pair goes by.

    Raises:
        InputError: neither or both were named, or a user not by an account.
        StorageError: the database or the logs cannot be read.
    """
    with database.read() as session:
        subject = subject_of(session, user=user, conversation=conversation)
        found = find(session, subject)
        learners = tuple(Learner(row.id, row.scope, row.state) for row in (*found.adapters, *found.earlier))
    return Preview(
        kind=subject.kind,
        subject=subject.id,
        counts=found.counts,
        learners=learners,
        copies=files.count_copies(home),
        log_lines=files.count_log_lines(home, subject.kind, subject.id),
        mark=_mark_of(found),
    )


def forget(
    database: Database,
    home: Home,
    settings: LearningSettings,
    *,
    user: str | None = None,
    conversation: str | None = None,
    by: str,
    expected: Preview | None = None,
    now: datetime | None = None,
    immediately: bool = False,
) -> Erased:
    """Erase a user or a conversation; one of which nothing is here is remembered all the same, for older backups.

    Args:
        user, conversation: see :func:`preview`; just one of them.
        by: who does it: ``local:maria``, ``slack:U01AB``.
        expected: what they were told that it takes; refused, with nothing erased, where it would take other rows.
        now: the present time (aware).
        immediately: take adapters that have learnt from it out of service now rather than at their deadline; those as
            well that an erasure before this one had left in service until theirs.

    Raises:
        InputError: neither or both were named, a user not by an account, or it would not take what was expected.
        StorageError: something could not be removed, or another erasure is under way. Done again, it goes on.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with database.read() as session:
        subject = subject_of(session, user=user, conversation=conversation)
    with journal.alone(home, _WAIT_S), told(f"the data directory {home.root}"):
        begun = journal.pending(home)
        if begun is not None and (begun.kind, begun.subject) != (subject.kind, subject.id):
            _carry_out(database, home, settings, begun, moment)
            begun = None
        immediately = immediately or settings.erasure_deadline_days == 0
        order = begun or Order.new(
            subject.kind, subject.id, by=by, at=moment, immediately=immediately, salt=_salt(database, home, subject)
        )
        if immediately and not order.immediately:
            order = replace(order, immediately=True)
        return _carry_out(database, home, settings, order, moment, expected if begun is None else None)


def resume(database: Database, home: Home, settings: LearningSettings, *, now: datetime | None = None) -> Erased | None:
    """Bring an erasure to its end that was begun in this data directory and killed; None where there is none.

    Raises:
        StorageError: it could not be ended; done again, it goes on.
    """
    if journal.pending(home) is None:
        return None
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with journal.alone(home, _WAIT_S), told(f"the data directory {home.root}"):
        begun = journal.pending(home)
        return _carry_out(database, home, settings, begun, moment) if begun is not None else None


def retire_overdue(
    database: Database, home: Home, settings: LearningSettings, *, now: datetime | None = None
) -> list[str]:
    """The daily job's part: end what was begun, do again what an older database brought back, keep deadlines.

    Tainted adapters whose deadline has come are taken out of service (their scope falls back to a wider one, or to the
    base), and so are tainted candidates of a scope in which one trained since serves. The files of tainted adapters
    that are out go, and all others of what was erased that are on this machine.

    Returns:
        The adapters that were taken out.

    Raises:
        StorageError: the database or a file stood in the way; done again, it goes on.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    resume(database, home, settings, now=moment)
    with journal.alone(home, _WAIT_S), told(f"the data directory {home.root}"):
        _repeat_missing(database, home, settings, moment)
        gone = retire_due(database, moment)
        files.sweep(database, home)
    return gone


def repeat(
    session: Session, ledger: Ledger, marks: Iterable[Mark], settings: LearningSettings, *, by: str, now: datetime
) -> int:
    """Do those of the erasures again that a database has not on record, because it is older; how many those are.

    Args:
        session: the writing transaction of ``ledger``.
    """
    on_record = {row.id for row in queries.erasures(session=session)}
    missing = [mark for mark in marks if mark.id not in on_record]
    if not missing:
        return 0
    users = {f"{platform}:{account}" for platform, account in queries.people(session=session)}
    conversations = queries.conversations(session=session)
    deadline = timedelta(days=settings.erasure_deadline_days)
    for mark in missing:
        known = users if mark.kind == "user" else conversations
        name = next((one for one in known if mark.is_about(one)), None)
        if name is not None:
            subject = Subject(mark.kind, name)
            remove(session, ledger, subject, mark, by=by, deadline=deadline, now=now, again=True)
        else:
            record(session, mark, {})
            if mark.immediately:
                bring_forward(session, ledger, mark, now)
    return len(missing)


def marks_of(rows: Iterable[ErasureRow]) -> list[Mark]:
    """Erasures on record, as they are remembered outside the database."""
    found = []
    for row in rows:
        kind: Kind = "user" if row.kind == "user" else "conversation"
        found.append(Mark(row.id, row.at, kind, row.salt, row.digest))
    return found


def _carry_out(
    database: Database,
    home: Home,
    settings: LearningSettings,
    order: Order,
    now: datetime,
    expected: Preview | None = None,
) -> Erased:
    """One erasure from wherever it stands to its end; the caller keeps others out."""
    deadline = timedelta(days=settings.erasure_deadline_days)
    with recorded(database) as (session, ledger):
        if expected is not None:
            _refuse_other(session, order, expected)
        journal.begin(home, order)
        # Before the rows go: a restore that comes between finds it here.
        journal.remember(home, [order.mark])
        row = session.get(ErasureRow, order.id)
        if row is None:
            subject = Subject(order.kind, order.subject)
            found = remove(session, ledger, subject, order.mark, by=order.by, deadline=deadline, now=now)
            counts, order = found.counts, order.at_work(found.work)
            # Last inside the transaction: what is still to be seen to is known before the rows that told it are gone.
            journal.begin(home, order)
        else:
            counts = {name: int(many) for name, many in row.counts.items()}
    work = order.work or Work()
    if order.immediately:
        retire_these(database, [row.id for row in _learners(database, work)], now)
    files.sweep(database, home, keys=work.keys, pairs=work.pairs)
    lines = files.blank_log_lines(home, order.kind, order.subject)
    copies = files.remove_copies(home)
    database.rewrite()
    journal.end(home)
    learners = _learners(database, work)
    with database.read() as session:
        owed = retraining_owed(session, now)
        rows = queries.adapters_of(session=session, runs=set(work.runs))
        deadlines = [row.retire_by for row in rows if row.state in ("active", "candidate")]
    return Erased(
        id=order.id,
        kind=order.kind,
        counts=counts,
        copies=copies,
        log_lines=lines,
        tainted=tuple(one.id for one in learners if one.state in ("active", "candidate")),
        retired=tuple(one.id for one in learners if one.state not in ("active", "candidate")),
        owed=tuple(scope for scope in owed if scope in {one.scope for one in learners}),
        deadline=min((one for one in deadlines if one), default=order.at + deadline),
    )


def _refuse_other(session: Session, order: Order, expected: Preview) -> None:
    """Refuse to take other rows, or to taint other adapters, than a person was told of.

    Raises:
        InputError: it would.
    """
    if _mark_of(find(session, Subject(order.kind, order.subject))) != expected.mark:
        raise InputError(
            f"What there is of {order.subject} is not what you were told any more; nothing was erased.",
            "Look again at what goes, then decide.",
        )


def _mark_of(found: Found) -> str:
    """SHA-256 in hexadecimal of which rows an erasure would take, and of which adapters have learnt from them."""
    ids = (found.summaries, found.corrections, found.pairs, (row.id for row in (*found.adapters, *found.earlier)))
    return hashlib.sha256(json.dumps([found.counts, *map(sorted, ids)]).encode()).hexdigest()


def _salt(database: Database, home: Home, subject: Subject) -> str:
    """The salt of an earlier erasure of the same, by which a restore knows that they are of the same; or empty."""
    with database.read() as session:
        marks = marks_of(queries.erasures(session=session))
    marks += journal.remembered(home)
    return next((mark.salt for mark in marks if mark.kind == subject.kind and mark.is_about(subject.id)), "")


def _learners(database: Database, work: Work) -> list[Learner]:
    with database.read() as session:
        return [
            Learner(row.id, row.scope, row.state) for row in queries.adapters_of(session=session, runs=set(work.runs))
        ]


def _repeat_missing(database: Database, home: Home, settings: LearningSettings, now: datetime) -> None:
    """Do again what a database that was put in place by hand does not know of."""
    marks = journal.remembered(home)
    with database.read() as session:
        on_record = {row.id for row in queries.erasures(session=session)}
    missing = [mark for mark in marks if mark.id not in on_record]
    if not missing:
        return
    with recorded(database) as (session, ledger):
        repeat(session, ledger, missing, settings, by=PROGRAM, now=now)
    files.sweep(database, home)
    files.remove_copies(home)
    database.rewrite()
