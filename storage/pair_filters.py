"""Conditions on training pairs: which a scope is made of, which it may use, which a person asks for.

They are put together here and judged in :mod:`engine.learning.selection`; nothing is asked of the database.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, true
from sqlalchemy.orm import aliased
from sqlmodel import col

from storage.learning_tables import PairRow

_CHAT = ("slack", "discord")


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

    def holds(self, platform: str, workspace: str, channel: str, *, public: bool) -> bool:
        """Whether pairs from there are of the scope: :func:`within`, for what has been read already."""
        if not self.platform:
            return platform == "file" or (self.workspaces and public)
        return (platform, workspace) == (self.platform, self.workspace) and self.channel in ("", channel)

    @property
    def public_only(self) -> bool:
        """Whether it may use none but the public ones of its chat pairs."""
        return not self.channel


@dataclass(frozen=True, slots=True)
class PairFilter:
    """Which pairs; None is any. ``replaced`` are those in whose place another one is used.

    ``newest`` leaves out those in whose place a later one is used or waits for a decision: of what was edited, the last
    version. ``begins`` is how the id begins. ``text`` is in the summary or in the dialogue, whatever the case; private
    conversations are not looked into.
    """

    state: str | None = None
    split: str | None = None
    origin: str | None = None
    platform: str | None = None
    workspace: str | None = None
    channel: str | None = None
    author_id: str | None = None
    source: str | None = None
    replaced: bool | None = None
    newest: bool | None = None
    begins: str | None = None
    within: Within | None = None
    text: str | None = None


def within(place: Within) -> ColumnElement[bool]:
    """The pairs of a scope as a condition; private ones of a workspace are among them."""
    if not place.platform:
        chat = and_(col(PairRow.platform).in_(_CHAT), col(PairRow.public).is_(True))
        return or_(col(PairRow.platform) == "file", chat if place.workspaces else false())
    found = and_(col(PairRow.platform) == place.platform, col(PairRow.workspace) == place.workspace)
    return and_(found, col(PairRow.channel) == place.channel) if place.channel else found


def permitted(place: Within, *, authorised: Collection[str]) -> ColumnElement[bool]:
    """What a scope may use of its pairs once they are approved: authorised, and public where it has to be."""
    public = or_(col(PairRow.platform) == "file", col(PairRow.public).is_(True)) if place.public_only else true()
    return and_(
        within(place),
        public,
        or_(col(PairRow.platform).in_(("file", *authorised)), col(PairRow.origin) == "imported"),
        col(PairRow.direct).is_(False),
    )


def candidates(place: Within, *, authorised: Collection[str]) -> ColumnElement[bool]:
    """What is permitted and not replaced by another pair."""
    # By its length, because SQLite would go by the index of that column, in which nearly all pairs are alike.
    return and_(permitted(place, authorised=authorised), func.length(col(PairRow.superseded_by)) == 0)


def usable(place: Within, *, authorised: Collection[str], split: str) -> ColumnElement[bool]:
    """What a scope uses of its pairs on one side of the split."""
    decided = (col(PairRow.state) == "approved", col(PairRow.split) == split)
    return and_(candidates(place, authorised=authorised), *decided)


def last_version() -> ColumnElement[bool]:
    """No later pair is used, or waits for a decision, in the place of this one."""
    later = aliased(PairRow)
    waits = exists().where(col(later.supersedes) == col(PairRow.id), col(later.state) == "pending")
    return and_(func.length(col(PairRow.superseded_by)) == 0, ~waits)


def matching(wanted: PairFilter) -> list[ColumnElement[bool]]:
    """A filter as conditions."""
    fields = ("state", "split", "origin", "platform", "workspace", "channel", "author_id", "source")
    values = {name: getattr(wanted, name) for name in fields}
    found = [col(getattr(PairRow, name)) == value for name, value in values.items() if value is not None]
    if wanted.replaced is not None:
        found.append(col(PairRow.superseded_by) != "" if wanted.replaced else col(PairRow.superseded_by) == "")
    if wanted.newest:
        found.append(last_version())
    if wanted.begins is not None:
        found.append(col(PairRow.id).startswith(wanted.begins, autoescape=True))
    if wanted.text:
        shown = or_(col(PairRow.platform) == "file", col(PairRow.public).is_(True))
        has = (
            func.lower(column).contains(wanted.text.lower(), autoescape=True)
            for column in (col(PairRow.summary), col(PairRow.dialogue))
        )
        found += [shown, or_(*has)]
    return [*found, within(wanted.within)] if wanted.within is not None else found
