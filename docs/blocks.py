"""Blocks of generated text within hand-written documents; see :mod:`docs.build`."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from benchmarks.report import RESULTS, Table

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = (
    "startup",
    "memory",
    "threads",
    "throughput",
    "support",
    "training",
    "pairs",
    "learning",
    "gate",
    "faults",
    "acceptance",
    "discord_bot",
    "console",
)


def benchmark(name: str) -> str:
    """The committed tables of one benchmark, with the command and the machine that made them."""
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return f"Not measured yet: `python -m benchmarks.{name} --write`."
    result = json.loads(path.read_text(encoding="utf-8"))
    tables = "\n\n".join(Table.from_json(table).markdown() for table in result["tables"])
    return f"{tables}\n\nMeasured with `{result['command']}` on {result['machine']}."


def demo() -> str:
    """The beginning of what ``make demo`` printed."""
    text = (ROOT / "docs" / "demo.txt").read_text(encoding="utf-8")
    return f"```text\n{text.rstrip()}\n```"


def tree() -> str:
    """Every source file with the first sentence of its contract."""
    lines = ["```text"]
    for package in ("bot", "engine", "admin", "storage", "benchmarks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "versions" in path.parts:
                continue
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            first = doc.split("\n\n", maxsplit=1)[0].replace("\n", " ").replace("``", "").split(". ")[0].rstrip(".")
            lines.append(f"{path.relative_to(ROOT).as_posix():<34} {first}")
    return "\n".join([*lines, "```"])
