"""What of the database an erasure is about, and its removal: the rows' part of :mod:`engine.learning.erasure`.

A person's words are in their messages and corrections, and may be in whatever was made of a conversation in which they
wrote: summaries of it, corrections of those, pairs, whose dialogue is a copy, and what others built upon any of these.
All of that goes. Messages of others stay, and what others say in them. It runs within a transaction that somebody else
has opened, on the present database or on a backup's copy that is about to take its place.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlmodel import Session

from engine.learning.alerts import raise_alert
from engine.learning.erasure_journal import Kind, Mark, Work, digest_of
from engine.learning.ledger import Ledger, pseudonym_of
from engine.learning.succession import settle
from engine.learning.tainted import ERASED, retire
from engine.text.parts import tidy, tidy_name
from storage import chat_queries as chats
from storage import erasure_queries as queries
from storage import erasure_removal as removal
from storage import pair_queries
from storage import queries as plain
from storage.errors import InputError
from storage.learning_tables import AdapterRow, ErasureRow

#: What stands in place of a run's last words when what it trained on is gone.
STOPPED = "Words that it was to train on were erased."
_IN_USE = ("active", "candidate")


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom or what an erasure is about.

    Attributes:
        id: ``slack:U01AB``, ``discord:123``, ``local:maria``, or a conversation's id or key.
    """

    kind: Kind
    id: str

    @property
    def platform(self) -> str:
        """Of a user: ``slack``, ``discord`` or ``local``."""
        return self.id.partition(":")[0]

    @property
    def account(self) -> str:
        """Of a user: who they are on their platform."""
        return self.id.partition(":")[2]


@dataclass(slots=True)
class Found:
    """What an erasure is about, by id.

    Attributes:
        touched: conversations in which the person wrote, and that stay without them.
        gone: conversations that go whole.
        summaries: of both, and those that rest on messages which were gone before.
        asked: summaries that the person asked for and that stay.
        runs: fine-tunes that were made of some of the pairs.
        adapters: what those runs made.
        earlier: adapters that learnt from what earlier erasures of the same took, and that are still in use.
    """

    touched: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    messages: int = 0
    summaries: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    corrections: set[str] = field(default_factory=set)
    thumbs: list[tuple[str, str]] = field(default_factory=list)
    feedback: int = 0
    pairs: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)
    runs: set[str] = field(default_factory=set)
    adapters: list[AdapterRow] = field(default_factory=list)
    earlier: list[AdapterRow] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """How many rows of each kind, in an order fit to be read."""
        return {
            "messages": self.messages,
            "conversations": len(self.gone),
            "summaries": len(self.summaries),
            "corrections": len(self.corrections),
            "pairs": len(self.pairs),
            "feedback": self.feedback,
            "requests": len(self.asked),
            "runs": len(self.runs),
            "adapters": len(self.adapters),
        }

    @property
    def work(self) -> Work:
        """What is to be seen to outside the database once the rows are gone."""
        runs = self.runs | {row.run_id for row in self.earlier}
        return Work(sorted(self.keys), sorted(self.pairs), sorted(runs))


def subject_of(session: Session, *, user: str | None, conversation: str | None) -> Subject:
    """Whom or what somebody means.

    Raises:
        InputError: neither or both were named, or a user not by an account.
    """
    if (user is None) == (conversation is None):
        raise InputError("Name one user or one conversation.", "Use --user U or --conversation C.")
    if conversation is not None:
        if not conversation.strip():
            raise InputError("A conversation's id is not empty.", "`redraft summarize --json` tells it.")
        return Subject("conversation", conversation)
    assert user is not None
    platform, colon, account = user.partition(":")
    if platform == "file" and account:
        raise _no_account(session, account)
    if platform not in ("slack", "discord", "local") or not colon or not account.strip():
        raise InputError(
            f"{user[:80]!r} names no account.",
            "Write slack:U01AB, discord:123456789 or local:maria, as the ledger does.",
        )
    return Subject("user", user)


def _no_account(session: Session, name: str) -> InputError:
    ids = queries.files_with_author(session=session, name=name, limit=6)
    listed = " ".join(f"--conversation {one}" for one in ids[:5]) + (" …" if len(ids) > 5 else "")
    return InputError(
        "A name in a file is no account: others may bear it too.",
        f"Erase the conversations one by one: {listed}"
        if ids
        else "No conversation from a file has an author so named.",
    )


# Finding ------------------------------------------------------------------------------------------------------------


def find(session: Session, subject: Subject) -> Found:
    """Everything that an erasure would take; nothing is changed."""
    found = _of_user(session, subject) if subject.kind == "user" else _of_conversation(session, subject)
    everywhere = found.touched | found.gone
    found.summaries |= queries.summaries_of(session=session, conversations=everywhere)
    found.asked -= found.summaries
    found.corrections |= queries.corrections_on(session=session, summaries=found.summaries)
    found.pairs |= queries.pairs_of(session=session, conversations=everywhere)
    _what_builds_on_it(session, found)
    found.thumbs = [one for one in found.thumbs if one[0] not in found.summaries]
    found.feedback = len(found.thumbs) + queries.count_feedback_on(session=session, summaries=found.summaries)
    found.keys = everywhere | queries.keys_of(session=session, pairs=found.pairs)
    if subject.kind == "conversation":
        found.keys.add(subject.id)
    found.runs = queries.runs_of(session=session, pairs=found.pairs)
    found.adapters = list(queries.adapters_of(session=session, runs=found.runs))
    before = [one for one in queries.erasures(session=session) if _is_about(one, subject)]
    found.earlier = _in_use(session, before, but=found.runs)
    return found


def _is_about(row: ErasureRow, subject: Subject) -> bool:
    return row.kind == subject.kind and digest_of(subject.kind, subject.id, row.salt) == row.digest


def _in_use(session: Session, erasures: Iterable[ErasureRow], *, but: Collection[str] = ()) -> list[AdapterRow]:
    """The adapters that learnt from what erasures took, and that serve or wait."""
    runs = {run for one in erasures for run in one.runs} - set(but)
    return [row for row in queries.adapters_of(session=session, runs=runs) if row.state in _IN_USE]


def _of_conversation(session: Session, subject: Subject) -> Found:
    found = Found(gone={subject.id} if plain.get_conversation(session=session, conversation_id=subject.id) else set())
    found.messages = queries.count_messages_in(session=session, conversations=found.gone)
    found.pairs = queries.pairs_of(session=session, conversations={subject.id})
    return found


def _of_user(session: Session, subject: Subject) -> Found:
    platform, account = subject.platform, subject.account
    wrote = queries.wrote_in(session=session, platform=platform, account=account)
    conversations = {conversation for conversation, _, _ in wrote}
    gone = queries.only_theirs(session=session, conversations=conversations, account=account)
    found = Found(touched=conversations - gone, gone=gone)
    found.messages = queries.count_messages(session=session, platform=platform, account=account)
    found.asked = queries.asked_for(session=session, platform=platform, account=account)
    found.thumbs = queries.thumbs_by(session=session, platform=platform, account=account)
    found.corrections = queries.corrections_by(session=session, platform=platform, account=account)
    found.pairs = queries.pairs_by(session=session, platform=platform, account=account)
    # What they wrote and deleted on the platform is gone from the messages once the conversation was read again; what
    # had been made of it until then bears their name.
    workspaces, names = {workspace for _, workspace, _ in wrote}, {name for _, _, name in wrote if name.strip()}
    found.summaries = queries.summaries_of_what_is_gone(
        session=session, platform=platform, workspaces=workspaces, names=names
    )
    for name in {tidy_name(one) for one in names}:
        found.pairs |= _pairs_with_lost_lines(session, platform, workspaces, name)
    return found


def _pairs_with_lost_lines(session: Session, platform: str, workspaces: Collection[str], name: str) -> set[str]:
    """Pairs in which somebody of this name says what none of the conversation's present messages says."""
    found = set()
    for pair, conversation, dialogue in queries.pairs_with_a_line_by(
        session=session, platform=platform, workspaces=workspaces, name=name
    ):
        messages = plain.messages_of(session=session, conversation_id=conversation) if conversation else ()
        present = {f"{tidy_name(one.author)}: {tidy(one.text, multiline=False)}" for one in messages}
        if any(line.startswith(f"{name}: ") and line not in present for line in dialogue.split("\n")):
            found.add(pair)
    return found


def _what_builds_on_it(session: Session, found: Found) -> None:
    """Corrections and pairs whose authors had one of these before them, and so on."""
    while True:
        corrections = queries.corrections_built_on(session=session, corrections=found.corrections)
        pairs = queries.pairs_made_by(session=session, corrections=found.corrections | corrections)
        pairs |= queries.successors(session=session, pairs=found.pairs | pairs)
        if corrections <= found.corrections and pairs <= found.pairs:
            return
        found.corrections |= corrections
        found.pairs |= pairs


# Removing -----------------------------------------------------------------------------------------------------------


def remove(
    session: Session,
    ledger: Ledger,
    subject: Subject,
    mark: Mark,
    *,
    by: str,
    deadline: timedelta,
    now: datetime,
    again: bool = False,
) -> Found:
    """Take everything out of the database, mark what has learnt from it, and record the erasure.

    Args:
        session: the writing transaction of ``ledger``.
        mark: under which it is remembered.
        deadline: after which adapters that have learnt from it are taken out of service, from when it was asked for.
        again: it was done before, and a backup had brought back what it took.

    Returns:
        What there was.
    """
    found = find(session, subject)
    action = "erasure.repeated" if again else "erasure.done"
    details = {"kind": subject.kind, "counts": {name: many for name, many in found.counts.items() if many}}
    ledger.append(action, by=by, subject=mark.id, details=details, now=now)
    _taint(session, ledger, found, mark, deadline, now)
    _stop_runs(session, ledger, found, now)

    standing_back = pair_queries.replaced_by(session=session, pairs=found.pairs) - found.pairs
    removal.delete_pairs(session=session, pairs=found.pairs)
    for pair in sorted(standing_back):
        settle(session, pair)
    removal.delete_corrections(session=session, corrections=found.corrections)
    removal.delete_thumbs(session=session, thumbs=found.thumbs)
    removal.delete_summaries(session=session, summaries=found.summaries)
    removal.blank_asked(session=session, summaries=found.asked)
    removal.delete_conversations(session=session, conversations=found.gone)
    removal.blank_titles(session=session, conversations=found.touched)
    if subject.kind == "user":
        removal.delete_messages(session=session, platform=subject.platform, account=subject.account)
        chats.delete_person(session=session, person=subject.id)
        _forget_name(session, subject)
    removal.delete_near_keys(session=session, keys=found.keys)
    removal.delete_splits_of_what_is_gone(session=session, keys=found.keys)
    record(session, mark, found.counts, found.work.runs)
    return found


def bring_forward(session: Session, ledger: Ledger, mark: Mark, now: datetime) -> None:
    """Take out at once what learnt from what earlier erasures of the same took; whom they are about need not be known.

    Args:
        session: the writing transaction of ``ledger``.
        mark: of an erasure that finds nothing else any more.
    """
    same = [row for row in queries.erasures(session=session) if (row.kind, row.digest) == (mark.kind, mark.digest)]
    for adapter in _in_use(session, same):
        retire(session, ledger, adapter, ERASED, now)
    session.flush()


def record(session: Session, mark: Mark, counts: Mapping[str, int], runs: Iterable[str] = ()) -> None:
    """Put an erasure on record."""
    row = ErasureRow(
        id=mark.id, at=mark.at, kind=mark.kind, salt=mark.salt, digest=mark.digest, counts=dict(counts),
        runs=list(runs),
    )  # fmt: skip
    session.add(row)
    session.flush()


def _forget_name(session: Session, subject: Subject) -> None:
    """Where somebody is named as who did what stands without them, their pseudonym stands; its key goes."""
    key = queries.key_of(session=session, person=subject.id)
    name = pseudonym_of(subject.id, key.key if key else secrets.token_hex(16))
    removal.rename_doer(session=session, platform=subject.platform, account=subject.account, name=name)
    if key is not None:
        session.delete(key)
    session.flush()


def _taint(session: Session, ledger: Ledger, found: Found, mark: Mark, deadline: timedelta, now: datetime) -> None:
    for row in found.adapters:
        if row.tainted_at is None or row.retire_by is None:
            row.tainted_at, row.retire_by = mark.at, mark.at + deadline
        if row.state not in _IN_USE:
            continue
        if mark.immediately:
            retire(session, ledger, row, ERASED, now)
            continue
        raise_alert(
            session,
            kind="tainted",
            subject=row.id,
            sentence=f"Adapter {row.id} of {row.scope} was trained on words erased since; it goes when one trained "
            f"anew is promoted, or on {row.retire_by:%Y-%m-%d}.",
            command=f"redraft train --scope {row.scope}",
            now=now,
        )
    for row in found.earlier if mark.immediately else ():
        retire(session, ledger, row, ERASED, now)
    session.flush()


def _stop_runs(session: Session, ledger: Ledger, found: Found, now: datetime) -> None:
    """A run that holds these words is over; what it left goes with them, and a new one begins without."""
    from engine.learning.runs import end_run

    for row in queries.open_runs_among(session=session, runs=found.runs):
        end_run(ledger, row, "failed", STOPPED, now)
