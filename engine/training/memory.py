"""What a fine-tune would take of memory, reckoned before it is begun, and how to make it fit; to the safe side.

Knows shapes only: of the base's stored weights, of the longest examples. What is kept of a token for the backward pass
grows with layers and width (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models",
section 4: 34 bytes a unit in 16 bits without attention's square term, which is never kept here); LoRA keeps the inputs
of every linear layer besides, and on a CPU autocast's copies come on top: measured, see docs/log.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from engine.model.checkpoint import Checkpoint, Representation
from engine.model.resolve import gigabytes
from engine.training.job import Hyper, TrainingFailed

#: Bytes a token, layer and unit of width; twice in fp32 on a GPU.
_ACTIVATION = {"cpu": 240, "cuda": 100}
#: With checkpointing, only each layer's input is kept, and one layer at a time is worked out again.
_KEPT_UNITS = 1.0
#: A matrix of LoRA: itself, its gradient, and two moments of AdamW, in fp32; its best copy on top.
_LORA_BYTES = 4 * 5
#: Of a logit: itself in the arithmetic, in fp32, and its gradient.
_LOGIT_BYTES = 4 * 3
#: What libraries and the allocator take besides.
_OVERHEAD = 512 * 2**20
#: Share of the free memory that dense weights may make a fine-tune take, where nobody asked for them.
_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """How a fine-tune is to be done so that it fits.

    Attributes:
        representation: of the base.
        checkpointing: whether activations are worked out again in the backward pass rather than kept.
        needed: bytes that it is expected to take.
        room: most tokens of one forward pass that this is reckoned for.
    """

    representation: Representation
    checkpointing: bool
    needed: int
    room: int = 2048

    @property
    def easy(self) -> bool:
        """Whether nothing was given up for memory: dense weights on a CPU, all activations kept."""
        return not self.checkpointing and self.representation != "nf4"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a fine-tune works on: tokens and answer tokens of its largest forward pass, size of a number, and room."""

    tokens: int
    answers: int
    item: int
    room: int


def plan_memory(
    checkpoint: Checkpoint,
    config: Any,
    hyper: Hyper,
    shape: Shape,
    *,
    free: int,
    dense: bool,
    quantise: bool,
    gpu: bool,
) -> MemoryPlan:
    """The fastest way that fits.

    Args:
        checkpoint: the base as stored.
        config: its transformers config.
        shape: of the largest forward pass.
        free: bytes that can be taken.
        dense: whether dense weights are faster here.
        quantise: whether the base is to be loaded in 4 bits.
        gpu: what to call the memory.

    Raises:
        TrainingFailed: none fits.
    """
    shown: Representation = "nf4" if quantise else "full"
    ways: list[tuple[Representation, bool]] = [(shown, False), (shown, True)]
    if quantise and dense:
        ways = [("nf4-expanded", False), *ways]
    needed = 0
    for representation, checkpointing in ways:
        needed = _needed(checkpoint, config, hyper, shape, representation, checkpointing, gpu=gpu)
        if needed <= free * (_SHARE if representation == "nf4-expanded" else 1.0):
            return MemoryPlan(representation, checkpointing, needed, shape.room)
    where = "GPU" if gpu else "main"
    raise TrainingFailed(
        f"A fine-tune of {checkpoint.name} needs about {gigabytes(needed)} of {where} memory, and {gigabytes(free)} are"
        " free.",
        "Raise TRAIN_ACCUMULATION, lower ENGINE_MAX_CONTEXT, set TRAIN_BESIDE_SERVING=unload or take a smaller model.",
    )


def _needed(
    checkpoint: Checkpoint,
    config: Any,
    hyper: Hyper,
    shape: Shape,
    representation: Representation,
    checkpointing: bool,
    *,
    gpu: bool,
) -> int:
    base = checkpoint.bytes_held(representation, shape.item)
    linear = [tensor for tensor in checkpoint.tensors if checkpoint.quantised(tensor)]
    lora = sum(hyper.rank * sum(tensor.shape) for tensor in linear) * _LORA_BYTES
    text = config.get_text_config(decoder=True) if not config.is_encoder_decoder else config
    width = int(getattr(text, "hidden_size", None) or getattr(text, "d_model", 0) or 1024)
    layers = _layers(text)
    one = shape.tokens * width * _ACTIVATION["cuda" if gpu else "cpu"] * (2 if gpu and shape.item > 2 else 1)
    kept = one + shape.tokens * width * layers * 4 * _KEPT_UNITS if checkpointing else one * layers
    logits = shape.answers * int(getattr(text, "vocab_size", 32_000)) * _LOGIT_BYTES
    largest = max((tensor.count for tensor in checkpoint.tensors), default=0) * 4
    return int(base + lora + kept + logits + largest + _OVERHEAD)


def _layers(config: Any) -> int:
    """Layers that a token goes through, at most."""
    both = [int(getattr(config, name, 0) or 0) for name in ("encoder_layers", "decoder_layers", "num_decoder_layers")]
    own = int(getattr(config, "num_hidden_layers", 0) or getattr(config, "num_layers", 0) or 0)
    return max(sum(both), own, 1) if not both[2] else both[2] + own
