"""What is asked of the tables of corrections, pairs, splits and authorisations; no rule of the product lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, case, false, func, or_, select, true, tuple_, update
from sqlalchemy.orm import aliased
from sqlmodel import Session, col

from storage.learning_tables import AuthorisationRow, CorrectionRow, NearKeyRow, PairRow, SplitRow
from storage.queries import _insert

_CHAT = ("slack", "discord")
#: Characters of a summary that a list shows.
_BEGINNING = 100


@dataclass(frozen=True, slots=True)
class Within:
    """The pairs of a scope: what came from files, from a workspace, or from one channel.

    Attributes:
        platform: empty for the scope ``default``.
        workspaces: ``default`` also has the public pairs of all workspaces.
    """

    platform: str = ""
    workspace: str = ""
    channel: str = ""
    workspaces: bool = False

    @property
    def public_only(self) -> bool:
        """Whether it may use none but the public ones of its chat pairs."""
        return not self.channel


@dataclass(frozen=True, slots=True)
class PairFilter:
    """Which pairs; None is any."""

    state: str | None = None
    split: str | None = None
    origin: str | None = None
    platform: str | None = None
    workspace: str | None = None
    channel: str | None = None
    author_id: str | None = None
    source: str | None = None
    within: Within | None = None


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


def within(place: Within) -> ColumnElement[bool]:
    """The pairs of a scope as a condition; private ones of a workspace are among them."""
    if not place.platform:
        chat = and_(col(PairRow.platform).in_(_CHAT), col(PairRow.public).is_(True))
        return or_(col(PairRow.platform) == "file", chat if place.workspaces else false())
    found = and_(col(PairRow.platform) == place.platform, col(PairRow.workspace) == place.workspace)
    return and_(found, col(PairRow.channel) == place.channel) if place.channel else found


def usable(place: Within, *, authorised: Collection[str], split: str) -> ColumnElement[bool]:
    """What a scope may use of its pairs on one side of the split: approved, authorised, public where it has to be."""
    public = or_(col(PairRow.platform) == "file", col(PairRow.public).is_(True)) if place.public_only else true()
    return and_(
        within(place),
        public,
        or_(col(PairRow.platform).in_(("file", *authorised)), col(PairRow.origin) == "imported"),
        col(PairRow.direct).is_(False),
        col(PairRow.state) == "approved",
        col(PairRow.split) == split,
        col(PairRow.superseded_by) == "",
    )


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


def counted(*, session: Session, place: Within | None = None) -> Sequence[Row[Any]]:
    """How many pairs there are by place, publicity, state, split, origin and whether they are superseded.

    Rows of ``platform, workspace, channel, public, direct, state, split, origin, superseded, pairs``; an index answers.
    """
    superseded = (col(PairRow.superseded_by) != "").label("superseded")
    keys = (
        col(PairRow.platform), col(PairRow.workspace), col(PairRow.channel), col(PairRow.public), col(PairRow.direct),
        col(PairRow.state), col(PairRow.split), col(PairRow.origin), superseded,
    )  # fmt: skip
    query = select(*keys, func.count().label("pairs")).group_by(*keys)
    if place is not None:
        query = query.where(within(place))
    return session.execute(query).all()


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


def matching(wanted: PairFilter) -> list[ColumnElement[bool]]:
    """A filter as conditions."""
    fields = ("state", "split", "origin", "platform", "workspace", "channel", "author_id", "source")
    values = {name: getattr(wanted, name) for name in fields}
    found = [col(getattr(PairRow, name)) == value for name, value in values.items() if value is not None]
    return [*found, within(wanted.within)] if wanted.within is not None else found


def pair_lines(
    *, session: Session, wanted: PairFilter, limit: int, after: tuple[datetime, str] | None
) -> Sequence[PairLine]:
    """Pairs, newest first; ``after`` is the time and id of the last one of the page before."""
    names = [name for name in PairLine.__dataclass_fields__ if name != "beginning"]
    shown = or_(col(PairRow.platform) == "file", col(PairRow.public).is_(True))
    beginning = case((shown, func.substr(col(PairRow.summary), 1, _BEGINNING)), else_="")
    query = select(*(col(getattr(PairRow, name)) for name in names), beginning).where(*matching(wanted))
    if after is not None:
        query = query.where(tuple_(col(PairRow.created_at), col(PairRow.id)) < after)
    query = query.order_by(col(PairRow.created_at).desc(), col(PairRow.id).desc()).limit(limit)
    return [PairLine(*row) for row in session.execute(query)]


def decide(*, session: Session, wanted: PairFilter, but_author: str | None, values: Mapping[str, Any]) -> int:
    """Change the pairs of a filter that wait; how many."""
    query = update(PairRow).where(col(PairRow.state) == "pending", *matching(wanted))
    if but_author is not None:
        query = query.where(col(PairRow.author_id) != but_author)
    done: Any = session.execute(query.values(**values), execution_options={"synchronize_session": False})
    return int(done.rowcount)


def replaced_by(*, session: Session, pair_id: str) -> Sequence[str]:
    """The pairs in whose place one stands."""
    return session.scalars(select(col(PairRow.id)).where(col(PairRow.superseded_by) == pair_id)).all()


def other_replacement(*, session: Session, pair_id: str, but: str) -> str:
    """Another pair that builds on one and was not rejected, the newest, or an empty string."""
    return (
        session.scalars(
            select(col(PairRow.id))
            .where(col(PairRow.supersedes) == pair_id, col(PairRow.id) != but, col(PairRow.state) != "rejected")
            .order_by(col(PairRow.created_at).desc())
            .limit(1)
        ).first()
        or ""
    )


def replaced_by_rejected(*, session: Session) -> Sequence[str]:
    """The rejected pairs in whose favour another still stands back."""
    after = aliased(PairRow)
    query = (
        select(col(after.id))
        .join(PairRow, col(PairRow.superseded_by) == col(after.id))
        .where(col(PairRow.superseded_by) != "", col(after.state) == "rejected")
    )
    return session.scalars(query.distinct()).all()


def set_superseded(*, session: Session, pair_id: str, by: str) -> None:
    """Say which pair builds on this one and is used in its place; an empty string says none does."""
    session.execute(update(PairRow).where(col(PairRow.id) == pair_id).values(superseded_by=by))


def corrections_of(*, session: Session, summary_id: str) -> Sequence[CorrectionRow]:
    """The corrections of a summary, oldest first."""
    return session.scalars(
        select(CorrectionRow)
        .where(col(CorrectionRow.summary_id) == summary_id)
        .order_by(col(CorrectionRow.created_at), col(CorrectionRow.id))
    ).all()


def own_blind(*, session: Session, conversation_id: str, author_id: str, but: str) -> str:
    """The newest pair of a conversation that a person wrote with no draft and that none has replaced, or empty."""
    return (
        session.scalars(
            select(col(PairRow.id))
            .where(
                col(PairRow.conversation_id) == conversation_id,
                col(PairRow.author_id) == author_id,
                col(PairRow.seen_draft).is_(False),
                col(PairRow.superseded_by) == "",
                col(PairRow.id) != but,
            )
            .order_by(col(PairRow.created_at).desc(), col(PairRow.id))
            .limit(1)
        ).first()
        or ""
    )


# The split ----------------------------------------------------------------------------------------------------------


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
