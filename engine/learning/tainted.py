"""Adapters that have learnt from words erased since: when they go out of service, and what is to be trained anew.

An erasure marks them (:mod:`engine.learning.erasure_rows`). Here they are taken out: at their deadline, when one that
was trained since serves their scope, or at once. None of them comes back: promotions and rollbacks pass over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from sqlmodel import Session

from engine.learning.ledger import Ledger, recorded
from engine.learning.pointers import BASE, moved, take_out
from storage import adapter_queries
from storage import erasure_queries as queries
from storage.database import Database
from storage.learning_tables import AdapterRow

#: Why a tainted adapter is taken out at once.
ERASED = "Words that it was trained on were erased."
_IN_USE = ("active", "candidate")
#: How long a scope whose adapter went at once is owed another; by then whoever uses it has made do without.
_OWED = timedelta(days=30)


def retire(session: Session, ledger: Ledger, row: AdapterRow, reason: str, now: datetime) -> None:
    """Take a tainted adapter out; a scope that it served falls back to a wider one, or to the base."""
    served = row.state == "active"
    details = {"scope": row.scope, "served": served, "reason": reason}
    line = ledger.append("adapter.retired", by="redraft", subject=row.id, details=details, now=now)
    take_out(session, row, "retired", reason, now)
    if served:
        moved(session, line, row.scope, "retire", BASE, row.id, reason, now)


def retire_these(database: Database, adapters: Iterable[str], now: datetime) -> list[str]:
    """Take tainted adapters out of service at once; which of them were not out already."""
    wanted = set(adapters)
    return _retire(database, lambda session, row: ERASED if row.id in wanted else "", now) if wanted else []


def retire_due(database: Database, now: datetime) -> list[str]:
    """Take out those whose deadline has come, and candidates of a scope that one trained since serves."""
    return _retire(database, lambda session, row: _due(session, row, now), now)


def _due(session: Session, row: AdapterRow, now: datetime) -> str:
    """Why a tainted adapter goes now, or nothing."""
    if row.retire_by is None or row.retire_by <= now:
        return "Words that it was trained on were erased, and its deadline has come."
    serves = adapter_queries.active_of(session=session, scope=row.scope)
    if serves is not None and serves.id != row.id and serves.tainted_at is None:
        return f"Words that it was trained on were erased, and {serves.id} serves."
    return ""


def _retire(database: Database, why: Callable[[Session, AdapterRow], str], now: datetime) -> list[str]:
    with database.read() as session:
        waiting = [row for row in queries.tainted(session=session) if row.state in _IN_USE]
        if not any(why(session, row) for row in waiting):
            return []
    gone = []
    with recorded(database) as (session, ledger):
        adapter_queries.lock_adapters(session=session)
        for row in queries.tainted(session=session):
            # Looked at again inside the transaction: somebody may have taken it out, or promoted another one.
            if row.state in _IN_USE and (reason := why(session, row)):
                retire(session, ledger, row, reason, now)
                gone.append(row.id)
    return gone


def retraining_owed(session: Session, now: datetime) -> list[str]:
    """Scopes to be trained anew: a tainted adapter is in use there or went at once, and no fine-tune has begun since.

    One that failed or was refused does not count, so that it is tried again.
    """
    since: dict[str, datetime] = {}
    for row in queries.tainted(session=session):
        if row.tainted_at is None:
            continue
        went_at_once = row.state == "retired" and row.reason == ERASED and now - row.tainted_at < _OWED
        if row.state in _IN_USE or went_at_once:
            since[row.scope] = max(row.tainted_at, since.get(row.scope, row.tainted_at))
    return sorted(
        scope for scope, moment in since.items() if not queries.begun_since(session=session, scope=scope, moment=moment)
    )


def has_lost_pairs(session: Session, run_id: str) -> bool:
    """Whether pairs that a run was made of are gone: what it makes then is tainted from its beginning."""
    return run_id in queries.runs_of_what_is_gone(session=session, run_id=run_id)
