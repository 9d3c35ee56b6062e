"""How adapters, what was done to them, and alerts look on a terminal and as JSON. Rows in, text and documents out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from admin.present import plain_console

if TYPE_CHECKING:
    from datetime import datetime

    from engine.learning.promotion import Move
    from engine.learning.registry import Lineage
    from engine.scoring.bootstrap import Interval
    from storage.learning_tables import AdapterRow, AlertRow, EvaluationRow, PromotionRow, RunRow
    from storage.watch_queries import Totals

_COLOURS = {"active": "green", "candidate": "cyan", "rejected": "red"}
#: Figures of a gate that fit beside a question.
_SHORT = ("rougeL", "content_f1", "novelty")


def adapter_document(row: AdapterRow) -> dict[str, Any]:
    """An adapter as JSON has it."""
    return {
        "id": row.id,
        "scope": row.scope,
        "state": row.state,
        "state_since": row.state_since.isoformat(),
        "created_at": row.created_at.isoformat(),
        "base_model": row.base_model,
        "base_revision": row.base_revision or None,
        "prompt_version": row.prompt_version,
        "run": row.run_id or None,
        "train_pairs": row.train_pairs,
        "bytes": row.size_bytes,
        "replaced": row.replaced if row.state == "active" else None,
        "verdict": row.verdict or None,
        "reason": row.reason or None,
        "tainted_at": _iso(row.tainted_at),
        "retire_by": _iso(row.retire_by),
    }


def lineage_document(found: Lineage) -> dict[str, Any]:
    """An adapter with where it comes from and what became of it, as JSON has it."""
    return {
        **adapter_document(found.adapter),
        "files_present": found.present,
        "data_hash": found.adapter.data_hash,
        "settings_hash": found.adapter.settings_hash,
        "pairs": found.pairs,
        "run_details": _run(found.run),
        "evaluation": _gate(found.evaluation),
        "promotions": [_promotion(move) for move in found.promotions],
    }


def move_document(move: Move) -> dict[str, Any]:
    """What was done, as JSON has it."""
    return {
        "done": move.kind,
        "scope": move.scope,
        "adapter": move.adapter,
        "serves": move.serves,
        "replaced": move.replaced,
        "forced": move.forced,
        "also_retired": list(move.also_retired),
        "notes": list(move.notes),
    }


def alert_document(row: AlertRow) -> dict[str, Any]:
    """An alert as JSON has it."""
    return {
        "kind": row.kind,
        "subject": row.subject or None,
        "sentence": row.sentence,
        "command": row.command or None,
        "raised_at": row.raised_at.isoformat(),
    }


def print_adapters(rows: Sequence[AdapterRow], figures: Mapping[str, Totals], base: str) -> None:
    """A line an adapter, and how what it wrote was received."""
    from rich.table import Table

    out = plain_console()
    out.print(f"Base in service: {base}")
    if not rows:
        out.print("There is no adapter yet: `redraft train` makes one once there are approved pairs.")
        return
    table = Table(pad_edge=False)
    for name in ("adapter", "scope", "state", "gate", "pairs", "summaries", "corrected", "thumbs", "since"):
        table.add_column(name, justify="right" if name in ("pairs", "summaries", "corrected", "thumbs") else "left")
    for row in rows:
        seen = figures.get(row.id)
        table.add_row(
            row.id,
            row.scope,
            row.state + (", tainted" if row.tainted_at else ""),
            row.verdict or "not measured",
            f"{row.train_pairs:,}",
            f"{seen.summaries:,}" if seen else "",
            f"{seen.corrected / seen.summaries:.0%}" if seen else "",
            f"+{seen.thumbs_up} −{seen.thumbs_down}" if seen else "",
            _local(row.state_since),
            style=_COLOURS.get(row.state),
        )
    out.print(table)


def print_lineage(found: Lineage) -> None:
    """Everything about one adapter."""
    from engine.learning.pointers import label_of

    row, out = found.adapter, plain_console()
    out.print(f"Adapter {row.id} for {row.scope}: {row.state} since {_local(row.state_since)}", style="bold")
    if row.reason:
        out.print(f"  {row.reason}")
    pairs = ", ".join(f"{count:,} {origin}" for origin, count in sorted(found.pairs.items())) or "not known any more"
    lines = [
        ("base", label_of(row.base_model, row.base_revision)),
        ("run", row.run_id + ("" if found.run else " (its row is gone)")),
        ("trained on", f"{row.train_pairs:,} pairs; of the run: {pairs}"),
        ("prompts", f"version {row.prompt_version}"),
        ("files", f"{row.size_bytes / 1e6:.1f} MB" + ("" if found.present else ", NOT on this machine")),
    ]
    if row.tainted_at is not None:
        by = f", out of service by {_local(row.retire_by)}" if row.retire_by else ""
        lines.append(("tainted", f"since {_local(row.tainted_at)}{by}"))
    for name, value in lines:
        out.print(f"  {name:<11} {value}")
    for move in found.promotions:
        out.print(f"  {_local(move.at)}  {_move_words(move)}")
    print_gate_in_short(found.evaluation)


def print_gate_in_short(row: EvaluationRow | None) -> None:
    """The verdict with its reasons and the figures that decide; `redraft evaluate --last` prints the whole table."""
    from engine.scoring.gate import LABELS, GateReport

    out = plain_console()
    if row is None:
        out.print("Gate: not measured yet.")
        return
    against = "the base" if row.against == "base" else row.against
    out.print(f"Gate of {_local(row.at)} against {against}: {row.verdict}", style="bold")
    try:
        report = GateReport.from_json(row.report)
    except (ValueError, KeyError):
        return
    for name in _SHORT:
        candidate = report.blind.systems.get("candidate", {}).get(name)
        if candidate is not None:
            told = f"  {LABELS[name]:<11} {_interval(candidate)}"
            difference = report.blind.differences.get(name)
            out.print(told + (f", difference {_interval(difference, signed=True)}" if difference else ""))
    for reason in report.reasons:
        out.print(f"  {reason}")


def print_move(move: Move) -> None:
    """What was done, in a sentence or two."""
    out = plain_console()
    serves = "the base" if move.serves == "base" else move.serves
    if move.kind == "requested":
        out.print(f"The promotion of {move.adapter} for {move.scope} was asked for; nothing has changed yet.")
    elif move.kind in ("promoted", "rolled back") or move.serves != move.replaced:
        before = "the base" if move.replaced == "base" else move.replaced
        wider = " (or the adapter of a wider scope)" if move.serves == "base" and move.scope != "default" else ""
        out.print(f"{_first(move.kind)}: {serves}{wider} serves {move.scope} now, in place of {before}.")
        out.print("Running engines pick it up within seconds; summaries under way are finished as they began.")
    else:
        out.print(f"{_first(move.kind)}: {move.adapter}. Unchanged: {serves} serves {move.scope}.")
    for other in move.also_retired:
        out.print(f"Out of service with its base: {other}.")
    for note in move.notes:
        out.print(note)


def print_alerts(rows: Sequence[AlertRow]) -> None:
    """A sentence and a command an alert."""
    out = plain_console()
    if not rows:
        out.print("There is nothing to act on.")
    for row in rows:
        out.print(f"{_local(row.raised_at)}  {row.kind}: {row.sentence}")
        if row.command:
            out.print(f"{'':16}  -> {row.command}")


def _run(row: RunRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "id": row.id,
        "cause": row.cause,
        "slot": row.slot or None,
        "created_at": row.created_at.isoformat(),
        "state": row.state,
        "steps": row.step,
        "left_out": row.left_out,
    }


def _gate(row: EvaluationRow | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "id": row.id,
        "at": row.at.isoformat(),
        "against": row.against,
        "verdict": row.verdict,
        "blind_references": row.blind_references,
    }


def _promotion(row: PromotionRow) -> dict[str, Any]:
    return {
        "at": row.at.isoformat(),
        "kind": row.kind,
        "adapter": row.adapter,
        "replaced": row.replaced,
        "actor": row.actor,
        "forced": row.forced,
        "reason": row.reason or None,
    }


def _move_words(row: PromotionRow) -> str:
    words = {"promote": "promoted", "rollback": "rolled back to", "retire": "retired; then served:"}
    forced = " (forced)" if row.forced else ""
    reason = f": {row.reason}" if row.reason else ""
    return f"{words[row.kind]} {row.adapter} in place of {row.replaced}{forced}, by {row.actor}{reason}"


def _interval(found: Interval, *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    return f"{found.mean:{sign}.1f} [{found.low:{sign}.1f}, {found.high:{sign}.1f}]"


def _first(words: str) -> str:
    return words[:1].upper() + words[1:]


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M}"
