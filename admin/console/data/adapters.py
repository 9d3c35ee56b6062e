"""What the screen of adapters shows and does: the registry with its figures, lineage, and moving the pointer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from admin.console.store import Store
from engine.learning.promotion import Move
from engine.learning.registry import Lineage
from storage.errors import PromotionRefused
from storage.learning_tables import AdapterRow, EvaluationRow, PromotionRequestRow
from storage.watch_queries import Totals


@dataclass(frozen=True, slots=True)
class Adapters:
    """All adapters, newest first, how their summaries were received, and which promotions were asked for."""

    rows: Sequence[AdapterRow]
    figures: Mapping[str, Totals]
    requests: Mapping[str, PromotionRequestRow]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a person has to know before they promote.

    Attributes:
        adapter: as it is.
        serves: what serves its scope now: an id, or ``base``.
        against: what the rules have against it, which a reason helps against; or None.
        gate: its newest evaluation.
        request: who asked for it, under the two-person setting.
        two: whether it takes two.
    """

    adapter: AdapterRow
    serves: str
    against: PromotionRefused | None
    gate: EvaluationRow | None
    request: PromotionRequestRow | None
    two: bool


@dataclass(frozen=True, slots=True)
class Way:
    """What a rollback would do."""

    scope: str
    serves: str
    back_to: str


def adapters(store: Store) -> Adapters:
    """See :class:`Adapters`."""
    from engine.learning.registry import list_adapters
    from engine.learning.watch import service_figures
    from storage.adapter_queries import promotion_requests

    with store.database().read() as session:
        rows = list_adapters(session)
        figures = {one.adapter: one for one in service_figures(session)}
        requests = {row.adapter_id: row for row in promotion_requests(session=session)}
    return Adapters(rows, figures, requests)


def details(store: Store, adapter: str) -> Lineage:
    """Where an adapter comes from and what became of it."""
    from engine.learning.registry import lineage

    database = store.database()
    with database.read() as session:
        return lineage(session, database.home, adapter)


def proposal(store: Store, adapter: str) -> Proposal:
    """See :class:`Proposal`; refused here what no reason helps against."""
    from engine.learning.pointers import pointer
    from engine.learning.promotion_rules import obstacle, refuse_state
    from engine.learning.registry import find
    from storage.adapter_queries import newest_evaluation

    with store.database().read() as session:
        row = find(session, adapter)
        refuse_state(row)
        return Proposal(
            row,
            pointer(session, row.scope),
            obstacle(session, row),
            newest_evaluation(session=session, adapter_id=row.id),
            session.get(PromotionRequestRow, row.id),
            store.learning().promotion_two_person,
        )


def promote(store: Store, seen: Proposal, reason: str) -> Move:
    """Promote on what was seen: should another adapter serve by now, it is refused."""
    from engine.learning import promotion

    database = store.writable()
    return promotion.promote(
        database,
        database.home,
        store.learning(),
        adapter_id=seen.adapter.id,
        by=store.by,
        force=seen.against is not None,
        reason=reason,
        expected=seen.serves,
        now=store.clock,
    )


def way_back(store: Store, scope: str) -> Way:
    """What a rollback of a scope would go back to, as far as can be said before the files are looked at."""
    from engine.learning.pointers import BASE, pointer
    from engine.learning.promotion_rules import LOOK, earlier
    from engine.learning.registry import active_adapter

    with store.database().read() as session:
        left = active_adapter(session, scope)
        if left is None:
            raise PromotionRefused(f"No adapter is in service for {scope}: there is nothing to go back from.", LOOK)
        before = next(earlier(session, scope, left), None)
        return Way(scope, pointer(session, scope), before.id if before else BASE)


def roll_back(store: Store, seen: Way, reason: str) -> Move:
    """Roll back what was seen in service."""
    from engine.learning import promotion

    database = store.writable()
    return promotion.rollback(
        database,
        database.home,
        store.learning(),
        scope=seen.scope,
        by=store.by,
        reason=reason,
        expected=seen.serves,
        now=store.clock,
    )


def remove(store: Store, what: Literal["retire", "reject"], seen: AdapterRow, reason: str) -> Move:
    """Retire or reject an adapter; refused where it is in another state by now than it was seen in."""
    from engine.learning import promotion

    database = store.writable()
    act = promotion.retire if what == "retire" else promotion.reject
    return act(
        database,
        database.home,
        store.learning(),
        adapter_id=seen.id,
        by=store.by,
        reason=reason,
        expected=seen.state,
        now=store.clock,
    )
