"""How fine-tunes look on a terminal and as JSON. It knows rows and rich, no rule of the product."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.learning_tables import RunProgressRow, RunRow


def as_document(row: RunRow, progress: Sequence[RunProgressRow] = ()) -> dict[str, Any]:
    """One run as ``--json`` prints it; with ``progress``, its curves too."""
    document: dict[str, Any] = {
        "run": row.id,
        "scope": row.scope,
        "state": row.state,
        "message": row.message,
        "cause": row.cause,
        "requested_by": row.requested_by,
        "created_at": _iso(row.created_at),
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
        "base_model": row.base_model,
        "base_revision": row.base_revision,
        "train_pairs": row.train_pairs,
        "validation_pairs": row.validation_pairs,
        "left_out": row.left_out,
        "step": row.step,
        "steps": row.steps,
        "resumed": row.resumed,
        "adapter": row.adapter_id,
        "settings": row.settings,
        "settings_hash": row.settings_hash,
        "data_hash": row.data_hash,
        "metrics": row.metrics,
    }
    if progress:
        document["progress"] = [
            {
                "kind": point.kind,
                "step": point.step,
                "epoch": round(point.epoch, 3),
                "loss": point.loss,
                "learning_rate": point.learning_rate,
                "tokens_per_second": point.tokens_per_second,
                "memory_bytes": point.memory_bytes,
            }
            for point in progress
        ]
    return document


def print_list(rows: Sequence[RunRow]) -> None:
    """A line a run, the newest first."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("run", "scope", "state", "pairs", "steps", "loss", "adapter"):
        table.add_column(name, overflow="fold", no_wrap=name == "run")
    for row in rows:
        table.add_row(
            row.id,
            row.scope,
            row.state,
            str(row.train_pairs + row.validation_pairs),
            f"{row.step}/{row.steps}" if row.steps else "",
            _loss(row.metrics),
            row.adapter_id[:9],
        )
    Console(highlight=False).print(table)


def print_run(row: RunRow, left_out: str) -> None:
    """One run in a few lines."""
    from rich.console import Console
    from rich.markup import escape

    out = Console(highlight=False, soft_wrap=True)
    out.print(f"{row.id}  {escape(row.scope)}  {row.state}")
    if row.message:
        out.print(escape(row.message))
    held = f" and {row.validation_pairs} to decide when to stop" if row.validation_pairs else ""
    out.print(f"Pairs: {row.train_pairs}{held}" + (f"; left out: {escape(left_out)}" if left_out else ""))
    out.print(f"Base: {escape(row.base_model)}" + (f" at {row.base_revision[:12]}" if row.base_revision else ""))
    if row.steps:
        out.print(f"Steps: {row.step} of {row.steps}" + (f", resumed {row.resumed} times" if row.resumed else ""))
    metrics = row.metrics
    if metrics:
        seconds, rate = metrics.get("seconds", 0), metrics.get("tokens_per_second", 0)
        peak = metrics.get("peak_memory_bytes", 0) / 1e9
        out.print(f"Trained {seconds:,.0f} s at {rate:,.0f} tokens/s, at most {peak:.1f} GB")
        if "validation_loss" in metrics:
            before, after = metrics["validation_loss_before"], metrics["validation_loss"]
            out.print(f"Validation loss: {before:.3f} before, {after:.3f} after step {metrics['best_step']}")
        else:
            out.print(f"Loss of the last step: {metrics.get('train_loss', float('nan')):.3f}")
    if row.adapter_id:
        out.print(f"Adapter: {row.adapter_id}")


def _loss(metrics: dict[str, Any]) -> str:
    loss = metrics.get("validation_loss", metrics.get("train_loss"))
    return f"{loss:.3f}" if isinstance(loss, float) else ""


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment is not None else None
