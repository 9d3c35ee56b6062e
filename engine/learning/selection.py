"""Which pairs a scope trains on and is measured on; why the others are left out.

A channel trains on its own pairs; a workspace on those of its public channels; ``default`` on what came from files and,
where the operator says so, on the public pairs of all workspaces. Direct messages train nothing; nor does a platform
that nobody authorised, but for imported pairs, whose importer answers for them. What is held out is never among the
training pairs, of any scope. It only reads.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from engine.learning.authorisation import authorised
from engine.learning.splits import home_scope
from engine.scopes import DEFAULT, parse
from storage import pair_queries as queries
from storage import run_queries
from storage.pair_filters import Within

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.learning.settings import LearningSettings
    from storage.learning_tables import PairRow
    from storage.pair_queries import Counted

#: Why a pair of a scope is left out of its training, and how a sentence says it, in the order in which it is judged.
REASONS = {
    "direct": "from direct messages",
    "private": "from private channels",
    "unauthorised": "from a platform on which training is not authorised",
    "superseded": "replaced by a later correction",
    "rejected": "rejected",
    "pending": "waiting for approval",
    "heldout": "held out for measuring",
    "bridge": "like conversations on both sides of the split",
}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a scope trains on.

    Attributes:
        pairs: in an order that depends on nothing but what is in them.
        left_out: how many pairs of the scope are not among them, by the reason in :data:`REASONS`.
    """

    pairs: Sequence[PairRow]
    left_out: dict[str, int]


def place_of(scope: str, settings: LearningSettings) -> Within:
    """A scope as the queries take it.

    Raises:
        InputError: it is no scope.
    """
    found = parse(scope)
    return Within(found.platform, found.workspace, found.channel, settings.train_default_takes_workspaces)


def training_pairs(session: Session, scope: str, settings: LearningSettings) -> Selection:
    """The pairs that a run of this scope trains on; held-out ones are never among them.

    Raises:
        InputError: it is no scope.
    """
    place, platforms = place_of(scope, settings), authorised(session)
    left_out = Counter[str]()
    for row in queries.counted(session=session, place=place):
        left_out[reason(row, place, platforms)] += row.pairs
    del left_out[""]
    pairs = queries.usable_pairs(session=session, place=place, authorised=platforms, split="train")
    return Selection(pairs, {name: left_out[name] for name in REASONS if left_out[name]})


def taken_back(session: Session, run_id: str, scope: str, settings: LearningSettings) -> bool:
    """Whether a run was made of pairs that its scope may not train on any more.

    These were erased, rejected or reopened, turned out to be held out or private, or are of a platform that is no
    longer authorised. A pair that another one has replaced since was rightly trained on: the next run takes the other.

    Raises:
        InputError: it is no scope.
    """
    place = place_of(scope, settings)
    return bool(
        run_queries.pairs_taken_back(session=session, run_id=run_id, place=place, authorised=authorised(session))
    )


def heldout_pairs(session: Session, scope: str, settings: LearningSettings) -> Sequence[PairRow]:
    """The pairs that this scope's adapters are measured on, newest first.

    Raises:
        InputError: it is no scope.
    """
    return queries.usable_pairs(
        session=session,
        place=place_of(scope, settings),
        authorised=authorised(session),
        split="heldout",
        newest_first=True,
    )


def new_pairs(session: Session, scope: str, settings: LearningSettings, since: datetime | None) -> int:
    """How many pairs that this scope trains on were approved after a time; all of them where there is none.

    Raises:
        InputError: it is no scope.
    """
    place = place_of(scope, settings)
    return queries.count_decided(
        session=session, place=place, authorised=authorised(session), split="train", since=since
    )


def trainable_scopes(session: Session, settings: LearningSettings) -> list[str]:
    """The scopes that have a pair to train on and that the schedule looks after, in order.

    These are ``default``, workspaces and private channels. A public channel trains within its workspace; for an adapter
    of its own it is named by hand.
    """
    platforms = authorised(session)
    found: set[str] = set()
    for row in queries.counted(session=session):
        for scope in _trains(row, settings):
            if row.split == "train" and not reason(row, place_of(scope, settings), platforms):
                found.add(scope)
    return sorted(found, key=lambda scope: (scope != DEFAULT, scope))


def _trains(row: Counted, settings: LearningSettings) -> Iterable[str]:
    """The scopes of which a row's pairs are."""
    home = home_scope(row, public=row.public)
    if home != DEFAULT:
        yield home
    if row.platform == "file" or settings.train_default_takes_workspaces:
        yield DEFAULT


def reason(row: Counted, place: Within, platforms: Collection[str]) -> str:
    """Why a row's pairs are not trained on in a scope that they are of; an empty string where they are."""
    if row.direct:
        return "direct"
    chat = row.platform != "file"
    if chat and place.public_only and not row.public:
        return "private"
    if chat and row.origin != "imported" and row.platform not in platforms:
        return "unauthorised"
    if row.superseded:
        return "superseded"
    if row.state != "approved":
        return row.state
    return "" if row.split == "train" else row.split


def data_hash(pairs: Iterable[PairRow]) -> str:
    """SHA-256 in hexadecimal over what is in the pairs, in whatever order they come: the same data, the same hash."""
    digest = hashlib.sha256()
    for line in sorted(_line(pair) for pair in pairs):
        digest.update(hashlib.sha256(line).digest())
    return digest.hexdigest()


def _line(pair: PairRow) -> bytes:
    fields = (pair.content_hash, pair.style, pair.focus, pair.output_language)
    return "\x00".join(fields).encode("utf-8", "replace")
