"""What serves a scope changes as the rules say, in one step, and stands in the ledger."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import select

from engine.learning import promotion
from engine.learning.alerts import candidate_waiting, open_alerts
from engine.learning.ledger import GENESIS, hash_of, pseudonym
from engine.learning.promotion import Move
from engine.learning.registry import active_adapter, list_adapters
from engine.learning.settings import LearningSettings
from storage.database import Database
from storage.errors import AdapterError, InputError, PromotionRefused, RedraftError
from storage.learning_tables import AdapterRow, LedgerRow, PromotionRequestRow, PromotionRow
from tests.engine.learning.making import START, candidate, gate, serve

TEAM = "slack:T1"
ANA, BEN = "local:ana", "local:ben"


def promote(database: Database, row: AdapterRow, *, by: str = ANA, two: bool = False, **given: object) -> Move:
    settings = LearningSettings(promotion_two_person=two)
    return promotion.promote(database, database.home, settings, adapter_id=row.id, by=by, now=START, **given)  # type: ignore[arg-type]


def rollback(database: Database, reason: str = "worse on invoices", **given: object) -> Move:
    given = {"scope": "default", **given}
    return promotion.rollback(database, database.home, LearningSettings(), by=BEN, reason=reason, now=START, **given)  # type: ignore[arg-type]


def states(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {row.id: row.state for row in list_adapters(session)}


def serving(database: Database, scope: str = "default") -> str:
    with database.read() as session:
        row = active_adapter(session, scope)
        return row.id if row else "base"


def ledger(database: Database) -> list[LedgerRow]:
    """The lines, once the chain was followed."""
    with database.read() as session:
        lines = list(session.scalars(select(LedgerRow).order_by(LedgerRow.seq)))  # type: ignore[arg-type]
    previous = GENESIS
    for number, line in enumerate(lines, 1):
        assert (line.seq, line.previous, line.hash) == (number, previous, hash_of(line))
        previous = line.hash
    return lines


# Promotion ----------------------------------------------------------------------------------------------------------


def test_better_candidate_takes_the_place_of_the_one_before_and_its_alert_is_cleared(database: Database) -> None:
    first = serve(database, seed=1)
    second = candidate(database, seed=2)
    gate(database, second, against=first.id)
    with database.write() as session:
        candidate_waiting(session, adapter=second, now=START)
    done = promote(database, second, reason=" it reads better ")
    assert done == Move("promoted", "default", second.id, second.id, first.id)
    assert states(database) == {first.id: "retired", second.id: "active"}
    with database.read() as session:
        assert open_alerts(session) == []
        assert session.get(AdapterRow, second.id).replaced == first.id  # type: ignore[union-attr]
        move = session.scalars(select(PromotionRow).order_by(PromotionRow.id)).all()[-1]  # type: ignore[arg-type]
        line = ledger(database)[-1]
        assert (move.id, move.actor, move.forced, move.reason) == (
            f"{line.seq:012d}", line.actor, False, "it reads better",
        )  # fmt: skip
        assert line.actor == pseudonym(session, ANA)
    assert (line.action, line.subject) == ("adapter.promoted", second.id)
    assert line.details == {
        "scope": "default", "replaced": first.id, "verdict": "better", "forced": False, "reason": "it reads better",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "against", "told"),
    [
        ("", "base", "not been measured"),
        ("worse", "base", "is worse than the base"),
        ("inconclusive", "base", "could not be told apart"),
        ("better", "aaaa", "measured against aaaa, and the base serves now"),
    ],
)
def test_only_better_than_what_serves_now_is_promoted_without_force_and_force_needs_a_reason(
    database: Database, verdict: str, against: str, told: str
) -> None:
    row = candidate(database)
    if verdict:
        gate(database, row, verdict, against=against)
    before = len(ledger(database))
    with pytest.raises(PromotionRefused, match=told):
        promote(database, row, reason="I like it")
    for empty in ("", "  \n"):
        with pytest.raises(InputError, match="needs a reason"):
            promote(database, row, force=True, reason=empty)
    assert (states(database), len(ledger(database))) == ({row.id: "candidate"}, before)
    assert promote(database, row, force=True, reason="the demo").forced
    last = ledger(database)[-1]
    assert (last.details["forced"], last.details["reason"]) == (True, "the demo")
    with database.read() as session:
        assert session.scalars(select(PromotionRow)).one().forced


def test_the_newest_gate_counts_and_force_that_was_not_needed_is_not_called_force(database: Database) -> None:
    row = candidate(database)
    gate(database, row, "better", now=START)
    gate(database, row, "worse", now=START + timedelta(hours=1))
    with pytest.raises(PromotionRefused, match="is worse"):
        promote(database, row)
    gate(database, row, "better", now=START + timedelta(hours=2))
    assert not promote(database, row, force=True, reason="to be sure").forced


def test_a_gate_of_a_channel_is_against_the_wider_scope_that_serves_it(database: Database) -> None:
    everywhere = serve(database, seed=1)
    team = candidate(database, seed=2, scope=TEAM)
    gate(database, team, against="base")
    with pytest.raises(PromotionRefused, match=f"{everywhere.id} serves now"):
        promote(database, team)
    gate(database, team, against=everywhere.id, now=START + timedelta(hours=1))
    assert promote(database, team).replaced == "base"
    assert (serving(database), serving(database, TEAM)) == (everywhere.id, team.id)


def test_what_force_does_not_help(database: Database) -> None:
    served, tainted = serve(database, seed=1), candidate(database, seed=2)
    with database.write() as session:
        session.get(AdapterRow, tainted.id).tainted_at = START  # type: ignore[union-attr]
    for row, told in ((served, "in service for default already"), (tainted, "erased since")):
        with pytest.raises(PromotionRefused, match=told):
            promote(database, row, force=True, reason="please")
    with pytest.raises(InputError, match="There is no adapter"):
        promote(database, AdapterRow(id="a0"), force=True, reason="please")
    assert serving(database) == served.id


@pytest.mark.parametrize("harm", ["gone", "flipped", "link", "manifest"])
def test_files_are_looked_at_before_the_pointer_moves(database: Database, harm: str) -> None:
    row = candidate(database)
    gate(database, row)
    directory = database.home.adapters / row.id
    weights = directory / "adapter_model.safetensors"
    if harm == "gone":
        directory.rename(database.home.root / "elsewhere")
    elif harm == "flipped":
        data = bytearray(weights.read_bytes())
        data[-3] ^= 1
        weights.write_bytes(data)
    elif harm == "link":
        weights.rename(database.home.root / "weights")
        weights.symlink_to(database.home.root / "weights")
    else:
        with database.write() as session:
            session.get(AdapterRow, row.id).base_model = "another"  # type: ignore[union-attr]
    for force in ({}, {"force": True, "reason": "please"}):
        with pytest.raises(AdapterError, match="was refused"):
            promote(database, row, **force)
    assert states(database) == {row.id: "candidate"}


def test_of_two_administrators_who_promote_at_once_one_wins_and_the_other_is_told(database: Database) -> None:
    rows = [candidate(database, seed=seed) for seed in (1, 2)]
    for row in rows:
        gate(database, row)
    databases = [database, database]
    start, outcomes = threading.Barrier(2), {}

    def act(number: int) -> None:
        start.wait()
        try:
            outcomes[number] = promotion.promote(
                databases[number], database.home, LearningSettings(), adapter_id=rows[number].id, by=f"local:{number}",
                expected="base", force=True, reason="mine is best",
            )  # fmt: skip
        except RedraftError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=act, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    won = [outcome for outcome in outcomes.values() if isinstance(outcome, Move)]
    (told,) = [outcome for outcome in outcomes.values() if isinstance(outcome, PromotionRefused)]
    assert len(won) == 1
    assert serving(database) == won[0].adapter
    assert f"Somebody was quicker: {won[0].adapter} serves default now" in told.message
    assert [line.action for line in ledger(database)].count("adapter.promoted") == 1


# Two persons --------------------------------------------------------------------------------------------------------


def test_with_two_persons_nothing_moves_before_another_one_confirms(database: Database) -> None:
    row = candidate(database)
    gate(database, row)
    asked = promote(database, row, two=True)
    assert (asked.kind, asked.serves, serving(database)) == ("requested", "base", "base")
    with pytest.raises(PromotionRefused, match="asked for the promotion"):
        promote(database, row, two=True)
    assert serving(database) == "base"
    assert promote(database, row, by=BEN, two=True).kind == "promoted"
    assert serving(database) == row.id
    requested, promoted = ledger(database)[-2:]
    assert requested.action == "promotion.requested"
    assert promoted.details["requested_by"] == requested.actor != promoted.actor
    with database.read() as session:
        assert session.scalars(select(PromotionRequestRow)).all() == []


def test_a_request_is_void_once_something_else_serves(database: Database) -> None:
    row, other = candidate(database, seed=1), candidate(database, seed=2)
    gate(database, row)
    promote(database, row, two=True)
    promote(database, other, force=True, reason="now")
    gate(database, row, against=other.id, now=START + timedelta(hours=1))
    again = promote(database, row, by=BEN, two=True)
    assert again.kind == "requested"
    assert "void" in again.notes[0]
    assert serving(database) == other.id
    with pytest.raises(PromotionRefused, match="asked for the promotion"):
        promote(database, row, by=BEN, two=True)
    assert promote(database, row, by=ANA, two=True).kind == "promoted"


def test_a_forced_promotion_needs_the_force_and_the_reason_of_both_persons(database: Database) -> None:
    row = candidate(database)
    promote(database, row, two=True, force=True, reason="Ana's reason")
    with pytest.raises(PromotionRefused, match="not been measured"):
        promote(database, row, two=True, by=BEN)
    assert promote(database, row, two=True, by=BEN, force=True, reason="Ben's reason").forced
    assert [line.details["reason"] for line in ledger(database)[-2:]] == ["Ana's reason", "Ben's reason"]


# Back, out, and never again -----------------------------------------------------------------------------------------


def test_rollback_goes_to_the_one_before_then_to_the_base_and_rejects_what_it_leaves(database: Database) -> None:
    first, second = serve(database, seed=1), serve(database, seed=2)
    done = rollback(database)
    assert done == Move("rolled back", "default", second.id, first.id, second.id)
    assert states(database) == {first.id: "active", second.id: "rejected"}
    assert ledger(database)[-1].details == {"scope": "default", "back_to": first.id, "reason": "worse on invoices"}
    assert rollback(database).serves == "base"
    assert states(database) == {first.id: "rejected", second.id: "rejected"}
    with pytest.raises(PromotionRefused, match="nothing to go back from"):
        rollback(database)
    with database.read() as session:
        assert promotion.was_rejected(session, "data-2", "settings")
        assert not promotion.was_rejected(session, "data-2", "other settings")
        assert not promotion.was_rejected(session, "data-3", "settings")


def test_rollback_passes_over_what_may_not_or_cannot_serve(database: Database) -> None:
    kept, tainted, rejected, damaged, left = [serve(database, seed=seed) for seed in (1, 2, 3, 4, 5)]
    with database.write() as session:
        session.get(AdapterRow, tainted.id).tainted_at = START  # type: ignore[union-attr]
    promotion.reject(
        database, database.home, LearningSettings(), adapter_id=rejected.id, by=ANA, reason="no", now=START
    )
    (database.home.adapters / damaged.id / "adapter_config.json").write_text("{}")
    done = rollback(database)
    assert (done.adapter, done.serves) == (left.id, kept.id)
    assert damaged.id in done.notes[0]


def test_rollback_after_a_scope_was_without_an_adapter_goes_back_to_that(database: Database) -> None:
    first = serve(database, seed=1)
    promotion.retire(database, database.home, LearningSettings(), adapter_id=first.id, by=ANA, now=START)
    serve(database, seed=2)
    assert rollback(database).serves == "base"
    assert states(database)[first.id] == "retired"


def test_rollback_needs_a_reason_a_scope_and_what_was_seen_to_serve(database: Database) -> None:
    first, second = serve(database, seed=1), serve(database, seed=2)
    with pytest.raises(InputError, match="needs a reason"):
        rollback(database, reason=" ")
    with pytest.raises(InputError, match="no scope"):
        rollback(database, scope="everything")
    with pytest.raises(PromotionRefused, match="quicker"):
        rollback(database, expected=first.id)
    assert serving(database) == second.id


def test_a_rejected_adapter_comes_back_only_by_force(database: Database) -> None:
    row = serve(database, seed=1)
    rollback(database)
    gate(database, row, now=START + timedelta(hours=1))
    with pytest.raises(PromotionRefused, match="was rejected: worse on invoices"):
        promote(database, row)
    assert promote(database, row, force=True, reason="it was the template").forced
    assert serving(database) == row.id


def test_retire_takes_out_of_service_or_puts_a_candidate_aside(database: Database) -> None:
    served, waiting = serve(database, seed=1), candidate(database, seed=2)

    def retire(row: AdapterRow) -> Move:
        return promotion.retire(
            database, database.home, LearningSettings(), adapter_id=row.id, by=ANA, reason="no longer", now=START
        )

    assert retire(waiting).serves == served.id
    assert retire(served).serves == "base"
    assert states(database) == {served.id: "retired", waiting.id: "retired"}
    with database.read() as session:
        assert [move.kind for move in session.scalars(select(PromotionRow).order_by(PromotionRow.id))] == [  # type: ignore[arg-type]
            "promote",
            "retire",
        ]
    with pytest.raises(PromotionRefused, match="is retired already"):
        retire(served)
    gate(database, served)
    assert promote(database, served).kind == "promoted"


def test_reject_is_for_what_does_not_serve_and_needs_a_reason(database: Database) -> None:
    served, waiting = serve(database, seed=1), candidate(database, seed=2)

    def reject(row: AdapterRow, reason: str = "reads badly") -> Move:
        return promotion.reject(
            database, database.home, LearningSettings(), adapter_id=row.id, by=ANA, reason=reason, now=START
        )

    with pytest.raises(PromotionRefused, match="is in service"):
        reject(served)
    with pytest.raises(InputError, match="needs a reason"):
        reject(waiting, "")
    reject(waiting)
    with pytest.raises(PromotionRefused, match="rejected already"):
        reject(waiting)
    assert states(database) == {served.id: "active", waiting.id: "rejected"}


def test_a_successor_in_service_retires_the_candidates_trained_on_erased_words(database: Database) -> None:
    tainted, elsewhere, successor = (
        candidate(database, seed=1), candidate(database, seed=2, scope=TEAM), candidate(database, seed=3),
    )  # fmt: skip
    with database.write() as session:
        for row in (tainted, elsewhere):
            session.get(AdapterRow, row.id).tainted_at = START  # type: ignore[union-attr]
    gate(database, successor)
    promote(database, successor)
    assert states(database) == {tainted.id: "retired", elsewhere.id: "candidate", successor.id: "active"}


# One base at a time -------------------------------------------------------------------------------------------------


def test_promotion_on_another_base_in_the_only_scope_moves_the_base(database: Database) -> None:
    old = serve(database, seed=1)
    new = candidate(database, seed=2, base_model="larger", base_revision="f" * 40)
    gate(database, new, against=old.id)
    done = promote(database, new)
    assert "larger@ffffffffffff serves now" in done.notes[0]
    back = rollback(database)
    assert (back.serves, "tiny serves now" in back.notes[0]) == (old.id, True)


def test_all_adapters_in_service_belong_to_one_base(database: Database) -> None:
    everywhere, team = serve(database, seed=1), serve(database, seed=2, scope=TEAM)
    new = candidate(database, seed=3, base_model="larger")
    gate(database, new, against=everywhere.id)
    with pytest.raises(PromotionRefused, match=f"belongs to larger, and {TEAM} is served on tiny"):
        promote(database, new)
    done = promote(database, new, force=True, reason="the new model")
    assert (done.also_retired, done.forced) == ((team.id,), True)
    assert (serving(database), serving(database, TEAM)) == (new.id, "base")
    # and a rollback of one scope does not take the base away from under another
    team_new = candidate(database, seed=4, scope=TEAM, base_model="larger")
    gate(database, team_new, against=new.id)
    promote(database, team_new)
    assert rollback(database).serves == "base"
    assert states(database)[everywhere.id] == "retired"
    assert rollback(database, scope=TEAM).serves == "base"


@pytest.mark.parametrize("act", [promotion.retire, promotion.reject])
def test_whoever_retires_or_rejects_what_a_colleague_has_moved_is_told_by_whom(
    database: Database, act: Callable[..., Move]
) -> None:
    waiting = candidate(database, seed=2)
    promotion.reject(
        database, database.home, LearningSettings(), adapter_id=waiting.id, by="local:ben", reason="drops names"
    )
    with pytest.raises(PromotionRefused, match="is rejected now by local:ben, and no longer candidate") as refused:
        act(
            database, database.home, LearningSettings(), adapter_id=waiting.id, by=ANA, reason="no longer",
            expected="candidate",
        )  # fmt: skip
    assert "drops names" in refused.value.message
    assert states(database) == {waiting.id: "rejected"}
