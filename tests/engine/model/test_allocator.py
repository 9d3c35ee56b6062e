"""Memory that was freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Small blocks with a few in between kept: what glibc would hold on to. In a process of its own, whose heap is its own.
_CODE = """
import psutil
from engine.model.allocator import give_back
kept = [bytes(2000) for _ in range(100_000)]
kept = kept[::1000]
before = psutil.Process().memory_info().rss
give_back()
print((before - psutil.Process().memory_info().rss) // 10**6)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator is Linux's")
def test_freed_memory_between_kept_blocks_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _CODE],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PYTHONMALLOC": "malloc", "PYTHONPATH": ":".join(sys.path)},
    )
    assert int(done.stdout) > 50
