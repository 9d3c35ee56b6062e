"""What is asked of evaluations and of runs' curves, and nothing else; see :mod:`storage.queries`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import or_, select
from sqlmodel import Session, col

from storage.learning_tables import AdapterRow, EvaluationRow, RunProgressRow


def newest_evaluation(*, session: Session, name: str) -> EvaluationRow | None:
    """The newest evaluation of a run's adapter, or of an adapter, by the id of either."""
    return session.scalars(
        select(EvaluationRow)
        .where(or_(col(EvaluationRow.run_id) == name, col(EvaluationRow.adapter_id) == name))
        .order_by(col(EvaluationRow.at).desc(), col(EvaluationRow.id).desc())
        .limit(1)
    ).first()


def progress_of(*, session: Session, run_id: str) -> Sequence[RunProgressRow]:
    """The points of a run's curves, by step."""
    return session.scalars(
        select(RunProgressRow).where(col(RunProgressRow.run_id) == run_id).order_by(col(RunProgressRow.step))
    ).all()


def newest_candidate(*, session: Session, scope: str | None) -> AdapterRow | None:
    """The candidate that was made last, in one scope or in any."""
    query = select(AdapterRow).where(col(AdapterRow.state) == "candidate")
    if scope is not None:
        query = query.where(col(AdapterRow.scope) == scope)
    return session.scalars(
        query.order_by(col(AdapterRow.created_at).desc(), col(AdapterRow.id).desc()).limit(1)
    ).first()
