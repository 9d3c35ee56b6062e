"""Tokens a second: 32 concurrent requests through the engine's batcher against the plain loop, on the same weights.

The plain loop is one `generate` after another, as a script would write it. Both sides write exactly 64 tokens for each
of the same prompts, whose lengths are mixed, in the same process, turn about, on one loaded model. What the expansion
of the 4-bit weights gains by itself is measured apart, loop against loop.

    python -m benchmarks.throughput [--model NAME] [--requests N] [--repeats N] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.listening import Counting
from benchmarks.report import Table, finish
from engine.batching import Batcher
from engine.local import load_model
from engine.protocols import Row, TextModel
from engine.settings import EngineSettings
from engine.worker import BatchDone

NEW_TOKENS = 64
#: Shares of the longest prompt, as conversations come: many short ones, a few that fill the context.
SHARES = (0.05, 0.08, 0.12, 0.2, 0.3, 0.45, 0.65, 0.95)
LONGEST = 512
_PEOPLE = ("Ana", "Tomas", "Priya", "Kofi", "Mei", "Lars")
_SAID = (
    "the export job failed again last night because the disk was full.",
    "can someone look at the invoice for March before we send it?",
    "I moved the review to Monday at 14:30, please say if that is too early.",
    "the new login page is live, but the password reset still goes to the old one.",
    "thanks, I will try that and report back after lunch.",
)


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: of each repeat, seconds on the clock and of the processor, for so many tokens."""

    seconds: tuple[float, ...]
    processor: tuple[float, ...]
    tokens: int

    @property
    def rate(self) -> float:
        """Generated tokens a second, of the median repeat."""
        return self.tokens / statistics.median(self.seconds)

    @property
    def work(self) -> float:
        """Processor seconds of the median repeat: steadier than the clock where other programs run."""
        return statistics.median(self.processor)


def prompts(model: TextModel, count: int, seed: int = 3) -> list[Row]:
    """``count`` rows of mixed length, shuffled; each writes exactly 64 tokens."""
    chance = random.Random(seed)
    room = min(LONGEST, model.info.context_tokens - (0 if model.info.encoder_decoder else NEW_TOKENS))
    rows = []
    for number in range(count):
        wanted = int(room * SHARES[number % len(SHARES)])
        text = ""
        while True:
            longer = f"{text}\n{chance.choice(_PEOPLE)}: {chance.choice(_SAID)}".strip()
            if text and model.count_tokens([longer])[0] > wanted:
                break
            text = longer
        rows.append(Row(text, NEW_TOKENS, NEW_TOKENS, prompt_tokens=model.count_tokens([text])[0]))
    chance.shuffle(rows)
    return rows


def loop(model: TextModel, rows: Sequence[Row]) -> int:
    """One `generate` after another: tokens written."""
    heard = Counting()
    for row in rows:
        model.generate([row], heard)
    return heard.tokens


async def engine(model: TextModel, rows: Sequence[Row], settings: EngineSettings) -> tuple[int, list[BatchDone]]:
    """All requests at once, each streamed to its end, through the batcher: tokens written, and the batches."""
    batches: list[BatchDone] = []
    batcher = Batcher(model, settings, on_batch=batches.append)
    batcher.start()

    async def ask(number: int, row: Row) -> int:
        (handle,) = await batcher.submit([row], f"request-{number}")
        async for _ in handle.texts():
            pass
        return (await handle.result()).output_tokens

    tokens = sum(await asyncio.gather(*(ask(number, row) for number, row in enumerate(rows))))
    await batcher.close()
    return tokens, batches


def compare(model: TextModel, rows: list[Row], settings: EngineSettings, repeats: int) -> tuple[Side, Side, int]:
    """Both sides, turn about, after a warm-up of each; and how many batches the engine made."""
    loop(model, rows[:1])
    asyncio.run(engine(model, rows[:4], settings))
    plain: list[tuple[float, float]] = []
    batched: list[tuple[float, float]] = []
    batches: list[BatchDone] = []
    total = len(rows) * NEW_TOKENS
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        tokens = loop(model, rows)
        plain.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        assert tokens == total, f"the loop wrote {tokens} tokens"
        start = time.perf_counter(), time.process_time()
        tokens, batches = asyncio.run(engine(model, rows, settings))
        batched.append((time.perf_counter() - start[0], time.process_time() - start[1]))
        assert tokens == total, f"the engine wrote {tokens} tokens"
        print(f"  loop {plain[-1][0]:.1f} s, engine {batched[-1][0]:.1f} s", file=sys.stderr, flush=True)
    return _side(plain, total), _side(batched, total), len(batches)


def _side(measured: Sequence[tuple[float, float]], tokens: int) -> Side:
    return Side(tuple(clock for clock, _ in measured), tuple(work for _, work in measured), tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    settings = EngineSettings(engine_model=arguments.model, engine_threads=arguments.threads)
    model = load_model(settings)
    device = model.info.device
    sides: dict[str, TextModel] = {model.info.representation: model}
    if device == "cpu":
        # On a CPU both representations are measured, whichever of them the settings choose there.
        for wanted in ("never", "always"):
            other = load_model(settings.model_copy(update={"engine_expand": wanted}))
            sides.setdefault(other.info.representation, other)

    results = {}
    for name in sorted(sides):
        print(f"{name}, {arguments.requests} requests:", file=sys.stderr, flush=True)
        rows = prompts(sides[name], arguments.requests)
        results[name] = compare(sides[name], rows, settings, arguments.repeats)
    lengths = [row.prompt_tokens for row in prompts(model, arguments.requests)]

    table = Table(
        f"{arguments.requests} concurrent requests, prompts of {min(lengths)} to {max(lengths)} tokens, "
        f"{NEW_TOKENS} new tokens each ({model.info.label}, {device})",
        ["weights", "plain loop, tokens/s", "engine, tokens/s", "engine over loop", "processor time", "batches"],
        [
            [
                name,
                f"{plain.rate:.1f}",
                f"{batched.rate:.1f}",
                f"{batched.rate / plain.rate:.2f}x",
                f"{plain.work / batched.work:.2f}x less",
                str(count),
            ]
            for name, (plain, batched, count) in results.items()
        ],
    )
    tables = [table]
    expansion = None
    if {"nf4", "nf4-expanded"} <= set(results):
        nf4, dense = results["nf4"], results["nf4-expanded"]
        expansion = {
            "loop": round(dense[0].rate / nf4[0].rate, 2),
            "engine": round(dense[1].rate / nf4[1].rate, 2),
        }
        rows_of = [["plain loop", f"{expansion['loop']:.2f}x"], ["engine", f"{expansion['engine']:.2f}x"]]
        tables.append(
            Table("What expanding the 4-bit weights gains by itself", ["side", "expanded over 4-bit"], rows_of)
        )
    served = results[model.info.representation]
    finish(
        "throughput",
        tables,
        {
            "model": model.info.label,
            "device": device,
            "served_as": model.info.representation,
            "requests": arguments.requests,
            "new_tokens": NEW_TOKENS,
            "prompt_tokens": sorted(lengths),
            "engine_over_loop": round(served[1].rate / served[0].rate, 2),
            "tokens_per_second_one_stream": round(served[0].rate, 1),
            "tokens_per_second_all": round(served[1].rate, 1),
            "expanded_over_nf4": expansion,
            "processor_time_loop_over_engine": round(served[0].work / served[1].work, 2),
            "seconds": {
                name: {"loop": [round(s, 2) for s in plain.seconds], "engine": [round(s, 2) for s in batched.seconds]}
                for name, (plain, batched, _) in results.items()
            },
            "load_of_the_machine": round(os.getloadavg()[0], 1),
        },
        write=arguments.write,
    )


if __name__ == "__main__":
    main()
