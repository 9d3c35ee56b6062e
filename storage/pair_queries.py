"""What is asked of the tables of corrections, pairs and authorisations; no rule of the product lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, case, exists, func, or_, select, tuple_, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.learning_tables import AuthorisationRow, CorrectionRow, PairRow
from storage.pair_filters import PairFilter, Within, candidates, matching, usable, within

#: Characters of a summary that a list shows.
_BEGINNING = 100
#: Ids in one statement.
_PART = 500


@dataclass(frozen=True, slots=True)
class PairLine:
    """A pair as a list shows it; ``beginning`` is that of its summary, empty where its conversation is private."""

    id: str
    created_at: datetime
    state: str
    split: str
    origin: str
    platform: str
    workspace: str
    channel: str
    public: bool
    author_id: str
    author: str
    editor_id: str
    distance: float | None
    superseded_by: str
    source: str
    name: str
    decided_at: datetime | None
    decided_by: str
    reject_reason: str
    beginning: str


def usable_pairs(
    *, session: Session, place: Within, authorised: Collection[str], split: str, newest_first: bool = False
) -> Sequence[PairRow]:
    """Those pairs, in an order that depends on nothing but what is in them, or newest first."""
    order = (
        (col(PairRow.created_at).desc(), col(PairRow.content_hash)) if newest_first else (col(PairRow.content_hash),)
    )
    return session.scalars(
        select(PairRow).where(usable(place, authorised=authorised, split=split)).order_by(*order)
    ).all()


def count_decided(
    *, session: Session, place: Within, authorised: Collection[str], split: str, since: datetime | None
) -> int:
    """How many of those pairs were approved after a time; all of them where there is none."""
    query = select(func.count()).select_from(PairRow).where(usable(place, authorised=authorised, split=split))
    if since is not None:
        query = query.where(col(PairRow.decided_at) > since)
    return session.scalar(query) or 0


@dataclass(frozen=True, slots=True)
class Counted:
    """How many pairs there are of one kind; ``superseded`` is whether another is used in their place."""

    platform: str
    workspace: str
    channel: str
    public: bool
    direct: bool
    state: str
    split: str
    origin: str
    superseded: bool
    pairs: int
    first: datetime


def counted(*, session: Session, place: Within | None = None) -> list[Counted]:
    """How many pairs there are by what they are; ``first`` is when the first one of those came, replaced or not.

    An index answers, in its own order, so that nothing has to be sorted.
    """
    keys = (
        col(PairRow.platform), col(PairRow.workspace), col(PairRow.channel), col(PairRow.public), col(PairRow.direct),
        col(PairRow.state), col(PairRow.split), col(PairRow.origin),
    )  # fmt: skip
    replaced = func.sum(case((col(PairRow.superseded_by) != "", 1), else_=0))
    query = select(*keys, func.count(), replaced, func.min(col(PairRow.created_at))).group_by(*keys)
    if place is not None:
        query = query.where(within(place))
    found = []
    for row in session.execute(query):
        *kind, pairs, gone, first = row
        counts = ((False, int(pairs - gone)), (True, int(gone)))
        found += [Counted(*(*kind, superseded, count, first)) for superseded, count in counts if count]
    return found


def get_pair(*, session: Session, pair_id: str) -> PairRow | None:
    """One pair."""
    return session.get(PairRow, pair_id)


def pair_of_content(*, session: Session, content_hash: str) -> PairRow | None:
    """The pair with just this dialogue and summary."""
    return session.scalars(select(PairRow).where(col(PairRow.content_hash) == content_hash)).first()


def pairs_named(*, session: Session, beginning: str, limit: int = 2) -> Sequence[str]:
    """Ids of pairs that begin so."""
    starts = col(PairRow.id).startswith(beginning, autoescape=True)
    return session.scalars(select(col(PairRow.id)).where(starts).order_by(col(PairRow.id)).limit(limit)).all()


def pair_lines(
    *, session: Session, wanted: PairFilter, limit: int, after: tuple[datetime, str] | None
) -> Sequence[PairLine]:
    """Pairs, newest first; ``after`` is the time and id of the last one of the page before."""
    query = _lines(wanted)
    if after is not None:
        query = query.where(tuple_(col(PairRow.created_at), col(PairRow.id)) < after)
    query = query.order_by(col(PairRow.created_at).desc(), col(PairRow.id).desc()).limit(limit)
    return [PairLine(*row) for row in session.execute(query)]


#: Newest first, oldest first, by author, the largest and the smallest changes first.
Order = Literal["newest", "oldest", "author", "largest", "smallest"]


def pair_page(*, session: Session, wanted: PairFilter, order: Order, limit: int) -> Sequence[PairLine]:
    """The first so many pairs in an order; those without a draft count as wholly changed."""
    newest = (col(PairRow.created_at).desc(), col(PairRow.id).desc())
    changed = func.coalesce(col(PairRow.distance), 1.0)
    by: dict[str, tuple[Any, ...]] = {
        "newest": newest,
        "oldest": (col(PairRow.created_at), col(PairRow.id)),
        "author": (col(PairRow.author_id), *newest),
        "largest": (changed.desc(), *newest),
        "smallest": (changed, *newest),
    }
    return [PairLine(*row) for row in session.execute(_lines(wanted).order_by(*by[order]).limit(limit))]


def count_pairs(*, session: Session, wanted: PairFilter) -> int:
    """How many pairs a filter finds."""
    return session.scalar(select(func.count()).select_from(PairRow).where(*matching(wanted))) or 0


def _lines(wanted: PairFilter) -> Any:
    names = [name for name in PairLine.__dataclass_fields__ if name != "beginning"]
    shown = or_(col(PairRow.platform) == "file", col(PairRow.public).is_(True))
    beginning = case((shown, func.substr(col(PairRow.summary), 1, _BEGINNING)), else_="")
    return select(*(col(getattr(PairRow, name)) for name in names), beginning).where(*matching(wanted))


def waiting_ids(*, session: Session, wanted: PairFilter) -> list[str]:
    """The pairs of a filter that wait, in order."""
    query = select(col(PairRow.id)).where(col(PairRow.state) == "pending", *matching(wanted)).order_by(col(PairRow.id))
    return list(session.scalars(query))


def decide(*, session: Session, wanted: PairFilter, but_author: str | None, values: Mapping[str, Any]) -> int:
    """Change the pairs of a filter that wait; how many."""
    query = update(PairRow).where(col(PairRow.state) == "pending", *matching(wanted))
    if but_author is not None:
        query = query.where(col(PairRow.author_id) != but_author)
    done: Any = session.execute(query.values(**values), execution_options={"synchronize_session": False})
    return int(done.rowcount)


@dataclass(frozen=True, slots=True)
class Kin:
    """What decides in whose place a pair is used, and what is said of that so far."""

    id: str
    supersedes: str
    state: str
    created_at: datetime
    superseded_by: str


def _kin(session: Session, condition: ColumnElement[bool]) -> list[Kin]:
    columns = (col(getattr(PairRow, name)) for name in Kin.__dataclass_fields__)
    return [Kin(*row) for row in session.execute(select(*columns).where(condition))]


def kin(*, session: Session, pair_id: str) -> list[Kin]:
    """A pair as one of its family; an empty list where there is none."""
    return _kin(session, col(PairRow.id) == pair_id)


def building_on(*, session: Session, pairs: Sequence[str]) -> list[Kin]:
    """The pairs that build on some directly."""
    parts = (pairs[at : at + _PART] for at in range(0, len(pairs), _PART))
    return [one for part in parts for one in _kin(session, col(PairRow.supersedes).in_(part))]


def builds_on(*, session: Session, pair_id: str) -> str:
    """The pair that one builds on and that is still there, or an empty string."""
    before = aliased(PairRow)
    query = select(col(before.id)).join(PairRow, col(PairRow.supersedes) == col(before.id))
    return session.scalars(query.where(col(PairRow.id) == pair_id)).first() or ""


def waits_in_place_of(*, session: Session, pair_id: str) -> bool:
    """Whether a pair that builds on one waits for a decision."""
    waits = col(PairRow.supersedes) == pair_id, col(PairRow.state) == "pending"
    return session.scalars(select(col(PairRow.id)).where(*waits).limit(1)).first() is not None


def unsettled(*, session: Session) -> Sequence[str]:
    """Pairs that an unapproved one is used in the place of, or in whose place none is though an approved one builds on
    them.

    Each side is asked for by an index: in nearly all pairs both columns are empty.
    """
    after = aliased(PairRow)
    # Not as a plain column, because SQLite would go by the index of the state, in which nearly all pairs are alike.
    approved = func.coalesce(col(after.state), "") == "approved"
    wrong = (
        select(col(PairRow.id))
        .join(after, col(PairRow.superseded_by) == col(after.id))
        .where(col(PairRow.superseded_by) > "", col(after.state) != "approved"),
        select(col(PairRow.id))
        .join(after, col(after.supersedes) == col(PairRow.id))
        .where(col(after.supersedes) > "", approved, func.length(col(PairRow.superseded_by)) == 0),
    )
    return sorted({str(pair_id) for query in wrong for pair_id in session.scalars(query)})


def replaced_by(*, session: Session, pairs: Collection[str]) -> set[str]:
    """The pairs in whose place some are used."""
    ordered = sorted(pairs)
    found: set[str] = set()
    for at in range(0, len(ordered), _PART):
        query = select(col(PairRow.id)).where(col(PairRow.superseded_by).in_(ordered[at : at + _PART]))
        found.update(session.scalars(query))
    return found


def set_superseded(*, session: Session, pair_id: str, by: str) -> None:
    """Say which pair is used in the place of this one; an empty string says none is."""
    session.execute(update(PairRow).where(col(PairRow.id) == pair_id).values(superseded_by=by))


def corrections_of(*, session: Session, summary_id: str) -> Sequence[CorrectionRow]:
    """The corrections of a summary, oldest first."""
    return session.scalars(
        select(CorrectionRow)
        .where(col(CorrectionRow.summary_id) == summary_id)
        .order_by(col(CorrectionRow.created_at), col(CorrectionRow.id))
    ).all()


def own_blind(*, session: Session, conversation_id: str, author_id: str, but: str) -> str:
    """The newest pair of a conversation that a person wrote with no draft, on which none of theirs builds; or empty."""
    later = aliased(PairRow)
    return (
        session.scalars(
            select(col(PairRow.id))
            .where(
                col(PairRow.conversation_id) == conversation_id,
                col(PairRow.author_id) == author_id,
                col(PairRow.seen_draft).is_(False),
                ~exists().where(col(later.supersedes) == col(PairRow.id), col(later.author_id) == author_id),
                col(PairRow.id) != but,
            )
            .order_by(col(PairRow.created_at).desc(), col(PairRow.id))
            .limit(1)
        ).first()
        or ""
    )


@dataclass(frozen=True, slots=True)
class BlindHeldOut:
    """Held-out conversations of a scope that have a blind reference, by whether one is approved or only waits.

    ``lately`` are those whose references came after a time and were not rejected.
    """

    approved: int
    waiting: int
    lately: int


def blind_held_out(
    *, session: Session, place: Within, authorised: Collection[str], origins: Collection[str], since: datetime
) -> BlindHeldOut:
    """What a scope's gate has to go by."""
    state, key = col(PairRow.state), col(PairRow.conversation_key)

    def any_of(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.max(case((condition, 1), else_=0))

    conversations = (
        select(
            any_of(state == "approved").label("approved"),
            any_of(state == "pending").label("waits"),
            any_of(col(PairRow.created_at) >= since).label("lately"),
        )
        .where(
            candidates(place, authorised=authorised),
            col(PairRow.split) == "heldout",
            col(PairRow.origin).in_(origins),
            col(PairRow.seen_draft).is_(False),
            state != "rejected",
        )
        .group_by(key)
        .subquery()
    )
    found = conversations.c
    waiting = case((found.approved == 0, found.waits), else_=0)
    counts = session.execute(select(func.sum(found.approved), func.sum(waiting), func.sum(found.lately))).one()
    return BlindHeldOut(*(int(count or 0) for count in counts))


@dataclass(frozen=True, slots=True, order=True)
class Exported:
    """What the order of an export goes by."""

    source: str
    name: str
    content_hash: str
    id: str
    private: bool


def export_order(*, session: Session, wanted: PairFilter) -> list[Exported]:
    """The pairs of a filter as an export orders them; one without a name is ordered by its id."""
    names = ("source", "name", "content_hash", "id", "platform", "public")
    rows = session.execute(select(*(col(getattr(PairRow, name)) for name in names)).where(*matching(wanted)))
    return [
        Exported(source, name or pair_id, digest, pair_id, platform != "file" and not public)
        for source, name, digest, pair_id, platform, public in rows
    ]


def pair_texts(*, session: Session, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    """What an export holds of pairs."""
    names = (
        "id", "name", "dialogue", "summary", "summaries", "origin", "source", "licence", "style", "focus",
        "output_language",
    )  # fmt: skip
    columns: list[Any] = [col(getattr(PairRow, name)).label(name) for name in names]
    query = select(*columns).where(col(PairRow.id).in_(ids))
    return [dict(row) for row in session.execute(query).mappings()]


# Authorisations -----------------------------------------------------------------------------------------------------


def authorisations(
    *, session: Session, platform: str | None = None, in_force: bool = False
) -> Sequence[AuthorisationRow]:
    """Who authorised training on which platform, newest first."""
    query = select(AuthorisationRow).order_by(col(AuthorisationRow.authorised_at).desc())
    if platform is not None:
        query = query.where(col(AuthorisationRow.platform) == platform)
    if in_force:
        query = query.where(col(AuthorisationRow.revoked_at).is_(None))
    return session.scalars(query).all()
