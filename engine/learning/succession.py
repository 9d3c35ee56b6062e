"""Which pair is used in the place of which: an approved one that builds on another, and none that merely waits.

A pair builds on one before it, as corrections do: ``supersedes``, which is a fact, and which those that wait or were
rejected have as well. Which one is used in its place, ``superseded_by``, follows from that and from what was decided:
the newest approved pair that builds on it, over however many between them, and on which no approved one builds in turn.
It is worked out anew wherever a decision is taken, for all of a pair's family, inside the caller's transaction.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from storage import pair_queries as queries

if TYPE_CHECKING:
    from sqlmodel import Session

    from storage.learning_tables import PairRow
    from storage.pair_queries import Kin


def settle(session: Session, pair_id: str) -> None:
    """Say of every pair of a family in whose place another is used, after something was decided in it."""
    family = _family(session, pair_id)
    built: defaultdict[str, list[Kin]] = defaultdict(list)
    for kin in family:
        built[kin.supersedes].append(kin)
    heirs: dict[str, Kin | None] = {}
    # Those that build on a pair come after it, so that backwards each is known before what it builds on.
    for kin in reversed(family):
        found = (heirs[one.id] or (one if one.state == "approved" else None) for one in built[kin.id])
        heirs[kin.id] = max((one for one in found if one), key=lambda one: (one.created_at, one.id), default=None)
    for kin in family:
        heir = heirs[kin.id]
        by = heir.id if heir else ""
        if by != kin.superseded_by:
            queries.set_superseded(session=session, pair_id=kin.id, by=by)


def settle_decided(session: Session) -> None:
    """The same for all families in which a whole filter's decision has changed something."""
    for pair_id in queries.unsettled(session=session):
        settle(session, pair_id)


def back_to(session: Session, pair: PairRow, later: str) -> None:
    """Somebody who had a later pair before them went back to just what an earlier one says: it builds on that now.

    Args:
        later: the id of what they had before them, or empty; nothing is changed where that does not build on ``pair``.
    """
    at, seen = later, {pair.id}
    while at and at not in seen:
        seen.add(at)
        above = queries.get_pair(session=session, pair_id=at)
        if above is None:
            return
        if above.supersedes == pair.id:
            above.supersedes, pair.supersedes = pair.supersedes, later
            session.flush()
            settle(session, pair.id)
            return
        at = above.supersedes


def _family(session: Session, pair_id: str) -> list[Kin]:
    """Every pair that has to do with one by building on each other, each after the one that it builds on."""
    first, seen = pair_id, {pair_id}
    while (before := queries.builds_on(session=session, pair_id=first)) and before not in seen:
        seen.add(before)
        first = before
    found = queries.kin(session=session, pair_id=first)
    known = {one.id for one in found}
    newest = list(found)
    while newest:
        built = queries.building_on(session=session, pairs=[one.id for one in newest])
        newest = [one for one in built if one.id not in known]
        known.update(one.id for one in newest)
        found += newest
    return found
