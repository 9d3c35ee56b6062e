"""Which examples go into which step, and how they become tensors.

Steps are made of examples of similar length, so that little is padding; which ones, and in which order, is drawn anew
for each pass from the seed and the number of the pass alone: whoever resumes at a step gets the same batches.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.training.examples import Example

if TYPE_CHECKING:
    import torch

#: Lengths are blurred by up to this share before they are sorted, so that batches differ from pass to pass.
_BLUR = 0.1
#: Most tokens, padding included, of one forward pass, by device, the first that fits into memory; one example alone may
#: have more. What is kept for the backward pass grows with them. On two cores the starter took 0.8 of the processor's
#: time with 4096 that it took with 2048, and no less with 8192.
FORWARD_TOKENS = {"cpu": (4096, 2048), "cuda": (8192,)}
#: What a label is where there is nothing to learn.
IGNORED = -100


def grouped(examples: Sequence[Example], size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """The steps of one pass: places of ``examples``, each once, ``size`` to a step, similar lengths together.

    The first pass begins with the longest step: memory that does not suffice shows at once.
    """
    chance = random.Random(f"{seed}/{epoch}")  # noqa: S311 - to be drawn again, not to be secret
    key = {at: example.size * (1 + chance.uniform(0, _BLUR)) for at, example in enumerate(examples)}
    order = sorted(key, key=lambda at: (-key[at], at))
    steps = [order[at : at + size] for at in range(0, len(order), size)]
    first = steps[:1] if epoch == 0 else []
    rest = steps[len(first) :]
    chance.shuffle(rest)
    return first + rest


def passes(step: Sequence[int], examples: Sequence[Example], *, room: int, least: int = 1) -> list[list[int]]:
    """A step cut into forward passes, ``least`` at least and each of at most ``room`` tokens."""
    order = sorted(step, key=lambda at: (-examples[at].size, at))
    most = math.ceil(len(order) / least)
    parts: list[list[int]] = []
    widest = 0
    for at in order:
        if not parts or len(parts[-1]) == most or (len(parts[-1]) + 1) * widest > room:
            parts.append([])
            widest = examples[at].size
        parts[-1].append(at)
    return parts


@dataclass(slots=True)
class Batch:
    """One forward pass as tensors, padded on the right.

    Attributes:
        input_ids: (rows, longest): the prompt; for a decoder-only model with the answer behind it.
        attention_mask: of the same shape.
        labels: (rows, longest): what to write, ``IGNORED`` where there is nothing to learn; of an encoder-decoder
            model (rows, longest answer).
        real: tokens that are no padding.
        padded: tokens with padding.
        wanted: labels to learn.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    labels: torch.Tensor
    real: int
    padded: int
    wanted: int


def collate(rows: Sequence[Example], *, encoder_decoder: bool, pad: int, device: str) -> Batch:
    """Tensors of some examples on a device."""
    inputs = [row.source if encoder_decoder else [*row.source, *row.target] for row in rows]
    outputs = [row.target if encoder_decoder else [*[IGNORED] * len(row.source), *row.target] for row in rows]
    input_ids, mask = _padded(inputs, pad)
    labels, _ = _padded(outputs, IGNORED)
    real = sum(row.size for row in rows)
    padded = input_ids.numel() + (labels.numel() if encoder_decoder else 0)
    wanted = sum(len(row.target) for row in rows)
    return Batch(input_ids.to(device), mask.to(device), labels.to(device), real, padded, wanted)


def _padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[torch.Tensor, torch.Tensor]:
    from torch import full, long, tensor, zeros

    longest = max(len(row) for row in rows)
    ids = full((len(rows), longest), fill, dtype=long)
    mask = zeros((len(rows), longest), dtype=long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = tensor(row, dtype=long)
        mask[i, : len(row)] = 1
    return ids, mask
