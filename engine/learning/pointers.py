"""How the pointer of a scope moves, within a transaction that somebody else has opened and whose right was asked.

What may be moved is not known here (:mod:`engine.learning.promotion_rules`), nor who asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlmodel import Session

from engine.learning.alerts import clear_alert
from engine.learning.ledger import Ledger
from storage import adapter_queries as queries
from storage.learning_tables import AdapterRow, LedgerRow, PromotionRow

#: What stands for no adapter.
BASE = "base"


def pointer(session: Session, scope: str) -> str:
    """What a scope itself has in service: an adapter's id, or ``base``."""
    row = queries.active_of(session=session, scope=scope)
    return row.id if row else BASE


def put_in(session: Session, row: AdapterRow, replaced: str, now: datetime) -> None:
    """Put an adapter in service; what it replaces has been taken out before."""
    # First out, then in: no two of a scope are active at any time, which the database would refuse.
    session.flush()
    _set_state(row, "active", "", now)
    row.replaced = replaced
    queries.delete_request(session=session, adapter_id=row.id)
    clear_alert(session, kind="candidate-waiting", subject=row.id, now=now)
    session.flush()


def take_out(session: Session, row: AdapterRow, state: str, reason: str, now: datetime) -> None:
    """Retire or reject an adapter, whether it was in service or not; what was to be done about it is done."""
    _set_state(row, state, reason, now)
    queries.delete_request(session=session, adapter_id=row.id)
    for kind in ("candidate-waiting", "regression", "adapter-refused", "adapter-missing", "tainted"):
        clear_alert(session, kind=kind, subject=row.id, now=now)


def retire_with_its_base(
    session: Session, ledger: Ledger, one: AdapterRow, successor: AdapterRow, *, by: str, now: datetime
) -> None:
    """Take out of service what belongs to another base than the one that serves from now on."""
    reason = f"{label_of(*base_of(successor))} took the place of its base."
    details = {"scope": one.scope, "served": True, "reason": reason}
    line = ledger.append("adapter.retired", by=by, subject=one.id, details=details, now=now)
    take_out(session, one, "retired", reason, now)
    moved(session, line, one.scope, "retire", BASE, one.id, reason, now)


def retire_tainted(
    session: Session, ledger: Ledger, rows: Mapping[str, AdapterRow], successor: AdapterRow, now: datetime
) -> None:
    """Retire candidates that were trained on words erased since: with a successor, they wait for nothing any more."""
    for one in rows.values():
        if one.scope == successor.scope and one.state == "candidate" and one.tainted_at is not None:
            reason = f"Words that it was trained on were erased, and {successor.id} serves."
            details = {"scope": one.scope, "served": False, "reason": reason}
            ledger.append("adapter.retired", by="redraft", subject=one.id, details=details, now=now)
            take_out(session, one, "retired", reason, now)


def moved(
    session: Session,
    line: LedgerRow,
    scope: str,
    kind: str,
    adapter: str,
    replaced: str,
    reason: str,
    now: datetime,
    *,
    forced: bool = False,
) -> None:
    """Keep that a pointer moved, under the number of its line in the ledger: moves so have an order."""
    session.add(
        PromotionRow(
            id=f"{line.seq:012d}",
            scope=scope,
            at=now,
            kind=kind,
            adapter=adapter,
            replaced=replaced,
            actor=line.actor,
            forced=forced,
            reason=reason,
        )
    )
    session.flush()


def base_of(row: AdapterRow) -> tuple[str, str]:
    """Name and revision of the base that an adapter belongs to."""
    return row.base_model, row.base_revision


def label_of(base_model: str, base_revision: str) -> str:
    """A base as people know it: ``name@revision``, or the name alone; as :class:`engine.requests.ModelInfo` says it."""
    return f"{base_model}@{base_revision[:12]}" if base_revision else base_model


def _set_state(row: AdapterRow, state: str, reason: str, now: datetime) -> None:
    row.state, row.state_since, row.reason = state, now, reason
