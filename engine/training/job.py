"""What goes into a fine-tune, what comes out, and who hears of it on the way. Plain values; it imports no library.

The rest of this package works on these; :func:`engine.training.fine_tune.fine_tune` is its one door.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from engine.requests import ModelInfo, Style
from storage.errors import RedraftError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Pair:
    """A dialogue and a human-written summary of it, as a fine-tune reads it.

    Attributes:
        dialogue: ``Name: text`` lines, one message a line.
        summary: what the model is to write.
        style, focus, output_language: what it is asked for; see :class:`engine.requests.SummaryRequest`.
        references: further human summaries, that validation holds what the model writes against; never learned.
    """

    dialogue: str
    summary: str
    style: Style = "standard"
    focus: str = ""
    output_language: str = ""
    references: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hyper:
    """Settings of a fine-tune; :class:`engine.learning.settings.LearningSettings` says what each means.

    ``threads`` is of the CPU, 0 the library's choice; ``checkpoint_seconds`` is between two checkpoints.
    """

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05
    learning_rate: float = 1e-3
    epochs: float = 4.0
    warmup: float = 0.06
    batch: int = 8
    accumulation: int = 1
    patience: int = 3
    judged: int = 32
    seed: int = 7
    threads: int = 0
    checkpoint_seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the curves.

    Attributes:
        kind: ``train`` for a step of the optimiser, ``validation`` for a look at the validation slice.
        step: steps done; validation at 0 is the base's.
        epoch: passes over the pairs done, as a fraction.
        loss: nats a target token.
        learning_rate: of a step.
        tokens_per_second: read and written without padding, since the last point; of a step.
        memory_bytes: taken on the device now.
    """

    kind: Literal["train", "validation"]
    step: int
    epoch: float
    loss: float
    learning_rate: float | None = None
    tokens_per_second: float | None = None
    memory_bytes: int | None = None


class Listener(Protocol):
    """Hears a fine-tune, in its own thread."""

    def tell(self, sentence: str) -> None:
        """A sentence before each step that takes time, or on something that went wrong and is not fatal."""
        ...

    def begins(self, *, step: int, steps: int, left_out: Mapping[str, int]) -> None:
        """Training begins at ``step`` of ``steps``; so many pairs were left out, by reason."""
        ...

    def point(self, point: Point) -> None:
        """A step or a validation is done."""
        ...

    def stop(self) -> bool:
        """Whether to write a checkpoint and end; asked before every forward pass."""
        ...


class Silent:
    """A :class:`Listener` that nobody stands behind."""

    def tell(self, sentence: str) -> None:
        """Nothing."""

    def begins(self, *, step: int, steps: int, left_out: Mapping[str, int]) -> None:
        """Nothing."""

    def point(self, point: Point) -> None:
        """Nothing."""

    def stop(self) -> bool:
        """Go on."""
        return False


@dataclass(frozen=True, slots=True)
class Trained:
    """What came of a fine-tune.

    Attributes:
        weights: the LoRA matrices by peft's names, on the CPU: those of the best validation, else the last.
        config: peft's ``LoraConfig`` as a dict, free of paths of this machine.
        info: the base.
        tokenizer_sha256: see :meth:`engine.model.tokens.Tokens.sha256`.
        metrics: losses, tokens a second, padding share, peak memory, seconds; never text.
    """

    weights: dict[str, torch.Tensor]
    config: dict[str, Any]
    info: ModelInfo
    tokenizer_sha256: str
    metrics: dict[str, Any] = field(default_factory=dict)


class TrainingFailed(RedraftError):
    """A fine-tune cannot be done, or came to nothing; as a sentence."""


class TrainingStopped(RedraftError):
    """A fine-tune was asked to stop and can be resumed."""

    def __init__(self, step: int, steps: int) -> None:
        super().__init__(f"The fine-tune was stopped after {step} of {steps} steps.", "Resume it when it suits.")
        self.step = step
