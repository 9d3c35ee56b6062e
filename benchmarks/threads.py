"""Time and memory of summarising threads of 10, 100, 1,000 and 10,000 messages with the starter model, in-process.

Each size runs in a process of its own, so that its peak memory is its own; the model is loaded and has written one
short summary before the clock starts. Time is at most linear when no size takes longer a message than the one before
it, by more than noise; memory is flat when 10,000 messages peak at most 300 MB above 100. `--sizes` takes others,
`--write` keeps the figures in `benchmarks/results/threads.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish

SIZES = (10, 100, 1_000, 10_000)
MEMORY_LIMIT_MB = 300
#: A size may take this much longer a message than the one before it and still count as linear on a noisy machine.
NOISE = 1.25

PEOPLE = ("Ana", "Ben", "Cleo", "Dov", "Eve", "Finn", "Gita")
THINGS = ("export job", "login page", "billing report", "search index", "mail queue", "backup disk", "mobile app")
SAID = (
    "The {thing} of customer {n} fails again since this morning.",
    "I looked into the {thing}, it ran out of memory after {n} rows.",
    "Can somebody restart the {thing} please?",
    "Done, the {thing} is back, it took {n} seconds.",
    "Thanks! I will write down what happened with the {thing} by Friday.",
    "Customer {n} asks when the {thing} will be fixed for good, they have lost a day of work over it by now.",
)


def thread(size: int) -> Any:
    """An invented thread of `size` messages, the same every time."""
    from engine.conversation import Conversation, Message

    dice = random.Random(7)
    messages = tuple(
        Message(
            str(at), dice.choice(PEOPLE), dice.choice(SAID).format(thing=dice.choice(THINGS), n=dice.randint(2, 999))
        )
        for at in range(size)
    )
    return Conversation(f"thread-{size}", messages)


async def measure(size: int, threads: int) -> dict[str, Any]:
    """Seconds, peak memory and what was read and written for one thread; run in a process of its own."""
    from engine.local import LocalClient
    from engine.requests import Finished, SummaryRequest
    from engine.settings import EngineSettings

    client = LocalClient(EngineSettings(engine_threads=threads))
    try:
        async for _ in client.summarize(SummaryRequest(thread(3))):
            pass
        loaded = _peak_mb()
        conversation = thread(size)
        began = time.perf_counter()
        first = last = None
        async for event in client.summarize(SummaryRequest(conversation)):
            first = first or (time.perf_counter() - began if event.event in ("sentence", "progress") else None)
            last = event
        seconds = time.perf_counter() - began
    finally:
        await client.close()
    assert isinstance(last, Finished)
    result = last.result
    return {
        "messages": size,
        "seconds": round(seconds, 2),
        "seconds_to_first_news": round(first or seconds, 2),
        "peak_mb": round(_peak_mb()),
        "loaded_mb": round(loaded),
        "parts": result.coverage.parts,
        "input_tokens": result.input_tokens,
        "output_tokens": result.output_tokens,
    }


def _peak_mb() -> float:
    """Largest resident size of this process so far (ru_maxrss is in KB on Linux, in bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="messages in each thread")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of the model; 0 is the library's choice")
    parser.add_argument("--write", action="store_true", help="keep the figures in benchmarks/results/threads.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(asyncio.run(measure(options.one, options.threads))))
        return
    measured = []
    for size in options.sizes:
        command = [sys.executable, "-m", "benchmarks.threads", "--one", str(size), "--threads", str(options.threads)]
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                command,
                check=True,
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parent.parent,
                env=_environment(home),
            )
        measured.append(json.loads(done.stdout.splitlines()[-1]))
        print(f"{size} messages: {measured[-1]['seconds']} s", file=sys.stderr)
    finish("threads", *_report(measured), write=options.write)


def _environment(home: str) -> dict[str, str]:
    """This process's environment without settings of the project, so that the starter is what is measured."""
    import os

    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ENGINE_", "REDRAFT_"))}
    return {**kept, "REDRAFT_HOME": home}


def _report(measured: list[dict[str, Any]]) -> tuple[list[Table], dict[str, Any]]:
    """The table, and the figures with whether time is linear and memory flat."""
    rows = [
        [
            f"{one['messages']:,}",
            f"{one['parts']}",
            f"{one['seconds']:.1f}",
            f"{1000 * one['seconds'] / one['messages']:.1f}",
            f"{one['peak_mb']}",
            f"{one['input_tokens']:,}",
            f"{one['output_tokens']:,}",
        ]
        for one in measured
    ]
    columns = ["messages", "parts", "seconds", "ms a message", "peak MB", "tokens read", "tokens written"]
    a_message = [one["seconds"] / one["messages"] for one in measured]
    linear = all(after <= NOISE * before for before, after in pairwise(a_message))
    by_size = {one["messages"]: one for one in measured}
    low, high = by_size.get(100, measured[0]), measured[-1]
    above = high["peak_mb"] - low["peak_mb"]
    figures = {
        "model": "starter",
        "threads": measured,
        "time_at_most_linear": linear,
        "mb_above_baseline": above,
        "memory_flat": above <= MEMORY_LIMIT_MB,
    }
    return [Table("Threads through the starter, one process each", columns, rows)], figures


if __name__ == "__main__":
    main()
