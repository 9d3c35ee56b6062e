"""What the comparison shows: conversations to choose from, which systems there are for one, and the votes so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from admin.console.store import Store
from engine.conversation import Conversation
from engine.learning.votes import Tally
from storage.console_queries import ConversationLine
from storage.learning_tables import VoteRow

Kind = Literal["recent", "held-out", "pasted"]
PAGE = 100
BASE = "base"


@dataclass(frozen=True, slots=True)
class Choice:
    """A conversation that may be compared on.

    Attributes:
        title: how it is called, or how it begins.
        private: its text is covered, and comparing on it opens it.
    """

    key: str
    kind: Kind
    title: str
    scope: str
    private: bool = False


@dataclass(frozen=True, slots=True)
class System:
    """What writes: ``base``, or an adapter and in which role."""

    adapter: str
    role: str


@dataclass(frozen=True, slots=True)
class Choices:
    """Conversations, the votes so far, and whether there are more conversations than these."""

    choices: Sequence[Choice]
    tallies: Sequence[Tally]
    more: bool = False


def choices(store: Store, kind: Kind, rows: int = PAGE, wanted: str = "") -> Choices:
    """Stored conversations, the one that was read last first; or held-out ones, scope by scope.

    Args:
        rows: how many of them.
        wanted: the id of one that is among them wherever it stands.
    """
    from engine.learning.votes import tally
    from storage.console_queries import conversation_lines

    with store.database().read() as session:
        tallies = tally(session)
        if kind == "held-out":
            found = _held_out(store, rows + 1)
            return Choices(found[:rows], tallies, len(found) > rows)
        lines = list(conversation_lines(session=session, limit=rows + 1))
        more = len(lines) > rows
        lines = lines[:rows]
        if wanted and wanted not in {line.id for line in lines}:
            lines = [*conversation_lines(session=session, limit=1, ids=[wanted]), *lines]
    return Choices([_of(line) for line in lines], tallies, more)


def _of(line: ConversationLine) -> Choice:
    place = f"{line.platform}:{line.workspace}/{line.channel}" if line.workspace else "default"
    return Choice(line.id, "recent", line.title or line.id, place, line.private)


def _held_out(store: Store, rows: int) -> list[Choice]:
    from engine.learning.heldout import held_out
    from engine.learning.selection import heldout_pairs, trainable_scopes

    settings, found = store.learning(), []
    with store.database().read() as session:
        for scope in trainable_scopes(session, settings):
            for one in held_out(heldout_pairs(session, scope, settings), most=rows):
                private = scope.count("/") > 0
                title = "" if private else one.dialogue.partition("\n")[0]
                found.append(Choice(one.key, "held-out", title or one.key, scope, private))
            if len(found) >= rows:
                break
    return found[:rows]


def conversation(store: Store, choice: Choice) -> Conversation:
    """The conversation of a choice, before models write of it for a person to see.

    That is recorded, because nobody who has seen it writes blind of that conversation any more; and so is the opening
    of a private one. A console that only reads can record neither: it compares on a text that is pasted.

    Raises:
        InputError: it is gone.
        NotPermitted: this console only reads.
    """
    from engine.learning import blind

    found = _stored(store, choice)
    blind.shown(store.writable(), conversation_id=choice.key, by=store.by, why="compare", now=store.clock)
    return found


def _stored(store: Store, choice: Choice) -> Conversation:
    from engine.learning.browsing import open_conversation
    from engine.learning.heldout import held_out
    from engine.learning.selection import heldout_pairs
    from storage.errors import InputError

    database = store.writable()
    if choice.kind == "recent":
        found = open_conversation(
            database, conversation_id=choice.key, by=store.by, asked=choice.private, now=store.clock
        )
        return found.conversation
    with database.read() as session:
        pairs = heldout_pairs(session, choice.scope, store.learning())
    for one in held_out(pairs, most=10_000):
        if one.key == choice.key:
            if choice.private:
                from engine.learning.ledger import opened

                opened(database, conversation_id=choice.key, by=store.by, why="compare", now=store.clock)
            return one.request(BASE).conversation
    raise InputError("That conversation is not held out any more.", "Choose another.")


def pasted(text: str) -> Conversation:
    """A conversation out of a text, in whatever format the command line reads.

    Raises:
        InputError: it is none.
    """
    from engine.formats.read import read_bytes

    return read_bytes(text.encode("utf-8", "replace"), "the pasted text")


def systems(store: Store, scope: str, wanted: str = "") -> list[System]:
    """Base, what serves a scope's conversations, and its newest candidate or the adapter that was asked for."""
    from engine import scopes
    from engine.learning.registry import in_service
    from storage.evaluation_queries import newest_candidate

    with store.database().read() as session:
        serves = in_service(session, scope)
        candidate = None
        for one in scopes.serving(scopes.parse(scope)):
            candidate = candidate or newest_candidate(session=session, scope=one)
    found = [System(BASE, "base")]
    if serves != BASE:
        found.append(System(serves, "active"))
    other = wanted or (candidate.id if candidate is not None else "")
    if other and other not in (BASE, serves):
        found.append(System(other, "candidate" if not wanted or (candidate and wanted == candidate.id) else "chosen"))
    return found


def vote(store: Store, scope: str, compared: Sequence[str], preferred: str, *, blind: bool) -> VoteRow:
    """Keep a vote."""
    from engine.learning import votes

    return votes.vote(
        store.writable(), by=store.by, scope=scope, systems=compared, preferred=preferred, blind=blind, now=store.clock
    )
