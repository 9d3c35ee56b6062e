"""Tokens a second of a fine-tune: steps grouped by length against steps in random order, on the same pairs and weights.

Every side does one pass over the same examples: forward, backward, and a step of AdamW for every 16. They differ in
which examples go together: *grouped by length* is what Redraft does; *random order, same bound* draws them at random
and cuts each step, as drawn, into forward passes of the same most tokens; *random order, one pass a step* is what a
trainer with a padding collator does unless told otherwise. All pad to the longest of their pass. They take turns in one
process, so that the ratios hold on a machine that does other things. Padding is not counted as tokens.

    python -m benchmarks.training [--model NAME] [--pairs N] [--repeats N] [--write]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import Table, finish
from engine.settings import EngineSettings
from engine.training.batches import collate, grouped, passes
from engine.training.examples import Example, Renderer
from engine.training.job import Hyper, Pair, Silent

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "tweetsumm.train.jsonl.gz"
OURS, BOUND, PLAIN = "grouped by length", "random order, same bound", "random order, one pass a step"
_SAMPLE_S = 0.005
_PEOPLE = ("Ana", "Tomas", "Priya", "Kofi")
_SAID = (
    "the export job failed again last night because the disk was full.",
    "can someone look at the invoice for March before we send it?",
    "I moved the review to Monday at 14:30, please say if that is too early.",
    "the new login page is live, but the password reset still goes to the old one.",
    "thanks, I will try that and report back after lunch.",
)

#: One pass over the examples: steps of the optimiser, each of forward passes, each of places of examples.
Order = list[list[list[int]]]


def read_pairs(count: int) -> tuple[list[Pair], str]:
    """Pairs, and where they are from: support dialogues beside the checkout, else invented ones of like lengths."""
    if DATA.exists():
        with gzip.open(DATA, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for _, line in zip(range(count), file, strict=False)]
        return [Pair(row["dialogue"], row["summary"]) for row in rows], "TweetSumm dialogues"
    chance = random.Random(11)
    pairs = []
    for _ in range(count):
        turns = range(min(40, round(chance.lognormvariate(2.6, 0.5))))
        dialogue = "\n".join(f"{chance.choice(_PEOPLE)}: {chance.choice(_SAID)}" for _ in turns)
        pairs.append(Pair(dialogue or f"Ana: {_SAID[0]}", " ".join(chance.sample(_SAID, 2))))
    return pairs, "invented dialogues"


def orders(examples: Sequence[Example], batch: int, room: int, *, seed: int) -> dict[str, Order]:
    """What each side does, by its name."""
    drawn = list(range(len(examples)))
    random.Random(seed).shuffle(drawn)
    at_random = [drawn[at : at + batch] for at in range(0, len(drawn), batch)]
    by_length = grouped(examples, batch, seed=seed, epoch=1)
    return {
        OURS: [passes(step, examples, room=room) for step in by_length],
        BOUND: [_as_drawn(step, examples, room) for step in at_random],
        PLAIN: [[step] for step in at_random],
    }


def _as_drawn(step: Sequence[int], examples: Sequence[Example], room: int) -> list[list[int]]:
    """A step cut where one more example would not fit, in the order in which it was drawn."""
    parts: list[list[int]] = []
    for at in step:
        widest = max((examples[other].size for other in [*parts[-1], at]), default=0) if parts else 0
        if not parts or (len(parts[-1]) + 1) * widest > room:
            parts.append([])
        parts[-1].append(at)
    return parts


@contextmanager
def peak_of(device: str) -> Iterator[list[int]]:
    """Most bytes of the device's memory taken during the block, as the only entry once it is over."""
    import torch

    from engine.model.allocator import give_back
    from engine.training.loop import memory_taken

    found: list[int] = []
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield found
        found.append(int(torch.cuda.max_memory_allocated()))
        return
    give_back()
    over, highest = threading.Event(), [memory_taken(device)]

    def watch() -> None:
        while not over.wait(_SAMPLE_S):
            highest[0] = max(highest[0], memory_taken(device))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield found
    finally:
        over.set()
        watcher.join()
        found.append(highest[0])


def train(forward: Any, optimiser: Any, examples: Sequence[Example], order: Order) -> tuple[int, int]:
    """One pass; real tokens, and tokens with padding."""
    from torch import nn

    from engine.model.allocator import give_back

    real = padded = 0
    learned = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    for step in order:
        wanted = sum(len(examples[at].target) for part in step for at in part)
        for part in step:
            rows = [examples[at] for at in part]
            batch = collate(rows, encoder_decoder=forward.encoder_decoder, pad=forward.pad, device=forward.device)
            (forward(batch) / wanted).backward()
            real, padded = real + batch.real, padded + batch.padded
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if forward.device == "cpu":
            give_back()
    return real, padded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--pairs", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

    import torch

    from engine.training.fine_tune import _forward, _plan
    from engine.training.lora import load_trainable, open_base

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings, hyper = EngineSettings(engine_model=arguments.model), Hyper()
    base = open_base(settings, Silent())
    pairs, source = read_pairs(arguments.pairs)
    examples, left_out = Renderer(base.info, base.tokens, end=base.end, first=base.first).examples(pairs)
    plan = _plan(base, settings, hyper, examples)
    model = load_trainable(base, hyper, plan)
    forward, device = _forward(base, model), base.machine.device
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=1e-5)

    train(forward, optimiser, examples, orders(examples, hyper.batch, plan.room, seed=0)[OURS][:1])
    seconds: dict[str, list[float]] = {OURS: [], BOUND: [], PLAIN: []}
    work: dict[str, list[float]] = {name: [] for name in seconds}
    peaks: dict[str, list[int]] = {name: [] for name in seconds}
    tokens: dict[str, list[int]] = {name: [0, 0] for name in seconds}
    for repeat in range(arguments.repeats):
        turn = list(orders(examples, hyper.batch, plan.room, seed=repeat).items())
        for name, order in turn[repeat % len(turn) :] + turn[: repeat % len(turn)]:
            with peak_of(device) as peak:
                start = time.perf_counter(), time.process_time()
                real, padded = train(forward, optimiser, examples, order)
                if device == "cuda":
                    torch.cuda.synchronize()
                seconds[name].append(time.perf_counter() - start[0])
                work[name].append(time.process_time() - start[1])
            peaks[name] += peak
            tokens[name] = [tokens[name][0] + real, tokens[name][1] + padded]
            print(f"  {name}: {seconds[name][-1]:.1f} s", file=sys.stderr, flush=True)

    total = sum(example.size for example in examples)
    rate = {name: total / statistics.median(found) for name, found in seconds.items()}
    by_work = {name: total / statistics.median(found) for name, found in work.items()}
    lengths = sorted(example.size for example in examples)
    table = Table(
        f"One pass over {len(examples)} {source} of {lengths[0]} to {lengths[-1]} tokens, {hyper.batch} to a step "
        f"({base.info.label}, {plan.representation}, {device})",
        ["steps", "tokens/s", "over it", "processor time", "padding", "peak memory"],
        [
            [
                name,
                f"{rate[name]:,.0f}",
                "" if name == OURS else f"{rate[OURS] / rate[name]:.2f}x",
                "" if name == OURS else f"{by_work[OURS] / by_work[name]:.2f}x less",
                f"{100 * (1 - tokens[name][0] / tokens[name][1]):.0f}%",
                f"{max(peaks[name]) / 1e9:.2f} GB",
            ]
            for name in seconds
        ],
    )
    finish(
        "training",
        [table],
        {
            "model": base.info.label,
            "device": device,
            "representation": plan.representation,
            "source": source,
            "examples": len(examples),
            "left_out": left_out,
            "tokens": total,
            "batch": hyper.batch,
            "most_tokens_of_a_pass": plan.room,
            "tokens_per_second": {name: round(found, 1) for name, found in rate.items()},
            "tokens_per_processor_second": {name: round(found, 1) for name, found in by_work.items()},
            "grouped_over_random_same_bound": round(rate[OURS] / rate[BOUND], 2),
            "grouped_over_random_one_pass": round(rate[OURS] / rate[PLAIN], 2),
            "peak_memory_bytes": {name: max(found) for name, found in peaks.items()},
            "planned_memory_bytes": plan.needed,
            "seconds": {name: [round(one, 2) for one in found] for name, found in seconds.items()},
            "load_of_the_machine": round(os.getloadavg()[0], 1),
        },
        write=arguments.write,
    )


if __name__ == "__main__":
    main()
