"""What the overview shows: reception by day, what serves, what scopes have and lack, alerts, the schedule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from admin.console.store import Store
from storage.console_queries import Day
from storage.learning_tables import AdapterRow, AlertRow

DAYS = 30


@dataclass(frozen=True, slots=True)
class Standing:
    """What a scope has and lacks.

    Attributes:
        serves: the adapter in service for the scope itself, or empty where a wider one or the base does.
        new: approved pairs that came since its last fine-tune; a scheduled one starts at ``needed``.
        blind, lacking: blind references, and how many more its gate needs.
        sentence: the gate in words.
    """

    scope: str
    serves: str
    pairs: int
    waiting: int
    new: int
    needed: int
    blind: int
    lacking: int
    sentence: str
    authorised: bool


@dataclass(frozen=True, slots=True)
class Overview:
    """See the file; ``days`` has every day of the last thirty, the newest last."""

    days: Sequence[Day]
    scopes: Sequence[Standing]
    alerts: Sequence[AlertRow]
    base: str
    active: Sequence[AdapterRow]
    next_times: Sequence[datetime]
    paused: str


def overview(store: Store) -> Overview:
    """All of it, in one transaction but for the base.

    Raises:
        RedraftError: the database or a setting cannot be used.
    """
    from engine.learning.alerts import open_alerts
    from engine.learning.bases import base_in_service
    from engine.learning.planned import in_force, next_starts
    from engine.learning.registry import list_adapters
    from engine.learning.selection import new_pairs
    from engine.learning.stats import stats
    from storage.console_queries import by_day
    from storage.run_queries import last_finished

    now = store.now()
    database = store.database()
    with database.read() as session:
        plan = in_force(session, store.learning())
        settings = plan.applied(store.learning())
        found = {day.day: day for day in by_day(session=session, since=now - timedelta(days=DAYS))}
        active = list_adapters(session, state="active")
        serves = {row.scope: row.id for row in active}
        scopes = [
            Standing(
                scope=one.scope,
                serves=serves.get(one.scope, ""),
                pairs=one.pairs,
                waiting=one.states.get("pending", 0),
                new=new_pairs(session, one.scope, settings, last_finished(session=session, scope=one.scope)),
                needed=settings.train_min_new_pairs,
                blind=one.blind,
                lacking=one.lacking,
                sentence=one.sentence,
                authorised=one.authorised,
            )
            for one in stats(session, settings, now=now)
        ]
        known = {one.scope for one in scopes}
        scopes += [
            Standing(row.scope, row.id, 0, 0, 0, settings.train_min_new_pairs, 0, 60, "It has no pairs any more.", True)
            for row in active
            if row.scope not in known
        ]
        alerts = open_alerts(session)
    base = base_in_service(database, store.engine())
    today = now.date()
    days = [
        found.get(day, Day(day, 0, 0, 0, 0))
        for day in (today - timedelta(days=back) for back in range(DAYS - 1, -1, -1))
    ]
    return Overview(days, scopes, alerts, base.label, active, next_starts(plan, now, 1), plan.paused_by)
