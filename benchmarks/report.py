"""How a benchmark ends: tables for people, then one JSON line, and with ``--write`` the same in benchmarks/results/.

The tables are part of the result, so that ``make docs`` puts exactly what was measured into ``docs/``. A result says
what machine it was measured on, in words that identify nobody.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a result; cells are strings, formatted by whoever measured."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """The table in Markdown under its title in bold."""
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(row) + " |" for row in self.rows]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The table as it stands in a result file; :meth:`from_json` reads it back."""
        return {"title": self.title, "columns": list(self.columns), "rows": [list(row) for row in self.rows]}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Table:
        """The table that :meth:`as_json` wrote."""
        return cls(found["title"], found["columns"], found["rows"])


def machine() -> str:
    """The machine in words: cores, memory, processor architecture, Python."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GB, {platform.machine()}, Python {platform.python_version()}"


def finish(name: str, tables: Sequence[Table], result: dict[str, Any], *, write: bool) -> None:
    """Print the tables and the JSON line; keep the result when asked to.

    Args:
        name: the benchmark's module name; its result is ``benchmarks/results/NAME.json``.
        tables: for people.
        result: JSON-serialisable figures; ``benchmark``, ``command`` and ``machine`` are added unless given.
        write: keep it.
    """
    about = {"benchmark": name, "command": f"python -m benchmarks.{name} --write", "machine": machine()}
    whole = {**about, **result, "tables": [table.as_json() for table in tables]}
    print("\n\n".join(table.markdown() for table in tables))
    print()
    print(json.dumps(whole))
    if write:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(whole, indent=2, ensure_ascii=False) + "\n"
        (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")
