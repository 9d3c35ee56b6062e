"""The stages of the starter's training, and the loop that runs one and can go on where it was cut off.

Knows the model, the tasks and one working directory; nothing of the export. The loss is cross-entropy on the
target, plus a guide: where a target token is known to be a copy of a place in the source, the copying heads'
attention there is asked for directly. That turns the slow emergence of copying into supervised learning.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from transformers import BartForConditionalGeneration

from engine.starter.architecture import COPY_HEADS, COPY_LAYERS
from engine.starter.tasks import Corpus, Example

CHECKPOINT_SECONDS = 150


@dataclass(frozen=True)
class Stage:
    """One part of the curriculum.

    copying, reported, human: shares of the batch's rows by task. length: (lowest, highest) source tokens.
    tokens: of source and target in a batch, of each process where there are several.
    candidates: random negatives beside the batch's own tokens in the softmax; 0 for the whole vocabulary.
    coverage: weight of the penalty on attending to a place again (See et al. 2017), against telling a message twice.
    """

    name: str
    steps: int
    learning_rate: float
    tokens: int
    length: tuple[int, int]
    copying: float
    reported: float
    human: float
    guide: float
    candidates: int
    warm_up: int = 60
    final_rate: float = 0.3
    coverage: float = 0.0

    def scaled(self, more: float, larger: float) -> Stage:
        """With so many times the steps, and batches of so many times the tokens."""
        steps = max(1, round(self.steps * more))
        return replace(self, steps=steps, tokens=round(self.tokens * larger), warm_up=min(steps, self.warm_up))


STAGES = (
    Stage("copy-short", 200, 7e-4, 6000, (40, 72), 1.0, 0.0, 0.0, 0.5, 2000),
    Stage("copy-long", 115, 5e-4, 7000, (72, 256), 0.4, 0.6, 0.0, 0.3, 3000, 20),
    Stage("report", 170, 4e-4, 5000, (64, 320), 0.12, 0.88, 0.0, 0.15, 4000, 20),
    Stage("summarise", 380, 6e-4, 5000, (84, 512), 0.1, 0.87, 0.03, 0.1, 6000, 20, 0.03),
)


class Batches(Protocol):
    """The tensors of one step after another; see `supply.Supply`."""

    def take(self) -> dict[str, Tensor]:
        """Those of the next step."""
        ...


def batch(corpus: Corpus, stage: Stage, rng: random.Random) -> list[Example]:
    """Rows of one task and of similar length, together about `stage.tokens` tokens of source and target."""
    low, high = stage.length
    limit = int(low * (high / low) ** rng.random())
    task = rng.choices(("copying", "reported", "human"), (stage.copying, stage.reported, stage.human))[0]
    if task == "human":
        limit = max(limit, min(high, 160))
    written = min(96, int(limit * 0.7)) if task == "copying" else 56
    rows: list[Example] = []
    wanted = max(4, stage.tokens // (limit + written))
    while len(rows) < wanted:
        row = (
            corpus.copying(rng, limit, written)
            if task == "copying"
            else corpus.reported(rng, limit)
            if task == "reported"
            else corpus.human(rng, limit)
        )
        if row is not None and any(row.supervised):
            rows.append(row)
    return rows


def collate(rows: list[Example], device: torch.device) -> dict[str, Tensor]:
    """Padded tensors; labels are -100 where unsupervised; aligned is -1 where unknown."""
    longest = max(len(r.source) for r in rows)
    written = max(len(r.target) for r in rows)
    source = torch.zeros(len(rows), longest, dtype=torch.long)
    labels = torch.full((len(rows), written), -100)
    shifted = torch.zeros(len(rows), written, dtype=torch.long)
    aligned = torch.full((len(rows), written), -1)
    for i, row in enumerate(rows):
        size = len(row.target)
        source[i, : len(row.source)] = torch.tensor(row.source)
        target = torch.tensor(row.target)
        labels[i, :size] = torch.where(torch.tensor(row.supervised), target, -100)
        shifted[i, :size] = torch.cat([torch.tensor([3]), target[:-1]])
        aligned[i, :size] = torch.where(torch.tensor(row.supervised), torch.tensor(row.aligned), -1)
    tensors = {"source": source, "labels": labels, "shifted": shifted, "aligned": aligned}
    return {name: tensor.to(device) for name, tensor in tensors.items()}


@dataclass(frozen=True)
class Losses:
    """Means over the supervised tokens (the guide's over those with a known place)."""

    cross_entropy: Tensor
    guide: Tensor
    coverage: Tensor
    accuracy: Tensor


def losses(
    model: BartForConditionalGeneration,
    rows: dict[str, Tensor],
    candidates: int,
    guide: bool,
    *,
    coverage: bool = False,
) -> Losses:
    """The losses of a batch; those of the copying heads' attention are zero unless asked for."""
    out = model.model(
        input_ids=rows["source"],
        attention_mask=(rows["source"] != 0).long(),
        decoder_input_ids=rows["shifted"],
        output_attentions=guide or coverage,
        use_cache=False,
    )
    wanted = rows["labels"] >= 0
    hidden, labels = out.last_hidden_state[wanted], rows["labels"][wanted]
    table = model.model.shared.weight
    if candidates:
        # A softmax over the tokens at hand and some others: the head is a third of a short step otherwise.
        others = torch.randint(5, table.shape[0], (candidates,), device=labels.device)
        among = torch.unique(torch.cat([rows["source"].flatten(), labels, others]))
        labels = torch.searchsorted(among, labels)
        table = table[among]
    logits = hidden @ table.to(hidden.dtype).T
    cross_entropy = nn.functional.cross_entropy(logits.float(), labels)
    accuracy = (logits.argmax(-1) == labels).float().mean()
    pull = torch.zeros((), device=labels.device)
    again = torch.zeros((), device=labels.device)
    known = rows["aligned"] >= 0
    if guide and known.any():
        where = rows["aligned"].clamp(min=0)[:, None, :, None].expand(-1, COPY_HEADS, -1, 1)
        for layer in COPY_LAYERS:
            weights = out.cross_attentions[layer][:, :COPY_HEADS].gather(3, where)[..., 0]
            pull = pull - (weights.transpose(1, 2)[known].float() + 1e-4).log().mean() / len(COPY_LAYERS)
    if coverage:
        for layer in COPY_LAYERS:
            attended = out.cross_attentions[layer][:, :COPY_HEADS].float().mean(1)  # (rows, written, read)
            before = attended.cumsum(1) - attended
            again = again + torch.minimum(attended, before).sum(-1)[wanted].mean() / len(COPY_LAYERS)
    return Losses(cross_entropy, pull, again, accuracy)


def rate(stage: Stage, step: int) -> float:
    """Learning rate: linear warm-up, then a cosine down to `final_rate` of the highest."""
    if step < stage.warm_up:
        return stage.learning_rate * (step + 1) / stage.warm_up
    done = (step - stage.warm_up) / max(1, stage.steps - stage.warm_up)
    return stage.learning_rate * (stage.final_rate + (1 - stage.final_rate) * (1 + math.cos(math.pi * done)) / 2)


def save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    """Write a checkpoint so that a reader finds the old one or the new one, never half of one."""
    partial = path.with_suffix(".partial")
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, partial)
    partial.replace(path)


def run(
    stage: Stage,
    *,
    model: BartForConditionalGeneration,
    supply: Callable[[int], AbstractContextManager[Batches]],
    work: Path,
    device: torch.device,
    seed: int,
    deadline: float,
    watch: Callable[[BartForConditionalGeneration, int], dict[str, float]],
) -> bool:
    """Train one stage from its last checkpoint; True when it is complete, False when `deadline` cut it off.

    supply: given the first step wanted, the batches from there on.
    """
    checkpoint = work / f"{stage.name}.pt"
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
        lr=stage.learning_rate,
        betas=(0.9, 0.98),
        fused=True,
    )
    # Several processes of one thread each lose less on busy cores than one of several threads, which meet at
    # hundreds of barriers a step.
    rank = dist.get_rank() if dist.is_initialized() else 0
    step = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        step = int(state["step"])
    model.train()
    with supply(step) as batches:
        return _steps(stage, step, model, optimizer, batches, work=work, device=device, seed=seed, rank=rank,
                      deadline=deadline, watch=watch)  # fmt: skip


def _steps(
    stage: Stage,
    step: int,
    model: BartForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
    batches: Batches,
    *,
    work: Path,
    device: torch.device,
    seed: int,
    rank: int,
    deadline: float,
    watch: Callable[[BartForConditionalGeneration, int], dict[str, float]],
) -> bool:
    checkpoint = work / f"{stage.name}.pt"
    saved, began, seen = time.monotonic(), time.monotonic(), 0
    sums = torch.zeros(4, device=device)
    since = 0
    while step < stage.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate(stage, step)
        torch.manual_seed(seed * 1_000_003 + step)
        rows = {name: tensor.to(device) for name, tensor in batches.take().items()}
        with torch.autocast(device.type, torch.bfloat16):
            found = losses(model, rows, stage.candidates, stage.guide > 0, coverage=stage.coverage > 0)
            loss = found.cross_entropy + stage.guide * found.guide + stage.coverage * found.coverage
        torch.autograd.backward(loss)
        if dist.is_initialized():
            share(model)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        since += 1
        seen += rows["source"].numel() + rows["shifted"].numel()
        # Summed where they are: reading a figure makes a GPU wait for the step.
        sums += torch.stack([found.cross_entropy, found.guide, found.coverage, found.accuracy]).detach().float()
        late = time.monotonic() > deadline
        if rank:
            continue
        if step % 20 == 0:
            means = [round(v, 3) for v in (sums / since).tolist()]
            pace = seen / (time.monotonic() - began)
            line = dict(zip(("loss", "guide", "coverage", "accuracy"), means, strict=True))
            told = {"stage": stage.name, "step": step, **line}
            _record(work, {**told, "tokens_per_second": round(pace), "rows": len(rows["source"])})
            sums.zero_()
            since = 0
        if step % 100 == 0 or step == stage.steps:
            model.eval()
            _record(work, {"stage": stage.name, "step": step, **watch(model, step)})
            torch.save(model.state_dict(), work / f"{stage.name}-{step}.pt")
            model.train()
        if late or step == stage.steps or time.monotonic() - saved > CHECKPOINT_SECONDS:
            save(checkpoint, model, optimizer, step)
            saved = time.monotonic()
        if late and step < stage.steps:
            return False
    return True


def share(model: nn.Module) -> None:
    """Replace each process's gradients by their mean over the processes."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([g.flatten() for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _record(work: Path, line: dict[str, float | int | str]) -> None:
    text = json.dumps({"at": time.strftime("%H:%M:%S", time.gmtime()), **line})
    print(text, flush=True)
    with (work / "record.jsonl").open("a", encoding="utf-8") as record:
        record.write(text + "\n")
