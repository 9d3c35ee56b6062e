"""What the model libraries find on this machine, asked in a child process: ``python -m engine.model.probe``.

A broken driver or native library ends the child and not the program that asks; and the asker (``redraft doctor``,
``redraft init``) never imports torch. The child prints one JSON object; :func:`probe` runs it and reads it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

#: Seconds that importing torch and bitsandbytes may take; a cold disk has been seen to need most of a minute.
_TIMEOUT_S = 180


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device: its name and memory in bytes."""

    name: str
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Versions found (an empty string where a package does not import) and what works.

    Attributes:
        nf4_error: why quantising a small matrix to NF4 and back failed, or an empty string when it worked.
        error: why the child gave no answer at all, or an empty string.
    """

    torch: str = ""
    transformers: str = ""
    peft: str = ""
    bitsandbytes: str = ""
    gpus: tuple[Gpu, ...] = field(default=())
    nf4_error: str = ""
    error: str = ""


def probe() -> Probe:
    """Ask a child process; never raises."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "engine.model.probe"],
            capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Probe(error=f"importing torch took more than {_TIMEOUT_S} s")
    except (OSError, ValueError, IndexError):
        return Probe(error="the model libraries could not be loaded at all")
    return Probe(**{**found, "gpus": tuple(Gpu(**gpu) for gpu in found["gpus"])})


def _look() -> Probe:
    """The child's part: import each library and try the 4-bit kernels on a small matrix."""
    import importlib

    from engine.model import hardware

    versions: dict[str, Any] = {}
    for name in ("torch", "transformers", "peft", "bitsandbytes"):
        try:
            module = hardware.bitsandbytes() if name == "bitsandbytes" else importlib.import_module(name)
            versions[name] = str(module.__version__)
        except Exception as error:
            # Whatever a native library raises is the finding.
            versions[name] = ""
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201
    if not versions["torch"]:
        return Probe(**versions, nf4_error="torch does not import")
    import torch

    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            gpus.append(Gpu(torch.cuda.get_device_name(index), total, free))
    return Probe(**versions, gpus=tuple(gpus), nf4_error=hardware.four_bit_failure("cuda" if gpus else "cpu"))


if __name__ == "__main__":
    print(json.dumps(asdict(_look())))  # noqa: T201
