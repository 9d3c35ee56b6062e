"""What is asked of the split's tables, one conversation at a time and for whole imports; no rule lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import func, insert, select
from sqlmodel import Session, col

from storage.learning_tables import NearKeyRow, PairRow, SplitRow
from storage.queries import _insert


def near_sharing(*, session: Session, keys: Sequence[str], but: str, most: int) -> Sequence[str]:
    """Conversations that have one of the keys, ``most`` at the most, without one of them."""
    found: dict[str, None] = {}
    for at in range(0, len(keys), 500):
        query = (
            select(col(NearKeyRow.conversation_key))
            .where(col(NearKeyRow.band).in_(keys[at : at + 500]), col(NearKeyRow.conversation_key) != but)
            .distinct()
            .limit(most)
        )
        found.update(dict.fromkeys(session.scalars(query)))
        if len(found) >= most:
            break
    return list(found)[:most]


def add_near_keys(*, session: Session, keys: Sequence[str], conversation_key: str) -> None:
    """Keep what near-duplicates of a conversation are found by; what is there already stays."""
    if keys:
        statement = _insert(session, NearKeyRow).on_conflict_do_nothing()
        session.execute(statement, [{"band": key, "conversation_key": conversation_key} for key in keys])


def dialogues_of(*, session: Session, conversation_key: str) -> Sequence[str]:
    """The dialogues of a conversation's pairs, but for those that resemble the other side."""
    return session.scalars(
        select(col(PairRow.dialogue))
        .where(col(PairRow.conversation_key) == conversation_key, col(PairRow.split) != "bridge")
        .distinct()
    ).all()


def get_split(*, session: Session, conversation_key: str) -> SplitRow | None:
    """On which side a conversation is."""
    return session.get(SplitRow, conversation_key)


def blind_conversations(*, session: Session, home: str, origins: Collection[str], most: int) -> int:
    """Conversations held out in a home scope that have a blind reference which nobody rejected, up to ``most``."""
    found = (
        select(col(SplitRow.conversation_key))
        .join(PairRow, col(PairRow.conversation_key) == col(SplitRow.conversation_key))
        .where(
            col(SplitRow.scope) == home,
            col(SplitRow.side) == "heldout",
            col(PairRow.split) == "heldout",
            col(PairRow.origin).in_(origins),
            col(PairRow.seen_draft).is_(False),
            col(PairRow.state) != "rejected",
        )
        .distinct()
        .limit(most)
        .subquery()
    )
    return session.scalar(select(func.count()).select_from(found)) or 0


# Imports ------------------------------------------------------------------------------------------------------------


def state_of_splits(*, session: Session) -> tuple[object, ...]:
    """What changes whenever anybody adds a pair or decides on a side."""
    pairs = session.execute(select(func.count(), func.max(col(PairRow.created_at))).select_from(PairRow)).one()
    sides = session.execute(select(func.count(), func.max(col(SplitRow.assigned_at))).select_from(SplitRow)).one()
    return (*pairs, *sides)


def any_near_keys(*, session: Session) -> bool:
    """Whether any conversation is known by what its near-duplicates are found by."""
    return session.scalars(select(col(NearKeyRow.band)).limit(1)).first() is not None


def stored_contents(*, session: Session, hashes: Sequence[str]) -> frozenset[str]:
    """Which of these contents there is a pair of."""
    return frozenset(session.scalars(select(col(PairRow.content_hash)).where(col(PairRow.content_hash).in_(hashes))))


def sides_of(*, session: Session, keys: Sequence[str]) -> dict[str, str]:
    """The sides of those conversations that have one."""
    query = select(col(SplitRow.conversation_key), col(SplitRow.side)).where(col(SplitRow.conversation_key).in_(keys))
    return {str(key): str(side) for key, side in session.execute(query)}


def add_splits(*, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Say on which sides conversations are that have had none."""
    if rows:
        session.execute(insert(SplitRow), rows)


def add_pairs(*, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store new pairs; what a row does not say is as the table has it."""
    names = set(rows[0]) if rows else set()
    rest = PairRow(**rows[0]).model_dump(exclude=names) if rows else {}
    session.execute(insert(PairRow.__table__), [{**rest, **row} for row in rows])  # type: ignore[attr-defined]


def add_fresh_near_keys(*, session: Session, keys: Sequence[tuple[str, str]]) -> None:
    """Keep what near-duplicates are found by: bands and the conversations, none of which is there yet.

    There may be millions; they go past everything that looks at single values.
    """
    connection = session.connection()
    mark = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    connection.exec_driver_sql(
        f"INSERT INTO near_keys (band, conversation_key) VALUES ({mark}, {mark})",  # noqa: S608 - the driver's marks
        list(keys),
    )
