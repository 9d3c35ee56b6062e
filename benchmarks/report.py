"""How a benchmark ends: a table for people, then one JSON line, and with ``--write`` the same in benchmarks/results/.

``make docs`` makes the tables in ``docs/`` from those files. A result says what machine it was measured on, in words
that identify nobody.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def machine() -> str:
    """The machine in words: cores, memory, processor architecture, GPU where the caller knows of one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {memory:.0f} GB, {platform.machine()}, Python {platform.python_version()}"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table under a title; numbers are the caller's to format."""
    lines = [title, "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def finish(name: str, text: str, result: dict[str, Any], *, write: bool) -> None:
    """Print ``text`` and the JSON line; keep the result when asked to.

    Args:
        name: the benchmark's; its result is ``benchmarks/results/NAME.json``.
        text: tables for people, from :func:`table`.
        result: JSON-serialisable figures; ``benchmark``, ``machine`` and ``command`` are added.
        write: keep it.
    """
    whole = {"benchmark": name, "command": f"python -m benchmarks.{name} --write", "machine": machine(), **result}
    print(text)
    print()
    print(json.dumps(whole))
    if write:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
