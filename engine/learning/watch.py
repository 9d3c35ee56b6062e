"""The watch over a promoted adapter: do people correct or dislike its summaries more than those of the one before?

Compared are two shares of summaries, each by Fisher's exact test, one-sided: those that somebody with the summary
before them changed (a blind correction says nothing of the draft), and those with a thumb down. It is looked at a few
times only, when the adapter has written ``watch_min_summaries`` summaries and at each doubling, :data:`LOOKS` times in
all, and each time at exactly so many, the first ones. With two shares and five looks, a test has to come out below
0.05/10 (Bonferroni), so that over the whole watch of an adapter that is no worse, fewer than 5 in 100 raise an alarm,
however often the job runs; a test simulates it. What retention has deleted counts as it was received: it takes more of
those that nobody corrected, so that without them every adapter would look worse with time. Summaries of one person or
thread are not independent, which the test takes them for: the alarm says look, and a person decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from sqlmodel import Session

from engine.learning.alerts import clear_alert, raise_alert
from engine.learning.settings import LearningSettings
from engine.scopes import parse
from storage import adapter_queries, watch_queries
from storage.database import Database
from storage.learning_tables import AdapterRow
from storage.watch_queries import Place, Reception, Totals

#: At once, twice, 4, 8 and 16 times the least number of summaries: 20 to 320 with the defaults.
LOOKS = 5
_ALARM = 0.05
_SHARES = 2
#: Newest summaries of the one before; more would tell nothing new and may be of another season.
_MOST_BEFORE = 1000


@dataclass(frozen=True, slots=True)
class Look:
    """One comparison.

    Attributes:
        what: ``corrected`` or ``thumbs down``.
        bad, of: such summaries of the adapter, and all that were looked at.
        bad_before, of_before: the same of the one before.
        p: chance of so great a difference between two that are alike.
    """

    what: str
    bad: int
    of: int
    bad_before: int
    of_before: int
    p: float

    @property
    def alarms(self) -> bool:
        """Whether it is worse beyond chance, as often as it is looked at."""
        return self.p < _ALARM / (_SHARES * LOOKS)


@dataclass(frozen=True, slots=True)
class Watched:
    """An adapter in service and the looks that were taken so far; ``before`` is the one before it, or ``base``."""

    adapter: str
    scope: str
    before: str
    summaries: int
    looks: tuple[Look, ...]

    @property
    def regression(self) -> Look | None:
        """The look that tells most clearly that it is worse, or None."""
        return min((look for look in self.looks if look.alarms), key=lambda look: look.p, default=None)


def watch(database: Database, settings: LearningSettings, *, now: datetime | None = None) -> list[Watched]:
    """Look at every adapter that a promotion put in service; raise its alert, or clear it where a look finds no more.

    Raises:
        StorageError: the database cannot be used.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with database.read() as session:
        rows = adapter_queries.adapters(session=session, state="active")
        found = [one for one in (_watched(session, row, settings) for row in rows) if one is not None]
    if not found:
        return []
    with database.write() as session:
        for one in found:
            _tell(session, one, moment)
    return found


def service_figures(session: Session, *, scope: str | None = None, since: datetime | None = None) -> list[Totals]:
    """Summaries, corrections and thumbs of every adapter that wrote, and of the base; newest first.

    Args:
        scope: of conversations in this scope; None of all.

    Raises:
        InputError: it is no scope.
    """
    place = None if scope is None else place_of(scope)
    return watch_queries.totals(session=session, place=place, since=since)


def looks(new: Sequence[Reception], before: Sequence[Reception], least: int) -> tuple[Look, ...]:
    """The planned looks that so many summaries allow.

    Args:
        new: the adapter's, the first ones first.
        before: of the one before.
        least: summaries on both sides before the first look.
    """
    found = []
    for doubling in range(LOOKS):
        count = least * 2**doubling
        if count > len(new) or len(before) < least:
            break
        seen = new[:count]
        for what, bad, bad_before in (
            ("corrected", sum(one.corrected for one in seen), sum(one.corrected for one in before)),
            ("thumbs down", sum(one.thumb_down for one in seen), sum(one.thumb_down for one in before)),
        ):
            p = _greater(bad, count, bad_before, len(before))
            found.append(Look(what, bad, count, bad_before, len(before), p))
    return tuple(found)


def place_of(scope: str) -> Place:
    """The conversations of a scope; of ``default`` all.

    Raises:
        InputError: it is no scope.
    """
    parsed = parse(scope)
    return Place(parsed.platform, parsed.workspace, parsed.channel)


def _watched(session: Session, row: AdapterRow, settings: LearningSettings) -> Watched | None:
    moves = adapter_queries.promotions_of(session=session, scope=row.scope, limit=1)
    # What a rollback brought back was measured before, against less than the one that was left.
    if not moves or moves[0].kind != "promote" or moves[0].adapter != row.id:
        return None
    place, least, since = place_of(row.scope), settings.watch_min_summaries, moves[0].at
    new = watch_queries.receptions(
        session=session, adapter=row.id, place=place, since=since, newest=False, limit=least * 2 ** (LOOKS - 1)
    )
    before = watch_queries.receptions(
        session=session, adapter=row.replaced, place=place, since=None, newest=True, limit=_MOST_BEFORE
    )
    return Watched(row.id, row.scope, row.replaced, len(new), looks(new, before, least))


def _tell(session: Session, watched: Watched, now: datetime) -> None:
    worst = watched.regression
    if worst is None:
        # What cannot be looked at is no better for it. One that goes out of service loses its alert there.
        if watched.looks:
            clear_alert(session, kind="regression", subject=watched.adapter, now=now)
        return
    before = "the base" if watched.before == "base" else watched.before
    verb = "corrected" if worst.what == "corrected" else "disliked"
    raise_alert(
        session,
        kind="regression",
        subject=watched.adapter,
        sentence=f"People {verb} {worst.bad} of {worst.of} summaries by {watched.adapter} in {watched.scope}, and "
        f"{worst.bad_before} of {worst.of_before} by {before} before it: more than chance explains.",
        command=f'redraft adapters rollback --scope {watched.scope} --reason "…"',
        now=now,
    )


@lru_cache(maxsize=65_536)
def _greater(bad: int, of: int, bad_before: int, of_before: int) -> float:
    """One-sided p of Fisher's exact test that the first share is not the greater."""
    # 0.7 s and 60 MB, so that only a process which comes to compare something pays for it.
    from scipy.stats import fisher_exact

    table = [[bad, of - bad], [bad_before, of_before - bad_before]]
    return float(fisher_exact(table, alternative="greater").pvalue)
