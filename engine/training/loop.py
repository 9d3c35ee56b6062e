"""The loop: steps of AdamW over LoRA's matrices, looks at the validation slice, checkpoints, and when to stop.

Everything that is drawn is drawn from the seed and the number of the step, so that a run that goes on from a checkpoint
ends where it would have ended. A step's loss is the mean over all its target tokens, however it is cut into forward
passes and whatever is padding. Knows the model and examples; nothing of where they come from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import psutil
import torch
from torch import nn

from engine.model.allocator import give_back
from engine.training.batches import Batch, collate, grouped, passes
from engine.training.checkpoints import Checkpoint, Checkpoints
from engine.training.examples import Example
from engine.training.forward import Forward
from engine.training.job import Hyper, Listener, Point, TrainingFailed, TrainingStopped
from engine.training.judging import Judge
from engine.training.lora import lora_weights, restore_weights

#: A validation loss has to fall by this much to count as better, in nats.
_BETTER = 1e-4
#: Looks at the validation slice in one pass over the pairs.
_CHECKS = 2
_CLIP = 1.0
_WEIGHT_DECAY = 0.0


@dataclass(slots=True)
class Progress:
    """How far a run is; what a checkpoint keeps beside tensors.

    Losses are of validation, in nats a token, scores :class:`Judge`'s; ``looked`` is the step of the last look at both.
    """

    step: int = 0
    best_loss: float = math.inf
    best_score: float = -math.inf
    best_step: int = 0
    looked: int = -1
    first_loss: float | None = None
    first_score: float | None = None
    worse: int = 0
    stopped_early: bool = False
    train_loss: float = math.nan
    seconds: float = 0.0
    real: int = 0
    padded: int = 0

    def as_state(self) -> dict[str, Any]:
        """JSON-serialisable; infinities and NaN as None."""
        found = {name: getattr(self, name) for name in self.__slots__}
        return {n: None if isinstance(v, float) and not math.isfinite(v) else v for n, v in found.items()}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Progress:
        """The progress that :meth:`as_state` wrote."""
        return cls(**{name: state[name] for name in cls.__slots__ if state.get(name) is not None})


@dataclass(slots=True)
class Loop:
    """One run of the loop.

    Attributes:
        model: peft's, in training mode.
        forward: computes the loss.
        examples, validation: what is learned, and what decides when to stop; the latter may be empty.
        room: most tokens of one forward pass.
        judge: scores what the model writes; where there is one it says which weights are the best, else the loss does.
        checkpoints: where to go on from; None keeps none.
        identity: what a checkpoint has to be of to be gone on from.
        clock: seconds, monotonic.
    """

    model: Any
    forward: Forward
    examples: Sequence[Example]
    validation: Sequence[Example]
    hyper: Hyper
    listener: Listener
    room: int
    judge: Judge | None = None
    checkpoints: Checkpoints | None = None
    identity: str = ""
    clock: Callable[[], float] = time.monotonic
    progress: Progress = field(default_factory=Progress)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    _optimiser: torch.optim.AdamW = field(init=False)
    _saved_at: float = field(init=False, default=0.0)
    _saved_step: int = field(init=False, default=-1)
    _began: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        learned = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(learned, lr=self.hyper.learning_rate, weight_decay=_WEIGHT_DECAY)

    @property
    def steps_a_pass(self) -> int:
        """Steps of the optimiser in one pass over the examples."""
        return math.ceil(len(self.examples) / self.hyper.batch)

    @property
    def steps(self) -> int:
        """Most steps of the run."""
        return max(1, math.ceil(self.hyper.epochs * self.steps_a_pass))

    def run(self, left_out: dict[str, int] | None = None) -> dict[str, torch.Tensor]:
        """Train to the end, from the last checkpoint where there is one.

        Returns:
            the weights: of the best validation, else the last.

        Raises:
            TrainingStopped: the listener asked for it; there is a checkpoint.
            TrainingFailed: the loss or the gradient is no number any more, or memory ran out.
        """
        progress = self.progress = self._resumed()
        self._began = self._saved_at = self.clock()
        self.listener.begins(step=progress.step, steps=self.steps, left_out=left_out or {})
        if progress.step > progress.looked and self._look_is_due():
            self._validate()
        order: tuple[int, list[list[int]]] = (-1, [])
        while progress.step < self.steps and not progress.stopped_early:
            epoch, place = divmod(progress.step, self.steps_a_pass)
            if order[0] != epoch:
                order = epoch, grouped(self.examples, self.hyper.batch, seed=self.hyper.seed, epoch=epoch)
            try:
                self._step(order[1][place])
            except torch.OutOfMemoryError as error:
                raise _out_of_memory() from error
            if self._look_is_due():
                self._validate()
            if self.clock() - self._saved_at >= self.hyper.checkpoint_seconds:
                self._save()
        self._save()
        return self.best or lora_weights(self.model)

    # One step -------------------------------------------------------------------------------------------------------

    def _step(self, rows: Sequence[int]) -> None:
        began, progress = self.clock(), self.progress
        parts = passes(rows, self.examples, room=self.room, least=self.hyper.accumulation)
        wanted = sum(len(self.examples[row].target) for row in rows)
        rate = self._rate(progress.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        total, real, padded = 0.0, 0, 0
        for number, part in enumerate(parts):
            self._stop_if_asked()
            batch = self._batch([self.examples[row] for row in part])
            torch.manual_seed(_seed(self.hyper.seed, progress.step, number))
            loss = self.forward(batch) / wanted
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
            real, padded = real + batch.real, padded + batch.padded
        norm = nn.utils.clip_grad_norm_(self._learned(), _CLIP)
        if not math.isfinite(total) or not torch.isfinite(norm):
            raise _no_number(progress.step + 1)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        if self.forward.device == "cpu":
            # Passes differ in size: what the C library keeps of each for the next had tripled the peak after 135 steps.
            give_back()
        progress.step += 1
        progress.train_loss = total
        progress.real += real
        progress.padded += padded
        self._tick()
        took = max(self.clock() - began, 1e-9)
        self.listener.point(self._point("train", total, learning_rate=rate, tokens_per_second=real / took))

    def _rate(self, step: int) -> float:
        """Learning rate of the step after ``step``: a linear rise, then a linear fall to nothing."""
        warm = math.ceil(self.hyper.warmup * self.steps)
        if step < warm:
            return self.hyper.learning_rate * (step + 1) / warm
        return self.hyper.learning_rate * (self.steps - step) / max(1, self.steps - warm)

    def _stop_if_asked(self) -> None:
        if self.listener.stop():
            self._optimiser.zero_grad(set_to_none=True)
            self._save()
            raise TrainingStopped(self.progress.step, self.steps)

    def _look_is_due(self) -> bool:
        step = self.progress.step
        return step % max(1, math.ceil(self.steps_a_pass / _CHECKS)) == 0 or step == self.steps

    def _validate(self) -> None:
        """Look at the validation slice; keep the weights where they are the best so far.

        Patience counts looks that neither the loss nor the score was the better for: a score jumps, a loss misleads.
        """
        if not self.validation:
            return
        progress = self.progress
        self.model.eval()
        try:
            with torch.no_grad():
                loss = self._validation_loss()
                score = self._score()
        finally:
            self.model.train()
        if progress.first_loss is None:
            progress.first_loss, progress.first_score = loss, score
        lower = loss < progress.best_loss - _BETTER
        higher = score is not None and score > progress.best_score
        if higher or (lower and score in (None, progress.best_score)):
            progress.best_step = progress.step
            self.best = lora_weights(self.model)
        progress.best_loss = loss if lower else progress.best_loss
        progress.best_score = score if higher and score is not None else progress.best_score
        progress.worse = 0 if lower or higher else progress.worse + 1
        progress.stopped_early = progress.worse >= self.hyper.patience
        progress.looked = progress.step
        self._tick()
        self.listener.point(self._point("validation", loss))

    def _validation_loss(self) -> float:
        total = 0.0
        for part in passes(range(len(self.validation)), self.validation, room=self.room):
            total += float(self.forward(self._batch([self.validation[row] for row in part])))
        loss = total / sum(len(example.target) for example in self.validation)
        if not math.isfinite(loss):
            raise _no_number(self.progress.step)
        return loss

    def _score(self) -> float | None:
        """What the model's own summaries are worth now, 0 to 100; None where nobody judges them."""
        if self.judge is None:
            return None
        found = []
        for score in self.judge.scores():
            self._stop_if_asked()
            found.append(score)
        return sum(found) / len(found) if found else None

    def _batch(self, rows: Sequence[Example]) -> Batch:
        return collate(
            rows, encoder_decoder=self.forward.encoder_decoder, pad=self.forward.pad, device=self.forward.device
        )

    def _learned(self) -> list[nn.Parameter]:
        return [parameter for group in self._optimiser.param_groups for parameter in group["params"]]

    def _point(self, kind: Any, loss: float, **more: float) -> Point:
        epoch = self.progress.step / self.steps_a_pass
        return Point(kind, self.progress.step, epoch, loss, memory_bytes=memory_taken(self.forward.device), **more)

    def _tick(self) -> None:
        now = self.clock()
        self.progress.seconds += now - self._began
        self._began = now

    # Checkpoints ----------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        """Write a checkpoint; one that cannot be written is told, and the run goes on with the one before."""
        self._saved_at = self.clock()
        if self.checkpoints is None or self._saved_step == self.progress.step:
            return
        state = {"identity": self.identity, **self.progress.as_state()}
        weights = lora_weights(self.model)
        try:
            self.checkpoints.save(
                Checkpoint(self.progress.step, weights, self.best, self._optimiser.state_dict(), state)
            )
            self._saved_step = self.progress.step
        except OSError as error:
            reason = (error.strerror or type(error).__name__).lower()
            self.listener.tell(f"The checkpoint after step {self.progress.step} could not be written: {reason}.")

    def _resumed(self) -> Progress:
        """The progress of the newest checkpoint, weights and optimiser put back; a fresh one where there is none."""
        found = self.checkpoints.latest() if self.checkpoints is not None else None
        if found is None or found.state.get("identity") != self.identity:
            return self.progress
        restore_weights(self.model, found.weights)
        self._optimiser.load_state_dict(found.optimiser)
        self.best = dict(found.best)
        self._saved_step = found.step
        return Progress.of_state(found.state)


def memory_taken(device: str) -> int:
    """Bytes that this process takes of a device's memory now."""
    if device == "cpu":
        return int(psutil.Process().memory_info().rss)
    return int(torch.cuda.memory_allocated())


def _seed(seed: int, step: int, part: int) -> int:
    """A seed for one forward pass, another for every other."""
    return (seed * 1_000_003 + step * 1_009 + part) % 2**63


def _no_number(step: int) -> TrainingFailed:
    return TrainingFailed(
        f"The loss is no number any more at step {step}; nothing of this run is kept.",
        "Lower TRAIN_LEARNING_RATE, and look at the pairs that came last.",
    )


def _out_of_memory() -> TrainingFailed:
    return TrainingFailed(
        "The memory ran out while training.",
        "Raise TRAIN_ACCUMULATION, lower ENGINE_MAX_CONTEXT, or set TRAIN_BESIDE_SERVING=unload.",
    )
