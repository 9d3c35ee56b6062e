"""`redraft up` killed with SIGKILL: its engine and its bot end too, and the next `redraft up` starts at once."""

from __future__ import annotations

import random
import signal
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from storage.home import Home
from storage.settings import StorageSettings
from tests.engine.processes import redraft, wait_until

FULL_ROUNDS = 10
_SETTINGS = {"ENGINE_PORT": "0", "ENGINE_EXPAND": "always", "ENGINE_THREADS": "1", "ENGINE_DRAIN_SECONDS": "5"}
#: When to kill, by what was said last: while the model loads, or when it serves.
_MOMENTS = ("Starting the engine", "The engine answers on", "The engine is ready")


def run(rounds: int, seed: int) -> dict[str, object]:
    """Kill so many.

    Raises:
        AssertionError: a process outlived its supervisor, or the next one did not start.
    """
    from tests.engine.tiny import make

    chance = random.Random(seed)
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        model = make("bart", Path(folder) / "tiny")
        home = Home.create(StorageSettings(redraft_home=Path(folder) / "home"))
        for _ in range(rounds):
            with redraft("up", home=home, ENGINE_MODEL=str(model), **_SETTINGS) as up:
                up.until_it_says(chance.choice(_MOMENTS))
                wait_until(lambda up=up: len(_children(up.process.pid)) == 2, "both children run")  # type: ignore[misc]
                children = _children(up.process.pid)
                up.signal(signal.SIGKILL)
                start = time.monotonic()
                up.process.wait()
                wait_until(
                    lambda children=children: not any(_lives(child) for child in children),  # type: ignore[misc]
                    "the children of a killed `redraft up` end",
                )
                seconds.append(time.monotonic() - start)
        with redraft("up", home=home, ENGINE_MODEL=str(model), **_SETTINGS) as up:
            up.until_it_says("The engine is ready")
            up.signal(signal.SIGTERM)
            code = up.ends()
    assert code == 0, f"the `redraft up` after the kills ended with {code}"
    return {
        "supervisors_killed": rounds,
        "processes_left": 0,
        "median_s_until_all_ended": round(statistics.median(seconds), 1),
    }


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
