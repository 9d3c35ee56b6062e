"""Small LoRA adapters for tests, written as a fine-tune writes them: by peft's names, through :func:`publish`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig
from torch import nn

from engine.model.adapter_files import (
    FORMAT,
    MANIFEST,
    AdapterAbout,
    FileEntry,
    Manifest,
    identity,
)
from engine.model.adapter_publishing import encode, publish
from engine.text.prompts import PROMPT_VERSION

if TYPE_CHECKING:
    from engine.model.generation import LoadedModel

RANK = 4


def linear_paths(model: LoadedModel) -> dict[str, tuple[int, int]]:
    """Every linear layer but the head, with its size (in, out)."""
    network = model._model
    head = network.get_output_embeddings()
    return {
        path.replace(".base_layer", ""): (module.in_features, module.out_features)
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear) and module is not head and ".lora_" not in path
    }


def about(model: LoadedModel, **changes: Any) -> AdapterAbout:
    """What an adapter for this model says of itself."""
    info = model.info
    given: dict[str, Any] = {
        "scope": "default", "base_model": info.name, "base_revision": info.revision, "model_type": info.model_type,
        "prompt_version": PROMPT_VERSION, "tokenizer_sha256": model.tokenizer_sha256, "run_id": "run-1",
        "data_hash": "d", "settings_hash": "s", "train_pairs": 3, "settings": {"rank": RANK}, "metrics": {},
        "base_fingerprint": info.fingerprint,
    }  # fmt: skip
    return AdapterAbout(**{**given, **changes})


def weights(model: LoadedModel, seed: int, *, rank: int = RANK, strength: float = 0.4) -> dict[str, torch.Tensor]:
    """Random matrices for every linear layer, strong enough that what is written changes."""
    found = {}
    for path, (inner, outer) in linear_paths(model).items():
        chance = torch.Generator().manual_seed(zlib.crc32(f"{seed} {path}".encode()))
        found[f"base_model.model.{path}.lora_A.weight"] = torch.randn(rank, inner, generator=chance) * strength
        found[f"base_model.model.{path}.lora_B.weight"] = torch.randn(outer, rank, generator=chance) * strength
    return found


def config(model: LoadedModel, **changes: Any) -> dict[str, Any]:
    """peft's own config for them."""
    leaves = sorted({path.rsplit(".", 1)[-1] for path in linear_paths(model)})
    given: dict[str, Any] = {"r": RANK, "lora_alpha": 2 * RANK, "lora_dropout": 0.05, "target_modules": leaves}
    found: dict[str, Any] = LoraConfig(**{**given, **changes}).to_dict()
    return found


def make_adapter(
    model: LoadedModel,
    adapters: Path,
    seed: int = 1,
    *,
    tensors: Mapping[str, torch.Tensor] | None = None,
    options: Mapping[str, object] | None = None,
    **changes: Any,
) -> Manifest:
    """Publish one; ``changes`` go into what it says of itself."""
    return publish(
        adapters,
        weights=weights(model, seed) if tensors is None else tensors,
        config=config(model) if options is None else options,
        about=about(model, **changes),
    )


def attached(model: LoadedModel, adapters: Path, seed: int = 1) -> str:
    """Publish one and attach it; its id."""
    name = make_adapter(model, adapters, seed).id
    model.attach(model.prepare(adapters / name))
    return name


def forge(directory: Path, *, adapter: AdapterAbout, files: Mapping[str, bytes]) -> Path:
    """Write an adapter of any content with a manifest that vouches for it, as only a program of ill will would.

    Returns:
        its directory in ``directory``.
    """
    entries = {name: FileEntry(hashlib.sha256(data).hexdigest(), len(data)) for name, data in files.items()}
    manifest = Manifest(FORMAT, identity(adapter, entries), "2026-01-01T00:00:00+00:00", adapter, entries)
    folder = directory / manifest.id
    folder.mkdir(parents=True)
    for name, data in {**files, MANIFEST: encode(manifest)}.items():
        (folder / name).write_bytes(data)
    return folder
