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
    import rich.text

    from engine.scoring.bootstrap import Interval

_SYSTEMS = (
    ("candidate", "candidate"),
    ("active", "active"),
    ("base", "base"),
    ("trivial", "first 3 turns"),
)
_COLOURS = {"better": "bold green", "worse": "bold red", "inconclusive": "bold yellow"}


def print_gate(report: GateReport) -> None:
    """Print what the gate says, for people."""
    out = plain_console()
    for table, title in ((report.blind, "Blind references"), (report.edited, "Edited references (decide nothing)")):
        if table.conversations:
            out.print(_table(table, report.against, title))
            if people := _people(table):
                out.print(people, style="dim")
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
    from rich import box
    from rich.table import Table as RichTable

    count = f"{table.conversations:,} conversations, {table.references:,} references"
    shown = RichTable(
        title=f"{title}: {count}; mean and 95% interval",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
    )
    shown.add_column("")
    systems = [(key, label) for key, label in _SYSTEMS if key in table.systems]
    for _, label in systems:
        shown.add_column(label, justify="right", overflow="fold")
    shown.add_column(f"candidate − {against}", justify="right", overflow="fold")
    for name in COLUMNS:
        shown.add_row(
            LABELS[name],
            *(_cell(table.systems[key].get(name), name) for key, _ in systems),
            _cell(table.differences.get(name), name, sign="+"),
        )
    return shown


def _people(table: Table) -> str:
    """What the references themselves are like, in a sentence."""
    people = table.systems.get("people", {})
    novelty, unsupported = people.get("novelty"), people.get("unsupported")
    if novelty is None or unsupported is None:
        return ""
    return f"People's own references: novelty {novelty.mean:.1f} %, unsupported {unsupported.mean:.1f} %."


def _cell(found: Interval | None, name: str, *, sign: str = "") -> rich.text.Text:
    """The mean and its interval; a narrow terminal breaks the line between the two."""
    from rich.text import Text

    if found is None:
        return Text()
    form = f"{sign}.{2 if name == 'length_ratio' else 1}f"
    return Text.assemble(f"{found.mean:{form}} ", (f"{found.low:{form}}…{found.high:{form}}", "dim"))
