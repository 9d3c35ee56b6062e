"""How the gate's report looks on a terminal: one table for blind references, one for edited ones, the verdict and why.

It asks nobody anything: a report in, text out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from admin.present import plain_console
from engine.scoring.gate import LABELS, GateReport, Table
from engine.scoring.measuring import COLUMNS

if TYPE_CHECKING:
    import rich.table

    from engine.scoring.bootstrap import Interval

_SYSTEMS = (
    ("candidate", "candidate"),
    ("active", "active"),
    ("base", "base"),
    ("trivial", "first 3 turns"),
    ("people", "people"),
)
_COLOURS = {"better": "bold green", "worse": "bold red", "inconclusive": "bold yellow"}


def print_gate(report: GateReport) -> None:
    """Print what the gate says, for people."""
    out = plain_console()
    for table, title in ((report.blind, "Blind references"), (report.edited, "Edited references (decide nothing)")):
        if table.conversations:
            out.print(_table(table, report.against, title))
            out.print()
    out.print(f"Verdict: {report.verdict}", style=_COLOURS[report.verdict])
    for reason in report.reasons:
        out.print(f"  {reason}")
    for note in report.notes:
        out.print(f"  {note}", style="dim")
    if report.missing:
        out.print(
            f"  {report.missing} more conversations with a blind reference are needed: imported ones, or corrections "
            "written without a draft. `redraft pairs stats` says when they can be there.",
            style="dim",
        )


def _table(table: Table, against: str, title: str) -> rich.table.Table:
    from rich.table import Table as RichTable

    count = f"{table.conversations:,} conversations, {table.references:,} references"
    shown = RichTable(title=f"{title}: {count}; mean and 95% interval", title_justify="left", pad_edge=False)
    shown.add_column("")
    systems = [(key, label) for key, label in _SYSTEMS if key in table.systems]
    for _, label in systems:
        shown.add_column(label, justify="right")
    shown.add_column(f"candidate − {against}", justify="right")
    for name in COLUMNS:
        shown.add_row(
            LABELS[name],
            *(_cell(table.systems[key].get(name)) for key, _ in systems),
            _cell(table.differences.get(name), signed=True),
        )
    return shown


def _cell(found: Interval | None, *, signed: bool = False) -> str:
    """The mean and its interval; a narrow terminal breaks the line between the two."""
    if found is None:
        return ""
    sign = "+" if signed else ""
    return f"{found.mean:{sign}.1f} [{found.low:{sign}.1f},\N{NO-BREAK SPACE}{found.high:{sign}.1f}]"
