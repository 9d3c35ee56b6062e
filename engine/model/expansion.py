"""Dense expansion: the NF4 weights of a loaded model turned once into ordinary ones, for CPUs that are slow at 4 bits.

The numbers stay those of NF4: each weight is what bitsandbytes' own ``dequantize_4bit`` says it is, kept instead of
being worked out again for every multiplication. Has to come before the model's first step: on CPUs with AVX512-BF16,
bitsandbytes then repacks the weights in place, and rounds their scales.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import nn

from engine.model.hardware import bitsandbytes

#: How much of the free memory an expansion that nobody asked for may take.
_SHARE = 0.6


def wants_expansion(
    setting: Literal["auto", "never", "always"], *, device: str, fast_4bit: bool, extra_bytes: int, free_bytes: int
) -> bool:
    """Whether to expand.

    Args:
        setting: ``auto`` does on a CPU without fast 4-bit kernels that has the memory to spare.
        device: ``cpu`` or ``cuda``.
        fast_4bit: see :class:`engine.model.hardware.Hardware`.
        extra_bytes: what the dense weights take beyond the quantised ones.
        free_bytes: memory that can be taken, before loading.
    """
    if setting != "auto":
        return setting == "always"
    return device == "cpu" and not fast_4bit and extra_bytes <= _SHARE * free_bytes


def expand(model: nn.Module, dtype: torch.dtype) -> int:
    """Replace every ``Linear4bit`` by a dense layer of the same weights, one at a time; returns how many.

    At most one layer exists in both forms at any moment, so that the peak is the result and one layer.
    """
    count = 0
    for name, layer in list(quantised_layers(model)):
        dense = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        dense.weight = nn.Parameter(dequantised(layer, dtype), requires_grad=False)
        if layer.bias is not None:
            dense.bias = nn.Parameter(layer.bias.data.to(dtype), requires_grad=False)
        dense.train(layer.training)
        model.set_submodule(name, dense)
        # The list of layers still refers to it: let go of the packed weights now and not when all are done.
        layer.weight = None
        count += 1
    gc.collect()
    return count


def dequantised(layer: Any, dtype: torch.dtype) -> torch.Tensor:
    """The weights of one ``Linear4bit`` as numbers, shape (out, in)."""
    functional = bitsandbytes().functional
    return functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).to(dtype)  # type: ignore[no-any-return]


def quantised_layers(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Names and modules of the layers that hold 4-bit weights."""
    kind = bitsandbytes().nn.Linear4bit
    return ((name, module) for name, module in model.named_modules() if isinstance(module, kind))


def avoid_unsupported_packing(model: nn.Module) -> int:
    """Keep layers that the AVX512-BF16 kernel cannot take on bitsandbytes' plain path; returns how many.

    That kernel wants rows in multiples of 32 and columns in multiples of the quantisation block; the layer itself
    checks neither, and fails in its first step.
    """
    count = 0
    for _, layer in quantised_layers(model):
        block = layer.weight.quant_state.blocksize
        if layer.support_avx512bf16_for_cpu and (layer.out_features % 32 or layer.in_features % block):
            layer.support_avx512bf16_for_cpu = False
            count += 1
    return count
