"""Importing 100,000 pairs: time, and memory above an import of 1,000; and what lists and counts of them take.

Each import runs in a process of its own, whose peak (``ru_maxrss``) is what is compared. The rows are invented by rule:
dialogues of a few dozen to a few hundred words, one in a hundred nearly the same as one before it. What the lists and
counts take is the median of several calls on the database that the import made, within one process.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish

#: What is allowed: MB above the small import, and milliseconds of a list or a count.
ALLOWED_MB = 200
ALLOWED_MS = 300
_CALLS = 7
_PEOPLE = ("Ana", "Kofi", "Mei", "Lars", "Ruth", "Omar")


def write_rows(path: Path, count: int) -> None:
    """Invented pairs as JSON lines, the same for the same count."""
    chance = random.Random(20)
    words = ["".join(chance.choice("abcdefghijklmnoprstuvz") for _ in range(chance.randint(2, 9))) for _ in range(8000)]
    weights = [1 / (rank + 10) for rank in range(len(words))]

    def say(least: int, most: int) -> str:
        return " ".join(chance.choices(words, weights, k=chance.randint(least, most))).capitalize() + "."

    turns: list[str] = []
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            if number % 100 or not turns:
                turns = [f"{_PEOPLE[at % len(_PEOPLE)]}: {say(4, 24)}" for at in range(chance.randint(3, 14))]
            else:
                turns[-1] = f"{_PEOPLE[0]}: {say(2, 4)}"
            row = {"id": f"row-{number}", "dialogue": "\n".join(turns), "summary": say(12, 40)}
            file.write(json.dumps(row) + "\n")


def do_import(home: Path, file: Path) -> dict[str, Any]:
    """Import a file; runs in a process of its own."""
    from engine.learning.importing import Options, import_pairs
    from storage.database import Database
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load(redraft_home=home, database_url=None))
    started = time.perf_counter()
    stages: dict[str, float] = {}

    def tell(what: str, _rows: int) -> None:
        stages.setdefault(what, time.perf_counter() - started)

    done = import_pairs(database, file, Options(source="invented", approve=True), by="local:benchmark", tell=tell)
    seconds = time.perf_counter() - started
    return {
        "added": done.added,
        "splits": done.splits,
        "seconds": round(seconds, 1),
        "seconds_writing": round(seconds - stages.get("Storing", seconds), 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "database_mb": round((home / "redraft.db").stat().st_size / 1e6, 1),
    }


def do_queries(home: Path) -> dict[str, float]:
    """Median milliseconds of lists and counts; runs in a process of its own."""
    from engine.learning import selection
    from engine.learning.pairs import list_pairs
    from engine.learning.settings import LearningSettings
    from engine.learning.stats import stats
    from storage.database import Database
    from storage.pair_filters import PairFilter
    from storage.settings import StorageSettings

    database = Database.open(StorageSettings.load(redraft_home=home, database_url=None))
    settings = LearningSettings.load()
    with database.read() as session:
        lines = list_pairs(session, PairFilter(), limit=500)
    everything = selection.place_of("default", settings)
    calls: dict[str, Callable[[Any], object]] = {
        "list, first page": lambda session: list_pairs(session, PairFilter()),
        "list, a page of 500 further on": lambda session: list_pairs(
            session, PairFilter(), limit=500, after=lines[-1].id
        ),
        "list, of a scope": lambda session: list_pairs(session, PairFilter(within=everything)),
        "list, of a state that none is in": lambda session: list_pairs(session, PairFilter(state="rejected")),
        "list, of an author who wrote none": lambda session: list_pairs(session, PairFilter(author_id="slack:U0")),
        "list, of a source and a side": lambda session: list_pairs(
            session, PairFilter(source="invented", split="bridge")
        ),
        "stats": lambda session: stats(session, settings),
        "whether a run is due": lambda session: selection.new_pairs(session, "default", settings, None),
    }
    found = {}
    for name, call in calls.items():
        times = []
        for _ in range(_CALLS):
            with database.read() as session:
                started = time.perf_counter()
                call(session)
                times.append(1000 * (time.perf_counter() - started))
        found[name] = round(statistics.median(times), 1)
    return found


def in_a_process(task: str, home: Path, file: Path) -> Any:
    """Run one task of this file in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.pairs", "--task", task, "--home", str(home), "--file", str(file)],
        check=True,
        stdout=subprocess.PIPE,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--small", type=int, default=1_000)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        task = do_queries(arguments.home) if arguments.task == "queries" else do_import(arguments.home, arguments.file)
        print(json.dumps(task))
        return
    imports = {}
    with tempfile.TemporaryDirectory() as directory:
        for count in (arguments.small, arguments.pairs):
            file, home = Path(directory) / f"{count}.jsonl", Path(directory) / f"home-{count}"
            write_rows(file, count)
            imports[count] = in_a_process("import", home, file)
            file.unlink()
        queries = in_a_process("queries", home, file)
    small, large = imports[arguments.small], imports[arguments.pairs]
    above = round(large["peak_mb"] - small["peak_mb"], 1)
    rows = [
        [
            f"{count:,}",
            f"{one['seconds']:.1f}",
            f"{one['seconds_writing']:.1f}",
            f"{one['peak_mb']:.0f}",
            f"{one['database_mb']:.0f}",
        ]
        for count, one in imports.items()
    ]
    columns = ["pairs", "seconds", "of these, others wait to write", "peak memory, MB", "database, MB"]
    tables = [
        Table(f"Importing pairs; {above:.0f} MB above the small import, {ALLOWED_MB} allowed", columns, rows),
        Table(
            f"Looking at {arguments.pairs:,} pairs, median of {_CALLS}",
            ["query", "ms", "allowed"],
            [[name, f"{ms:.0f}", f"{ALLOWED_MS}"] for name, ms in queries.items()],
        ),
    ]
    result = {
        "imports": {str(count): one for count, one in imports.items()},
        "mb_above": above,
        "queries_ms": queries,
        "allowed": {"mb": ALLOWED_MB, "ms": ALLOWED_MS},
    }
    finish("pairs", tables, result, write=arguments.write)


if __name__ == "__main__":
    main()
