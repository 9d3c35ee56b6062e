"""What serves a scope, and who may change it: promote, roll back, retire, reject.

Each moves one pointer, in one transaction that also holds its line in the ledger; running engines see it within a
second or two. An adapter's files are looked at before it is put in service, and again by every engine that loads it.
Only an adapter that the gate found better than what serves now is promoted without force. Whoever comes second, because
somebody else moved the pointer meanwhile, is told and moves nothing.

All adapters in service belong to one base, because an engine holds one (:mod:`engine.learning.bases`). An adapter's
scope is that of the pairs it was trained on; there is no way to put it in service for another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlmodel import Session

from engine.learning.ledger import Ledger, pseudonym, recorded
from engine.learning.pointers import (
    BASE,
    base_of,
    label_of,
    moved,
    pointer,
    put_in,
    retire_tainted,
    retire_with_its_base,
    take_out,
)
from engine.learning.promotion_rules import (
    LOOK,
    against_the_rules,
    earlier,
    named,
    on_another_base,
    refuse_changed,
    refuse_moved,
    refuse_state,
    verify_files,
)
from engine.learning.promotion_rules import obstacle as obstacle
from engine.learning.promotion_rules import was_rejected as was_rejected
from engine.learning.registry import active_adapter, find, in_service
from engine.learning.settings import LearningSettings
from storage import adapter_queries as queries
from storage.database import Database
from storage.errors import AdapterError, InputError, PromotionRefused
from storage.home import Home
from storage.learning_tables import AdapterRow, PromotionRequestRow


@dataclass(frozen=True, slots=True)
class Move:
    """What was done.

    Attributes:
        kind: ``requested`` is a promotion that a second person has to confirm; nothing has moved yet.
        scope: the scope of the adapter.
        adapter: which adapter it was asked for.
        serves: what the scope itself has in service now: an adapter's id, or ``base``.
        replaced: what it had before.
        forced: whether it went against the gate.
        also_retired: adapters of other scopes that went out of service with their base.
        notes: sentences on what else a person should know.
    """

    kind: Literal["promoted", "requested", "rolled back", "retired", "rejected"]
    scope: str
    adapter: str
    serves: str
    replaced: str
    forced: bool = False
    also_retired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def promote(
    database: Database,
    home: Home,
    settings: LearningSettings,
    *,
    adapter_id: str,
    by: str,
    force: bool = False,
    reason: str = "",
    expected: str | None = None,
    now: datetime | None = None,
) -> Move:
    """Put an adapter in service for its scope; under the two-person setting, ask for it or confirm it.

    Args:
        by: who does it, as ``local:maria``.
        force: do it although the gate did not find it better, or does not hold for what serves now.
        reason: why; needed with ``force``.
        expected: what the person saw in service for the scope (an id, or ``base``); refused when it is another now.

    Raises:
        InputError: there is no such adapter, or a forced one has no reason.
        PromotionRefused: the rules, or somebody who was quicker, stand against it.
        AdapterError: its files are not what they should be.
    """
    moment, why = _utc(now), reason.strip()
    if force and not why:
        raise InputError("A forced promotion needs a reason, which the ledger keeps.", 'Give one: --reason "…".')
    with database.read() as session:
        row = find(session, adapter_id)
        seen = pointer(session, row.scope) if expected is None else expected
    refuse_state(row)
    verify_files(home, row)
    with recorded(database) as (session, ledger):
        rows = {one.id: one for one in queries.lock_adapters(session=session)}
        row = _present(rows, row.id)
        refuse_state(row)
        before = pointer(session, row.scope)
        refuse_changed(row.scope, seen, before)
        others = on_another_base(rows, row)
        against = against_the_rules(session, row, others)
        if against is not None and not force:
            raise against
        forced = against is not None
        request = session.get(PromotionRequestRow, row.id) if settings.promotion_two_person else None
        if settings.promotion_two_person and (request is None or request.against != before):
            return _ask(session, ledger, row, before, request, by=by, forced=forced, reason=why, now=moment)
        details: dict[str, object] = {"scope": row.scope, "replaced": before, "verdict": row.verdict}
        details |= {"forced": forced, "reason": why}
        if request is not None:
            if request.requested_by == by:
                raise PromotionRefused(
                    f"You asked for the promotion of {row.id} yourself.", "Another administrator has to confirm it."
                )
            details["requested_by"] = pseudonym(session, request.requested_by)
        if others:
            details["also_retired"] = [one.id for one in others]
        line = ledger.append("adapter.promoted", by=by, subject=row.id, details=details, now=moment)
        for one in others:
            retire_with_its_base(session, ledger, one, row, by=by, now=moment)
        former = rows.get(before)
        if former is not None:
            take_out(session, former, "retired", f"{row.id} took its place.", moment)
        put_in(session, row, before, moment)
        retire_tainted(session, ledger, rows, row, moment)
        moved(session, line, row.scope, "promote", row.id, before, why, moment, forced=forced)
    also = tuple(one.id for one in others)
    notes = () if former is None or base_of(former) == base_of(row) else (_base_note(row),)
    return Move("promoted", row.scope, row.id, row.id, before, forced, also, notes)


def rollback(
    database: Database,
    home: Home,
    settings: LearningSettings,
    *,
    scope: str,
    by: str,
    reason: str,
    expected: str | None = None,
    now: datetime | None = None,
) -> Move:
    """Go back to the adapter that served a scope before, or to the base; the one left is rejected.

    Of those before, the newest is taken that was not rejected or tainted, whose files are whole, and that belongs to
    the base that other scopes are served by.

    Args:
        reason: why the one left is rejected; the same data and settings are not offered again.
        expected: as for :func:`promote`.

    Raises:
        InputError: there is no reason, or no such scope.
        PromotionRefused: the scope has no adapter in service, or somebody was quicker.
    """
    moment, why = _utc(now), _needed(reason, "A rollback")
    notes: list[str] = []
    with database.read() as session:
        in_service(session, scope)  # tells a text that is no scope
        left = active_adapter(session, scope)
        seen = (left.id if left else BASE) if expected is None else expected
        before = list(earlier(session, scope, left)) if left else []
    whole = set()
    for one in before:
        try:
            verify_files(home, one)
        except AdapterError as error:
            notes.append(f"{one.id} was passed over: {error.message}")
        else:
            whole.add(one.id)
            break
    with recorded(database) as (session, ledger):
        rows = {one.id: one for one in queries.lock_adapters(session=session)}
        left = active_adapter(session, scope)
        refuse_changed(scope, seen, left.id if left else BASE)
        if left is None:
            raise PromotionRefused(f"No adapter is in service for {scope}: there is nothing to go back from.", LOOK)
        # Once more, under the lock: meanwhile one of them may have been rejected or tainted.
        target = next((one for one in earlier(session, scope, left) if one.id in whole), None)
        if whole and target is None:
            raise PromotionRefused("What could be gone back to was changed by somebody else meanwhile.", LOOK)
        back_to = target.id if target else BASE
        details = {"scope": scope, "back_to": back_to, "reason": why}
        line = ledger.append("adapter.rolled_back", by=by, subject=left.id, details=details, now=moment)
        take_out(session, left, "rejected", why, moment)
        if target is not None:
            put_in(session, _present(rows, target.id), left.id, moment)
            if base_of(target) != base_of(left):
                notes.append(_base_note(target))
        moved(session, line, scope, "rollback", back_to, left.id, why, moment)
    return Move("rolled back", scope, left.id, back_to, left.id, notes=tuple(notes))


def retire(
    database: Database,
    home: Home,
    settings: LearningSettings,
    *,
    adapter_id: str,
    by: str,
    reason: str = "",
    expected: str | None = None,
    now: datetime | None = None,
) -> Move:
    """Take an adapter out of service, the next wider scope or the base then serves; or put a candidate aside.

    Args:
        expected: the state in which the person saw it; refused when it is in another now.

    Raises:
        InputError: there is no such adapter.
        PromotionRefused: it is neither in service nor a candidate, or somebody was quicker.
    """
    moment, why = _utc(now), reason.strip()
    with recorded(database) as (session, ledger):
        rows = {one.id: one for one in queries.lock_adapters(session=session)}
        row = _present(rows, find(session, adapter_id).id)
        refuse_moved(session, row, expected)
        if row.state not in ("active", "candidate"):
            raise PromotionRefused(f"The adapter {row.id} is {row.state} already.", LOOK)
        before, served = pointer(session, row.scope), row.state == "active"
        serves = BASE if served else before
        details = {"scope": row.scope, "served": served, "reason": why}
        line = ledger.append("adapter.retired", by=by, subject=row.id, details=details, now=moment)
        take_out(session, row, "retired", why, moment)
        if served:
            moved(session, line, row.scope, "retire", BASE, row.id, why, moment)
    return Move("retired", row.scope, row.id, serves, before)


def reject(
    database: Database,
    home: Home,
    settings: LearningSettings,
    *,
    adapter_id: str,
    by: str,
    reason: str,
    expected: str | None = None,
    now: datetime | None = None,
) -> Move:
    """Reject a candidate or a retired adapter: the same data and settings are not offered again.

    Args:
        expected: the state in which the person saw it; refused when it is in another now.

    Raises:
        InputError: there is no such adapter, or no reason.
        PromotionRefused: it is in service, or rejected already, or somebody was quicker.
    """
    moment, why = _utc(now), _needed(reason, "A rejection")
    with recorded(database) as (session, ledger):
        rows = {one.id: one for one in queries.lock_adapters(session=session)}
        row = _present(rows, find(session, adapter_id).id)
        refuse_moved(session, row, expected)
        if row.state == "active":
            raise PromotionRefused(
                f"The adapter {row.id} is in service for {row.scope}.",
                f"Roll it back, which rejects it: redraft adapters rollback --scope {row.scope}",
            )
        if row.state == "rejected":
            raise PromotionRefused(f"The adapter {row.id} is rejected already.", LOOK)
        details = {"scope": row.scope, "reason": why}
        ledger.append("adapter.rejected", by=by, subject=row.id, details=details, now=moment)
        take_out(session, row, "rejected", why, moment)
        serves = pointer(session, row.scope)
    return Move("rejected", row.scope, row.id, serves, serves)


def _ask(
    session: Session,
    ledger: Ledger,
    row: AdapterRow,
    before: str,
    request: PromotionRequestRow | None,
    *,
    by: str,
    forced: bool,
    reason: str,
    now: datetime,
) -> Move:
    """Keep that somebody asks for a promotion, in place of a request that no longer holds."""
    notes = ["It waits for another administrator, who confirms it with the same command."]
    if request is not None:
        notes.insert(0, f"The request of before was void: it was made when {named(request.against)} served.")
    row_of_request = request or PromotionRequestRow(
        adapter_id=row.id, requested_at=now, requested_by=by, against=before
    )
    row_of_request.requested_at, row_of_request.requested_by, row_of_request.against = now, by, before
    row_of_request.forced, row_of_request.reason = forced, reason
    session.add(row_of_request)
    details = {"scope": row.scope, "against": before, "forced": forced, "reason": reason}
    ledger.append("promotion.requested", by=by, subject=row.id, details=details, now=now)
    return Move("requested", row.scope, row.id, before, before, forced, notes=tuple(notes))


def _present(rows: Mapping[str, AdapterRow], adapter_id: str) -> AdapterRow:
    if adapter_id not in rows:
        raise InputError(f"There is no adapter {adapter_id} any more.", LOOK)
    return rows[adapter_id]


def _base_note(row: AdapterRow) -> str:
    return f"The model {label_of(*base_of(row))} serves now: a running engine loads it, and requests wait for that."


def _needed(reason: str, what: str) -> str:
    if not reason.strip():
        raise InputError(f"{what} needs a reason, which the ledger keeps.", 'Give one: --reason "…".')
    return reason.strip()


def _utc(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).astimezone(UTC)
