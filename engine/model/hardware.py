"""What this machine offers a model: device, arithmetic, free memory, 4-bit kernels. Asked when called, never at import.

Knows nothing of any model. torch and bitsandbytes are imported inside the functions, so that importing this file
costs nothing.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import psutil

from storage.errors import ModelError

if TYPE_CHECKING:
    import torch

Device = Literal["cpu", "cuda"]
_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Hardware:
    """Where a model would run.

    Attributes:
        device: ``cpu`` or ``cuda`` (the first GPU).
        dtype: what is computed in: bfloat16 where CUDA has hardware for it, else float32. Never float16: T5's
            activations overflow it.
        free_bytes: memory of the device that can be taken now.
        fast_4bit: whether the device multiplies by 4-bit weights directly. bitsandbytes 0.50 does on CUDA, and on
            CPUs with AVX512-BF16; on other CPUs it expands the weights again for every multiplication.
    """

    device: Device
    dtype: torch.dtype
    free_bytes: int
    fast_4bit: bool


def probe_hardware(wanted: Literal["auto", "cpu", "cuda"]) -> Hardware:
    """Look at the machine.

    Raises:
        ModelError: a GPU is asked for and there is none.
    """
    import torch

    if wanted == "cuda" and not torch.cuda.is_available():
        raise ModelError(
            "ENGINE_DEVICE asks for a GPU, and torch finds none.",
            "Set ENGINE_DEVICE=auto, or install a driver and a CUDA build of torch; `redraft doctor` says more.",
        )
    if wanted != "cpu" and torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
        return Hardware("cuda", dtype, torch.cuda.mem_get_info(0)[0], fast_4bit=True)
    return Hardware("cpu", torch.float32, free_memory(), cpu_has_fast_4bit())


def free_memory(groups: Path = _GROUPS) -> int:
    """Bytes of main memory that can be taken now; a container's limit counts where it is lower.

    What a container uses includes files that the kernel keeps in memory and gives back when asked (`inactive_file`),
    such as a model that has just been fetched; they count as free, as ``docker stats`` counts them.

    Args:
        groups: where the control groups are mounted.
    """
    free = int(psutil.virtual_memory().available)
    for limit, used, statistics, kept_files in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_inactive_file"),
    ):
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            allowed = _number_in(groups / limit) - _number_in(groups / used)
            free = min(free, max(allowed + _counted(groups / statistics, kept_files), 0))
    return free


def _number_in(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _counted(statistics: Path, name: str) -> int:
    """One number of a control group's ``memory.stat``; 0 where it has none."""
    with contextlib.suppress(OSError, ValueError):
        for line in statistics.read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def cpu_has_fast_4bit() -> bool:
    """Whether bitsandbytes has a CPU kernel that reads 4-bit weights directly (AVX512-BF16 only in 0.50)."""
    try:
        return bool(bitsandbytes().functional.has_avx512bf16())
    except Exception:
        return False  # loading says why bitsandbytes is unusable, if its 4-bit weights are wanted at all


def bitsandbytes() -> Any:
    """bitsandbytes, imported without its remark on stderr and without fetching code.

    Where a package called ``kernels`` is installed, bitsandbytes downloads native code from the Hub while it is
    being imported; no code comes from a network here, so that package is out of sight meanwhile.
    """
    with _without_kernels(), _quiet("bitsandbytes"):
        return importlib.import_module("bitsandbytes")


def four_bit_failure(device: Device) -> str:
    """Why 4-bit weights cannot be used on the device, in a few words; empty when they can."""
    try:
        import torch

        functional = bitsandbytes().functional
        weights = torch.linspace(-1, 1, 64 * 64, device=device).reshape(64, 64)
        packed, state = functional.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
        worst = (functional.dequantize_4bit(packed, state) - weights).abs().max().item()
    except Exception as failure:
        return (str(failure).strip().splitlines() or [type(failure).__name__])[0]
    # The widest gap between two levels of NF4 is 0.31 of a block's largest value; half of it, with headroom.
    return "" if worst < 0.2 else "its results are wrong on this machine"


def let_idle_threads_sleep() -> None:
    """Have torch's idle threads sleep instead of spin; only before torch is imported for the first time.

    OpenMP's threads spin between two operations by default. Where something else runs on the same cores (a training
    beside the serving), they spin away the time that the thread they wait for would need: on two cores beside a
    training, the starter wrote 5 tokens a second spinning and 55 sleeping.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@contextlib.contextmanager
def _without_kernels() -> Iterator[None]:
    """Make ``import kernels`` fail, unless it has been imported already."""
    if "kernels" in sys.modules:
        yield
        return
    sys.modules["kernels"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        sys.modules.pop("kernels", None)


@contextlib.contextmanager
def _quiet(logger: str) -> Iterator[None]:
    """Errors only from one library's logger."""
    log = logging.getLogger(logger)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
