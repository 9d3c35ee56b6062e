"""How many pairs there are, and what the gate of each scope still lacks before it can decide anything.

A gate needs 60 held-out conversations with a blind reference that is approved. When it will have them is reckoned from
how many arrived in the last 30 days (since the scope's first pair where that is younger). It only reads.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from engine.learning.authorisation import authorised
from engine.learning.selection import place_of, reason
from engine.learning.splits import BLIND_NEEDED, BLIND_ORIGINS, home_scope
from engine.scopes import DEFAULT
from storage import pair_queries as queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlmodel import Session

    from engine.learning.settings import LearningSettings
    from storage.pair_queries import Counted

_DAYS = 30
#: Beyond this many days nobody is told a date.
_FAR = 3650


@dataclass(frozen=True, slots=True)
class ScopeStats:
    """The pairs of one scope.

    Attributes:
        states, splits, origins: how many pairs of each kind.
        trainable: pairs that a run would train on today.
        left_out: the others by reason, see :data:`engine.learning.selection.REASONS`.
        blind: held-out conversations with an approved blind reference.
        waiting: held-out conversations that would have one if what waits were approved.
        lacking: how many more the gate needs.
        per_day: conversations with a blind reference held out a day, of late.
        decides_on: the day on which it can decide at that rate, or None where nothing comes.
        authorised: False where the scope's platform has no authorisation, so that its chat pairs are not used.
    """

    scope: str
    pairs: int
    states: dict[str, int]
    splits: dict[str, int]
    origins: dict[str, int]
    trainable: int
    left_out: dict[str, int]
    blind: int
    waiting: int
    lacking: int
    per_day: float
    decides_on: date | None
    authorised: bool

    @property
    def sentence(self) -> str:
        """When the gate can decide, in words."""
        if not self.lacking:
            return f"The gate can decide: {self.blind:,} held-out conversations have a blind reference."
        told = f"The gate lacks {self.lacking} blind references of {BLIND_NEEDED}"
        if self.waiting >= self.lacking:
            return f"{told}; as many wait for approval."
        if self.decides_on is None:
            return f"{told}; none came in the last {_DAYS} days."
        return f"{told}; at {self.per_day:.1f} a day it can decide on {self.decides_on.isoformat()}."


def stats(session: Session, settings: LearningSettings, *, now: datetime | None = None) -> list[ScopeStats]:
    """Every scope that has pairs of its own, ``default`` first; a public channel's are in those of its workspace."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    rows = queries.counted(session=session)
    scopes = {DEFAULT, *(home_scope(row, public=row.public) for row in rows)}
    ordered = sorted(scopes, key=lambda scope: (scope != DEFAULT, scope))
    return [_scope(session, settings, scope, rows, moment) for scope in ordered]


def _scope(
    session: Session, settings: LearningSettings, scope: str, rows: Sequence[Counted], now: datetime
) -> ScopeStats:
    place, platforms = place_of(scope, settings), authorised(session)
    first = now
    states, splits, origins, left_out = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        if not place.holds(row.platform, row.workspace, row.channel, public=row.public):
            continue
        first = min(first, row.first)
        left_out[reason(row, place, platforms)] += row.pairs
        if place.public_only and row.platform != "file" and not row.public:
            continue
        states[row.state] += row.pairs
        splits[row.split] += row.pairs
        origins[row.origin] += row.pairs
    trainable = left_out.pop("", 0)
    blind = queries.blind_held_out(
        session=session, place=place, authorised=platforms, origins=BLIND_ORIGINS, since=now - timedelta(days=_DAYS)
    )
    lacking = max(0, BLIND_NEEDED - blind.approved)
    days = min(_DAYS, max(1.0, (now - first) / timedelta(days=1)))
    per_day = blind.lately / days
    return ScopeStats(
        scope=scope,
        pairs=sum(states.values()),
        states=dict(states),
        splits=dict(splits),
        origins=dict(origins),
        trainable=trainable,
        left_out=dict(left_out),
        blind=blind.approved,
        waiting=blind.waiting,
        lacking=lacking,
        per_day=per_day,
        decides_on=_day(now, lacking, per_day),
        authorised=place.platform in ("", *platforms),
    )


def _day(now: datetime, lacking: int, per_day: float) -> date | None:
    if not lacking:
        return now.date()
    if not per_day or lacking / per_day > _FAR:
        return None
    return (now + timedelta(days=math.ceil(lacking / per_day))).date()
