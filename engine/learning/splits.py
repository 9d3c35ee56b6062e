"""On which side of the split a conversation is: trained on, held out, or neither; decided once, when it first arrives.

Half of what arrives in a home scope is held out until 60 of its conversations held out have a blind reference, then
15%; which half is decided by a hash of the conversation's key, so that a second try comes out the same. A newcomer that
resembles a conversation of one side joins it, one that resembles both sides is a bridge and used for neither, and so
is a later dialogue of a conversation that has come to resemble the other side. What is held out is so in every scope.

It reads and writes the rows of the split; what resembles what is :mod:`engine.learning.near`'s business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, cast

from sqlmodel import Session

from engine.learning import near
from engine.learning.near import Known, Likeness, Side
from engine.scopes import DEFAULT, Place, Scope
from storage import split_queries as queries
from storage.learning_tables import SplitRow

Split = Literal["train", "heldout", "bridge"]

#: Conversations held out with a blind reference that a gate needs before it decides anything.
BLIND_NEEDED = 60
#: Share held out until then, and afterwards.
FIRST_SHARE, LATER_SHARE = 0.5, 0.15
#: Origins whose authors had seen no draft.
BLIND_ORIGINS = frozenset({"blind", "imported", "case"})

_OTHER: dict[Side, Side] = {"train": "heldout", "heldout": "train"}


def home_scope(place: Place, *, public: bool) -> str:
    """The widest scope that a place's pairs train of right: its workspace where it is public, else its channel.

    ``default`` for what came from files, and for chat pairs that name no workspace (a platform's export, read on the
    command line), which train nothing there unless the operator lets workspaces train ``default``.
    """
    if place.platform not in ("slack", "discord") or not place.workspace:
        return DEFAULT
    platform: Literal["slack", "discord"] = "slack" if place.platform == "slack" else "discord"
    return str(Scope(platform, place.workspace, "" if public else place.channel))


def side_of(
    session: Session,
    *,
    key: str,
    home: str,
    dialogue: str,
    messages: Sequence[str] = (),
    wanted: Side | None = None,
    now: datetime,
) -> Split:
    """The split of a pair of this conversation and dialogue; asking again changes nothing.

    The caller stores a pair with it in the same transaction, one in which nobody else decides on a side
    (:func:`engine.learning.ledger.recorded`).

    Args:
        key: what the split goes by: the conversation's id, or for imports a hash of the dialogue.
        home: see :func:`home_scope`.
        messages: marks of the chat messages in the dialogue, see :func:`engine.learning.near.mark`.
        wanted: the side asked for, in place of the drawn one; resemblance goes before it.
    """
    row = queries.get_split(session=session, conversation_key=key)
    if row is not None and row.side == "bridge":
        return "bridge"
    found = near.likeness(dialogue, messages)
    known = _Stored(session)
    if row is None:
        share = share_held_out(held_out(session, home))
        split = decide(known, found, key=key, wanted=wanted, share=share)
        session.add(SplitRow(conversation_key=key, side=split, scope=home, assigned_at=now))
        session.flush()
    else:
        split = later(known, found, key=key, side=cast("Side", row.side))
    if split != "bridge":
        queries.add_near_keys(session=session, keys=found.keys(split), conversation_key=key)
    return split


def decide(known: Known, found: Likeness, *, key: str, wanted: Side | None, share: float) -> Split:
    """The side of a newcomer."""
    trained = near.resembles(known, "train", found, key=key)
    measured = near.resembles(known, "heldout", found, key=key)
    if trained and measured:
        return "bridge"
    if trained or measured:
        return "train" if trained else "heldout"
    return wanted or drawn(key, share)


def later(known: Known, found: Likeness, *, key: str, side: Side) -> Split:
    """The split of another dialogue of a conversation that has a side."""
    return "bridge" if near.resembles(known, _OTHER[side], found, key=key) else side


def drawn(key: str, share: float) -> Side:
    """The side that a key falls on by its hash where that share is held out."""
    digest = hashlib.sha256(b"split\x00" + key.encode("utf-8", "replace")).digest()
    return "heldout" if int.from_bytes(digest[:8], "big") < share * 2**64 else "train"


def share_held_out(blind: int) -> float:
    """Which share of newcomers is held out where that many conversations with blind references are."""
    return FIRST_SHARE if blind < BLIND_NEEDED else LATER_SHARE


def held_out(session: Session, home: str) -> int:
    """Conversations held out in a home scope with a blind reference, counted up to :data:`BLIND_NEEDED`."""
    return queries.blind_conversations(session=session, home=home, origins=BLIND_ORIGINS, most=BLIND_NEEDED)


class _Stored:
    """What the database knows of near-duplicates."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def sharing(self, keys: Sequence[str], *, but: str, most: int) -> Sequence[str]:
        return queries.near_sharing(session=self._session, keys=keys, but=but, most=most)

    def dialogues(self, conversation_key: str) -> Iterable[str]:
        return queries.dialogues_of(session=self._session, conversation_key=conversation_key)
