"""Checkpoints of a run: written whole, believed only with a marker of ours that was written last.

A directory ``step-000120`` holds LoRA's weights and the best ones so far as safetensors, the optimiser's state in a
file that is only ever loaded with ``weights_only``, and ``state.json``. ``complete.json`` has the SHA-256 of each and
comes after they are on the disk; a directory without it, or with other files than it says, does not count, and the one
before does. Nothing of this goes into an adapter. Knows nothing of models.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WEIGHTS, BEST, OPTIMISER, STATE, MARKER = (
    "weights.safetensors", "best.safetensors", "optimiser.pt", "state.json", "complete.json",
)  # fmt: skip
#: Checkpoints that are kept: the newest, and the one before it.
KEPT = 2
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint in memory.

    Attributes:
        step: steps of the optimiser done.
        weights: LoRA's matrices.
        best: those of the best validation, or none.
        optimiser: ``state_dict`` of the optimiser.
        state: what else to go on with; JSON-serialisable.
    """

    step: int
    weights: Mapping[str, torch.Tensor]
    best: Mapping[str, torch.Tensor]
    optimiser: dict[str, Any]
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: holds them; made when the first is saved.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint and remove what it makes needless; the one before stays until the next.

        Raises:
            OSError: the disk is full or cannot be written; the checkpoints before are as they were.
        """
        import torch
        from safetensors.torch import save

        written = io.BytesIO()
        torch.save(checkpoint.optimiser, written)
        files = {
            WEIGHTS: save(dict(checkpoint.weights)),
            BEST: save(dict(checkpoint.best)),
            OPTIMISER: written.getvalue(),
            STATE: json.dumps(checkpoint.state, sort_keys=True).encode(),
        }
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        final = self._directory / f"step-{checkpoint.step:06d}"
        partial = self._directory / f".new-{final.name}"
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir(mode=0o700)
            for name, data in files.items():
                _write(partial / name, data)
            _sync(partial)
            if final.exists():  # of a run that came by here before it was cut off
                shutil.rmtree(final)
            partial.rename(final)
            marker = {
                name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in files.items()
            }
            _write(final / f".{MARKER}", json.dumps({"files": marker}, sort_keys=True).encode())
            (final / f".{MARKER}").rename(final / MARKER)
            _sync(final)
            _sync(self._directory)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            if not (final / MARKER).exists():
                shutil.rmtree(final, ignore_errors=True)
            raise
        self._prune()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole."""
        for _, directory in self._found():
            checkpoint = _read(directory)
            if checkpoint is not None:
                return checkpoint
        return None

    def clear(self) -> None:
        """Remove them all."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _found(self) -> list[tuple[int, Path]]:
        """Steps and directories, the newest first, whole or not."""
        if not self._directory.is_dir():
            return []
        named = ((_NAME.fullmatch(path.name), path) for path in self._directory.iterdir())
        return sorted(((int(match[1]), path) for match, path in named if match), reverse=True)

    def _prune(self) -> None:
        """Keep the newest that are marked; what a process that died has left goes too."""
        kept = 0
        for _, directory in self._found():
            if (directory / MARKER).is_file() and kept < KEPT:
                kept += 1
            else:
                shutil.rmtree(directory, ignore_errors=True)
        for partial in self._directory.glob(".new-*"):
            shutil.rmtree(partial, ignore_errors=True)


def _read(directory: Path) -> Checkpoint | None:
    """A directory's checkpoint; None where anything about it is not as its marker says."""
    from pickle import UnpicklingError

    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        entries = json.loads((directory / MARKER).read_bytes())["files"]
        data = {name: (directory / name).read_bytes() for name in (WEIGHTS, BEST, OPTIMISER, STATE)}
        if any(hashlib.sha256(data[name]).hexdigest() != entries[name]["sha256"] for name in data):
            return None
        state = json.loads(data[STATE])
        optimiser = torch.load(io.BytesIO(data[OPTIMISER]), map_location="cpu", weights_only=True)
        match = _NAME.fullmatch(directory.name)
        step = int(match[1]) if match else -1
        return Checkpoint(step, load(data[WEIGHTS]), load(data[BEST]), optimiser, state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, UnpicklingError, SafetensorError):
        return None


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
