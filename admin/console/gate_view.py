"""A gate's report as the console shows it: the verdict, the table with intervals, the reasons. Rows in, text out."""

from __future__ import annotations

from datetime import tzinfo
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from admin.console import words

if TYPE_CHECKING:
    from rich.table import Table

    from engine.scoring.bootstrap import Interval
    from engine.scoring.gate import GateReport
    from storage.learning_tables import EvaluationRow

#: The figures that decide come first; the others are for a wide terminal.
_FIGURES = ("rougeL", "content_f1", "novelty", "unsupported", "length_ratio", "rouge1", "rouge2", "empty", "looping")
#: Columns that the names of the figures take, and a figure with its interval.
_LABEL, _FIGURE = 15, 21
_SYSTEMS = (("candidate", "candidate"), ("active", "active"), ("base", "base"), ("trivial", "first 3 turns"))


def gate(row: EvaluationRow | None, zone: tzinfo | None, *, width: int) -> RenderableType:
    """The gate in so many columns; where there are few, the candidate, the difference, and what decides."""
    from engine.scoring.gate import GateReport

    if row is None:
        return Text("Gate: not measured yet. e has it measured, as `redraft evaluate` does.", style="yellow")
    against = "the base" if row.against == "base" else words.short(row.against)
    head = Text.assemble(
        words.state(row.verdict), f" than {against}" if row.verdict != "inconclusive" else f" against {against}",
        (f", {words.when(row.at, zone)}, {row.blind_references:,} blind references", "dim"),
    )  # fmt: skip
    try:
        report = GateReport.from_json(row.report)
    except (ValueError, KeyError, TypeError):
        return Group(head, Text("Its figures cannot be read.", style="dim"))
    table = _table(report, width)
    reasons = [Text(f"• {reason}") for reason in report.reasons]
    notes = [Text(f"  {note}", style="dim") for note in report.notes]
    return Group(head, *((Text(""), table) if table else ()), Text(""), *reasons, *notes)


def _table(report: GateReport, width: int) -> Table | None:
    from rich.table import Table

    from engine.scoring.gate import LABELS

    blind = report.blind
    if not blind.conversations:
        return None
    systems = [(key, label) for key, label in _SYSTEMS if key in blind.systems]
    # The candidate and the difference always; of the others as many as there is room for.
    systems = systems[: max(1, (width - _LABEL) // _FIGURE - 1)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", style="bold", no_wrap=True)
    for _, label in systems:
        table.add_column(label, justify="right", no_wrap=True)
    table.add_column(f"− {report.against}", justify="right", no_wrap=True)
    for name in _FIGURES[: 4 if len(systems) == 1 else None]:
        if not any(blind.systems[key].get(name) for key, _ in systems):
            continue
        difference = blind.differences.get(name)
        table.add_row(
            LABELS[name],
            *(_interval(blind.systems[key].get(name), name) for key, _ in systems),
            _interval(difference, name, sign="+", tell=name in ("rougeL", "content_f1")),
        )
    return table


def _interval(found: Interval | None, name: str, *, sign: str = "", tell: bool = False) -> Text:
    if found is None:
        return Text("–", style="dim")
    form = f"{sign}.{2 if name == 'length_ratio' else 1}f"
    style = "green" if tell and found.low > 0 else "red" if tell and found.high < 0 else ""
    return Text.assemble((f"{found.mean:{form}}", style), (f" [{found.low:{form}}, {found.high:{form}}]", "dim"))
