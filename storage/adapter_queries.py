"""What is asked of the tables of adapters, promotions and alerts; no rule of the product lives here.

As in :mod:`storage.queries`: the session of the caller's transaction, and keyword arguments only.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row, delete, func, select, update
from sqlmodel import Session, col

from storage.learning_tables import (
    AdapterRow,
    AlertRow,
    EvaluationRow,
    PairRow,
    PromotionRequestRow,
    PromotionRow,
    RunPairRow,
)
from storage.queries import _insert


def adapters(
    *, session: Session, scope: str | None = None, state: str | None = None, limit: int | None = None
) -> Sequence[AdapterRow]:
    """Adapters, newest first."""
    query = select(AdapterRow).order_by(col(AdapterRow.created_at).desc(), col(AdapterRow.id)).limit(limit)
    if scope is not None:
        query = query.where(col(AdapterRow.scope) == scope)
    if state is not None:
        query = query.where(col(AdapterRow.state) == state)
    return session.scalars(query).all()


def adapters_named(*, session: Session, beginning: str, limit: int = 2) -> Sequence[AdapterRow]:
    """Adapters whose id begins so."""
    starts = col(AdapterRow.id).startswith(beginning, autoescape=True)
    return session.scalars(select(AdapterRow).where(starts).order_by(col(AdapterRow.id)).limit(limit)).all()


def serving_rows(*, session: Session) -> Sequence[Row[Any]]:
    """Id, scope, state, base, taint and what it replaced of every adapter, and no more: an engine asks every second."""
    columns = (
        AdapterRow.id, AdapterRow.scope, AdapterRow.state, AdapterRow.replaced, AdapterRow.tainted_at,
        AdapterRow.base_model, AdapterRow.base_revision,
    )  # fmt: skip
    return session.execute(select(*(col(one) for one in columns))).all()


def active_of(*, session: Session, scope: str) -> AdapterRow | None:
    """The adapter that serves a scope itself."""
    return session.scalars(
        select(AdapterRow).where(col(AdapterRow.scope) == scope, col(AdapterRow.state) == "active")
    ).one_or_none()


def lock_adapters(*, session: Session) -> Sequence[AdapterRow]:
    """Every adapter as it is now, held until the transaction ends: two that move a pointer come one after the other.

    PostgreSQL reads a row again once whoever held it has committed; SQLite's writers come one at a time anyhow.
    """
    query = select(AdapterRow).order_by(col(AdapterRow.id)).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).all()


def newest_evaluation(*, session: Session, adapter_id: str) -> EvaluationRow | None:
    """The last gate that an adapter went through."""
    return session.scalars(
        select(EvaluationRow)
        .where(col(EvaluationRow.adapter_id) == adapter_id)
        .order_by(col(EvaluationRow.at).desc(), col(EvaluationRow.id).desc())
        .limit(1)
    ).first()


def promotions_of(*, session: Session, scope: str, limit: int | None = None) -> Sequence[PromotionRow]:
    """What changed in what serves a scope, newest first; ids are in the order of the ledger."""
    return session.scalars(
        select(PromotionRow).where(col(PromotionRow.scope) == scope).order_by(col(PromotionRow.id).desc()).limit(limit)
    ).all()


def rejected_exists(*, session: Session, data_hash: str, settings_hash: str) -> bool:
    """Whether an adapter of these data and settings was rejected."""
    return (
        session.scalars(
            select(col(AdapterRow.id))
            .where(
                col(AdapterRow.state) == "rejected",
                col(AdapterRow.data_hash) == data_hash,
                col(AdapterRow.settings_hash) == settings_hash,
            )
            .limit(1)
        ).first()
        is not None
    )


def delete_request(*, session: Session, adapter_id: str) -> None:
    """Forget that somebody asked for a promotion."""
    session.execute(delete(PromotionRequestRow).where(col(PromotionRequestRow.adapter_id) == adapter_id))


def raise_alert(*, session: Session, alert: AlertRow) -> bool:
    """Store an alert unless it is open already, whose words are then brought up to date.

    Returns:
        Whether it was not open before; of two who raise it at once, one hears so.
    """
    inserted = session.scalars(
        _insert(session, AlertRow).on_conflict_do_nothing().returning(col(AlertRow.key)), [alert.model_dump()]
    ).first()
    if inserted is not None:
        return True
    words = {"sentence": alert.sentence, "command": alert.command}
    again: Any = session.execute(
        update(AlertRow)
        .where(col(AlertRow.key) == alert.key, col(AlertRow.cleared_at).is_not(None))
        .values(raised_at=alert.raised_at, cleared_at=None, **words)
    )
    if again.rowcount:
        return True
    session.execute(update(AlertRow).where(col(AlertRow.key) == alert.key).values(**words))
    return False


def clear_alert(*, session: Session, key: str, now: datetime) -> bool:
    """Clear an alert; whether it was open."""
    done: Any = session.execute(
        update(AlertRow).where(col(AlertRow.key) == key, col(AlertRow.cleared_at).is_(None)).values(cleared_at=now)
    )
    return bool(done.rowcount)


def open_alerts(*, session: Session) -> Sequence[AlertRow]:
    """Alerts that stand, oldest first."""
    return session.scalars(
        select(AlertRow).where(col(AlertRow.cleared_at).is_(None)).order_by(col(AlertRow.raised_at), col(AlertRow.key))
    ).all()


def delete_cleared_alerts(*, session: Session, before: datetime) -> None:
    """Forget alerts that were cleared before a time."""
    session.execute(delete(AlertRow).where(col(AlertRow.cleared_at) < before))


def worth_a_backup(*, session: Session) -> bool:
    """Whether there is anything that people made and could not make again: a pair, or an adapter."""
    return any(session.scalars(select(key).limit(1)).first() for key in (col(PairRow.id), col(AdapterRow.id)))


def open_of_kind(*, session: Session, kind: str) -> frozenset[str]:
    """What alerts of a kind that stand are about."""
    return frozenset(
        session.scalars(
            select(col(AlertRow.subject)).where(col(AlertRow.kind) == kind, col(AlertRow.cleared_at).is_(None))
        )
    )


def pairs_of_run(*, session: Session, run_id: str) -> dict[str, int]:
    """How many pairs a run was made of, by their origin; ``erased`` are those that are gone."""
    counted = session.execute(
        select(col(PairRow.origin), func.count())
        .select_from(RunPairRow)
        .outerjoin(PairRow, col(PairRow.id) == col(RunPairRow.pair_id))
        .where(col(RunPairRow.run_id) == run_id)
        .group_by(col(PairRow.origin))
    )
    return {origin or "erased": int(count) for origin, count in counted}


def promotion_requests(*, session: Session) -> Sequence[PromotionRequestRow]:
    """Promotions that somebody asked for and nobody has confirmed yet."""
    return session.scalars(select(PromotionRequestRow)).all()
