"""What the training tests share: tiny models that can be taught, invented pairs, a listener that writes down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from engine.settings import EngineSettings
from engine.training.job import Hyper, Pair, Point
from tests.engine import tiny

#: Small enough for a second, high enough to move random weights.
QUICK = Hyper(rank=8, alpha=16, dropout=0.0, learning_rate=5e-3, epochs=6, batch=4, threads=1, seed=3)
_ROOM = {"llama": 2048, "qwen3": 2048}


def teachable(name: str, folder: Path) -> Path:
    """A tiny model of a family whose weights are near nothing, so that a few steps can teach it something.

    Its special tokens, which :mod:`tests.engine.tiny` makes unwritable, get weights like the others: answers can end.
    """
    changes = {"max_position_embeddings": _ROOM[name]} if name in _ROOM else {}
    tiny.make(name, folder, **changes)
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    chance = torch.Generator().manual_seed(2)
    calm = {}
    for key, value in weights.items():
        table = "shared" in key or "embed_tokens" in key or "lm_head" in key
        calm[key] = value.clone() if table or value.ndim != 2 else value * 0.1
        if table:
            empty = (value == 0).all(dim=1)
            calm[key][empty] = 0.2 * torch.randn(int(empty.sum()), value.shape[1], generator=chance)
    save_file(calm, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def settings(model: Path, **given: Any) -> EngineSettings:
    """The engine's settings for a tiny model, on the CPU."""
    return EngineSettings(
        **{
            "engine_model": str(model),
            "engine_device": "cpu",
            "engine_max_new_tokens": 48,
            "engine_threads": 1,
            **given,
        }
    )


def pairs(count: int, *, summary: str = "") -> list[Pair]:
    """Invented pairs of differing length, always the same."""
    said = tiny.corpus()
    made = []
    for number in range(count):
        lines = said[3 * number : 3 * number + 1 + number % 3]
        dialogue = "\n".join(f"{('Ana', 'Tomas')[at % 2]}: {line}" for at, line in enumerate(lines))
        made.append(Pair(dialogue, summary or said[3 * number]))
    return made


class Heard:
    """A listener that writes down what it hears, and asks to stop after so many steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.points: list[Point] = []
        self.begun: tuple[int, int] = (-1, -1)
        self.left_out: dict[str, int] = {}
        self._stop_after = stop_after

    def tell(self, sentence: str) -> None:
        self.said.append(sentence)

    def begins(self, *, step: int, steps: int, left_out: Mapping[str, int]) -> None:
        self.begun, self.left_out = (step, steps), dict(left_out)

    def point(self, point: Point) -> None:
        self.points.append(point)

    def stop(self) -> bool:
        return self._stop_after is not None and len(self.losses) >= self._stop_after

    @property
    def losses(self) -> list[float]:
        return [point.loss for point in self.points if point.kind == "train"]


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are bit for bit the same."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
