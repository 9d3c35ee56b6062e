"""What the rules have against putting an adapter in service, and which one a scope goes back to.

They read, and say what stands in the way in sentences; they change nothing. An adapter is promoted without force only
if its newest gate found it better than what serves its scope now; one trained on words erased since never is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlmodel import Session

from engine.learning.ledger import PROGRAM, person_of
from engine.learning.pointers import BASE, base_of, label_of
from engine.learning.registry import directory_of, in_service
from storage import adapter_queries as queries
from storage import ledger_queries
from storage.errors import PromotionRefused
from storage.home import Home
from storage.learning_tables import AdapterRow

#: What to do about a state of things that is not the one expected.
LOOK = "`redraft adapters list` shows how things stand."


def was_rejected(session: Session, data_hash: str, settings_hash: str) -> bool:
    """Whether an adapter of just these data and settings was rejected: it is not offered again."""
    return queries.rejected_exists(session=session, data_hash=data_hash, settings_hash=settings_hash)


def obstacle(session: Session, row: AdapterRow) -> PromotionRefused | None:
    """What the rules have against promoting an adapter as things stand, or None; ``force`` does it all the same."""
    rows = {one.id: one for one in queries.adapters(session=session)}
    return against_the_rules(session, row, on_another_base(rows, row))


def verify_files(home: Home, row: AdapterRow) -> None:
    """Look at every byte of an adapter's files; its tensors are looked at by the engine that loads it.

    Raises:
        AdapterError: they are not what was published, or not those of the row, or made with other prompts.
    """
    from engine.model.adapter_files import check_files, read_manifest, refusal
    from engine.requests import ModelInfo
    from engine.text.prompts import PROMPT_VERSION

    directory = directory_of(home, row.id)
    about = read_manifest(directory).about if directory.is_dir() else None
    if about is None:
        raise refusal(row.id, "its files are missing")
    # For the base that the manifest names: which one is loaded is known to engines only, and they look again.
    info = ModelInfo(
        name=about.base_model,
        revision=about.base_revision,
        model_type=about.model_type,
        encoder_decoder=False,
        chat=False,
        context_tokens=0,
        max_new_tokens=0,
        fingerprint=about.base_fingerprint,
    )
    check_files(directory, info=info, tokenizer_sha256=about.tokenizer_sha256, prompt_version=PROMPT_VERSION)
    if (about.scope, about.base_model, about.base_revision) != (row.scope, row.base_model, row.base_revision):
        raise refusal(row.id, "its manifest is not what was recorded of it")


def refuse_state(row: AdapterRow) -> None:
    """Refuse what no force helps against.

    Raises:
        PromotionRefused: it is in service, or tainted.
    """
    if row.state == "active":
        raise PromotionRefused(f"The adapter {row.id} is in service for {row.scope} already.", LOOK)
    if row.tainted_at is not None:
        raise PromotionRefused(
            f"The adapter {row.id} was trained on words that somebody has had erased since.",
            f"Train again without them: redraft train --scope {row.scope}",
        )


def refuse_changed(scope: str, seen: str, now_there: str) -> None:
    """Refuse somebody who looked at what serves no longer.

    Raises:
        PromotionRefused: another adapter serves now than the one they saw.
    """
    if seen != now_there:
        raise PromotionRefused(
            f"Somebody was quicker: {named(now_there)} serves {scope} now, and no longer {named(seen)}.",
            "Look again, and measure a candidate against what serves now: redraft evaluate.",
        )


def refuse_moved(session: Session, row: AdapterRow, seen: str | None) -> None:
    """Refuse somebody who saw an adapter in another state than it is in; who moved it is told from the ledger.

    Raises:
        PromotionRefused: somebody else has promoted, retired or rejected it, or has set it back.
    """
    if seen is None or seen == row.state:
        return
    who = next(
        (person_of(session, line.actor) for line in ledger_queries.lines(session=session, subject=row.id, limit=1)), ""
    )
    by = f" by {who}" if who and who != PROGRAM else ""
    why = f" Why: {row.reason}" if row.reason else ""
    raise PromotionRefused(
        f"Somebody was quicker: the adapter {row.id} is {row.state} now{by}, and no longer {seen}.{why}", LOOK
    )


def against_the_rules(session: Session, row: AdapterRow, others: list[AdapterRow]) -> PromotionRefused | None:
    """What stands against a promotion that force helps against, or None; ``others`` are those on another base."""
    force = f'redraft adapters promote {row.id} --force --reason "…"'
    measure = f"Measure it: redraft evaluate {row.id}"
    gate = queries.newest_evaluation(session=session, adapter_id=row.id)
    serves = in_service(session, row.scope)
    if row.state == "rejected":
        return PromotionRefused(f"The adapter {row.id} was rejected: {row.reason}", f"To promote it anyway: {force}")
    if gate is None:
        return PromotionRefused(f"The adapter {row.id} has not been measured.", measure)
    if gate.against != serves:
        return PromotionRefused(
            f"The adapter {row.id} was measured against {named(gate.against)}, and {named(serves)} serves now.",
            measure,
        )
    if gate.verdict != "better":
        found = {
            "worse": f"is worse than {named(serves)}",
            "inconclusive": f"could not be told apart from {named(serves)}",
        }
        return PromotionRefused(
            f"The adapter {row.id} {found[gate.verdict]} on the held-out references.", f"To promote it anyway: {force}"
        )
    if others:
        where = ", ".join(sorted(one.scope for one in others))
        return PromotionRefused(
            f"The adapter {row.id} belongs to {label_of(*base_of(row))}, and {where} is served on "
            f"{label_of(*base_of(others[0]))}: an engine holds one model.",
            f"Retire the adapters there first, or let force retire them: {force}",
        )
    return None


def on_another_base(rows: Mapping[str, AdapterRow], row: AdapterRow) -> list[AdapterRow]:
    """What serves other scopes on another base."""
    return [
        one
        for one in rows.values()
        if one.state == "active" and one.scope != row.scope and base_of(one) != base_of(row)
    ]


def earlier(session: Session, scope: str, left: AdapterRow) -> Iterator[AdapterRow]:
    """Adapters that served a scope before the one that is left, the latest first, as far as they may serve again."""
    seen = {left.id}
    in_use = {base_of(one) for one in queries.adapters(session=session, state="active") if one.scope != scope}
    for move in queries.promotions_of(session=session, scope=scope):
        if move.replaced in seen:
            continue
        seen.add(move.replaced)
        if move.replaced == BASE:
            return
        row = session.get(AdapterRow, move.replaced)
        if row is None or row.state != "retired" or row.tainted_at is not None:
            continue
        if not in_use or base_of(row) in in_use:
            yield row


def named(serves: str) -> str:
    """What serves, in a sentence."""
    return "the base" if serves == BASE else serves
