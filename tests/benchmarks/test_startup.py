"""Start-up stays within its bounds, as ratios against the bare libraries in the same run."""

from __future__ import annotations

import json

import pytest

from benchmarks.report import RESULTS
from benchmarks.startup import LIMITS, measure

#: Slack over the bound for three runs on a machine that runs other tests beside; the benchmark itself has none.
_SLACK = 1.6


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_committed_result_is_within_the_bound(name: str) -> None:
    result = json.loads((RESULTS / "startup.json").read_text(encoding="utf-8"))
    assert result["runs"] >= 10
    assert result["ratios"][name] <= LIMITS[name]


def test_start_up_now_is_within_the_bound_with_slack() -> None:
    # The quickest of each: what else runs meanwhile slows one command and not the other.
    times = {name: min(seconds) for name, seconds in measure(3).items()}
    for name, limit in LIMITS.items():
        assert times[name] / times["baseline"] <= limit * _SLACK, (name, times)
