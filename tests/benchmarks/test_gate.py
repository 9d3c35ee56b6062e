"""What the gate's benchmark says of a run's CPU time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import gate

_BURN = "import time\nwhile time.process_time() < 0.4: pass"
_NAMED = "each run at most 2 minutes of CPU"


def test_the_cpu_time_of_a_command_includes_that_of_the_process_it_starts() -> None:
    starts = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BURN!r}], check=True)"

    def work() -> dict[str, Any]:
        subprocess.run([sys.executable, "-c", starts], check=True)
        return {"done": True}

    found, spent = gate.cpu_seconds(work)
    assert found == {"done": True}
    assert 0.4 <= spent < 30
    assert gate.cpu_seconds(dict)[1] < 0.1  # and nothing of what was before


@pytest.mark.parametrize(("spent", "met"), [((12.0, 120.0), True), ((12.0, 120.5), False), ((12.0, None), False)])
def test_the_result_shows_each_runs_cpu_time_and_whether_all_keep_the_limit(
    spent: tuple[float | None, ...], met: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    gate.report([_run(at, seconds) for at, seconds in enumerate(spent)], write=False)
    written = capsys.readouterr().out
    result = json.loads(written.splitlines()[-1])
    assert result["targets"][_NAMED] is met
    assert result["most_cpu_seconds"] == max(one for one in spent if one is not None)
    table = result["tables"][1]
    column = table["columns"].index("CPU seconds")
    assert [row[column] for row in table["rows"]] == [f"{one:.1f}" if one is not None else "–" for one in spent]


def _run(at: int, cpu: float | None) -> dict[str, Any]:
    found: dict[str, Any] = {
        "kind": "honest",
        "run": at,
        "what": "honest",
        "pairs": 500,
        "steps": 31,
        "conversations": 80,
        "metrics": {"seconds": 60.0},
        "gate": {"verdict": "better"},
        "differences": {},
        "unchecked": "better",
    }
    return found if cpu is None else found | {"cpu_seconds": cpu}
