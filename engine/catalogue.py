"""Models that are known to suit the job, and whether one fits a machine. Knows no torch and loads nothing.

The list is for proposing; any Hugging Face encoder-decoder or decoder-only model can be configured. Sizes are the
publishers' own parameter counts. Memory is an estimate from them: NF4 with double quantisation holds a weight of a
linear layer in 4.127 bits (Dettmers et al., QLoRA, 2023), embeddings and head stay in 16 bits; serving adds the
key-value cache and activations of a small batch, training adds LoRA's weights, their optimiser's state and the
activations of a batch under gradient checkpointing.
"""

from __future__ import annotations

from dataclasses import dataclass

_GB = 10**9
#: Bytes a weight of a linear layer takes in NF4 with double quantisation.
_NF4_BYTES = 4.127 / 8


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model worth proposing.

    Attributes:
        name: Hugging Face id, or ``starter``.
        parameters: all of them.
        embedding_parameters: those of embeddings and head, which stay in 16 bits.
        licence: as its publisher states it.
        note: one clause on what it is good for.
        gated: whether the Hub asks for an accepted licence and a token first.
        wants_gpu: whether a CPU is too slow for it in practice.
    """

    name: str
    parameters: int
    embedding_parameters: int
    licence: str
    note: str
    gated: bool = False
    wants_gpu: bool = False

    @property
    def serving_bytes(self) -> int:
        """Memory to serve it in NF4, with a cache for a small batch."""
        weights = (self.parameters - self.embedding_parameters) * _NF4_BYTES + self.embedding_parameters * 2
        return int(weights * 1.15 + 0.8 * _GB)

    @property
    def training_bytes(self) -> int:
        """Memory to train a LoRA adapter on it in NF4."""
        return int(self.serving_bytes + 0.02 * self.parameters * 16 + 2.0 * _GB)


#: From the smallest to the largest; the best that fits is proposed.
MODELS: tuple[KnownModel, ...] = (
    KnownModel("starter", 23_000_000, 5_000_000, "Apache-2.0", "ships with Redraft, a demonstration, needs no network"),
    KnownModel("google/flan-t5-base", 248_000_000, 25_000_000, "Apache-2.0", "small and quick, on a CPU too"),
    KnownModel("google/flan-t5-large", 783_000_000, 33_000_000, "Apache-2.0", "better, still bearable on a CPU"),
    KnownModel(
        "Qwen/Qwen3-4B-Instruct-2507", 4_022_000_000, 389_000_000, "Apache-2.0",
        "follows styles, focus and languages", wants_gpu=True,
    ),
    KnownModel(
        "meta-llama/Llama-3.1-8B-Instruct", 8_030_000_000, 1_051_000_000, "Llama 3.1 Community",
        "follows styles, focus and languages", gated=True, wants_gpu=True,
    ),
)  # fmt: skip


def propose(*, gpu_bytes: int, memory_bytes: int) -> KnownModel:
    """The best ungated model that fits both serving and training.

    Args:
        gpu_bytes: memory of the largest GPU, 0 without one.
        memory_bytes: memory of the machine; used where there is no GPU, half of it left to the rest.
    """
    fits = [
        model
        for model in MODELS
        if not model.gated
        and model.training_bytes <= (gpu_bytes * 0.95 if gpu_bytes else memory_bytes * 0.5)
        and (gpu_bytes or not model.wants_gpu)
    ]
    return fits[-1] if fits else MODELS[0]
