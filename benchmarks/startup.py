"""Start-up time of the command line against the bare libraries it stands on.

``redraft --help`` and a database command with nothing to do against ``python -c "import typer, rich"``: medians of N
runs, the three taken in turn so that a drift of the machine's speed falls on all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import Table, finish

#: What is allowed, as a multiple of the baseline's median.
LIMITS = {"help": 2.5, "database": 7.0, "backup": 7.0}


def measure(runs: int) -> dict[str, list[float]]:
    """Seconds of each command, ``runs`` times, interleaved, after one uncounted round."""
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "REDRAFT_HOME": home}
        commands = {
            "baseline": [sys.executable, "-c", "import typer, rich"],
            "help": [sys.executable, "-m", "admin.cli", "--help"],
            "database": [sys.executable, "-m", "admin.cli", "db", "upgrade"],
            # Refused at its first check, once all that it needs is imported: the start without the work.
            "backup": [sys.executable, "-m", "admin.cli", "backup", str(Path(__file__).parent)],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for turn in range(runs + 1):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(
                    command,
                    check=name != "backup",
                    env=environment,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                if turn:
                    times[name].append(time.perf_counter() - start)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    medians = {name: statistics.median(seconds) for name, seconds in measure(arguments.runs).items()}
    ratios = {name: medians[name] / medians["baseline"] for name in LIMITS}
    labels = {
        "help": "`redraft --help`",
        "database": "`redraft db upgrade` (nothing to do)",
        "backup": "`redraft backup` (to its first check)",
    }
    rows = [["`import typer, rich`", f"{medians['baseline'] * 1000:.0f}", "1.0", "–"]]
    for name, limit in LIMITS.items():
        rows.append([labels[name], f"{medians[name] * 1000:.0f}", f"{ratios[name]:.1f}", f"{limit}"])
    title = f"Start-up, median of {arguments.runs}"
    result = {
        "runs": arguments.runs,
        "milliseconds": {name: round(median * 1000, 1) for name, median in medians.items()},
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "limits": LIMITS,
    }
    columns = ["command", "ms", "times the baseline", "allowed"]
    finish("startup", [Table(title, columns, rows)], result, write=arguments.write)


if __name__ == "__main__":
    main()
