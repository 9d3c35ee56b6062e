"""What a model's directory holds, read without loading it: its family, its weight files, the memory it would take.

Reads ``config.json`` and the headers of safetensors files (their format: eight bytes of length, then JSON). Refuses
what Redraft never loads: pickled weights, code of the model's own, weights quantised by somebody else, models that
do not write text. Knows nothing of the Hub or of devices.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from storage.errors import ModelError

Representation = Literal["nf4", "nf4-expanded", "full"]

#: Names of matrices that are no linear layers, and of heads: bitsandbytes leaves them as they are.
_NOT_QUANTISED = re.compile(r"embed|shared\.|\bwte\b|\bwpe\b|lm_head|relative_attention_bias|norm", re.IGNORECASE)
#: T5 keeps these in fp32 because they overflow, so they are never quantised.
_T5_OUTPUT = re.compile(r"\.wo\.weight$")
#: NF4 with double quantisation: half a byte, a byte of scale per 64 weights, four bytes per 256 of those.
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)
_WRITERS = ("ForConditionalGeneration", "ForCausalLM", "LMHeadModel", "WithLMHead", "EncoderDecoderModel")
_MAX_HEADER = 100 * 2**20
#: Bytes of one sample of a weight file.
_SAMPLE = 16384


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """One tensor of a weight file: its name, shape and stored type (safetensors' spelling)."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def count(self) -> int:
        """How many numbers it holds."""
        total = 1
        for side in self.shape:
            total *= side
        return total


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A directory that can be loaded.

    Attributes:
        path: the directory.
        name: what to call it in front of people.
        model_type: of its config.
        config: the parsed ``config.json``.
        tensors: every tensor of its weight files.
    """

    path: Path
    name: str
    model_type: str
    config: dict[str, Any]
    tensors: tuple[StoredTensor, ...]

    def quantised(self, tensor: StoredTensor) -> bool:
        """Whether 4-bit loading would quantise this tensor."""
        if len(tensor.shape) != 2 or _NOT_QUANTISED.search(tensor.name):
            return False
        return not ("t5" in self.model_type and _T5_OUTPUT.search(tensor.name))

    def bytes_held(self, representation: Representation, item_bytes: int) -> int:
        """Estimate of the memory that its weights take once loaded.

        Args:
            representation: as loaded.
            item_bytes: size of one unquantised number: 4 in fp32, 2 in bf16.
        """
        nf4 = representation == "nf4"
        return int(sum(t.count * (_NF4_BYTES if nf4 and self.quantised(t) else item_bytes) for t in self.tensors))

    def bytes_needed(self, representation: Representation, item_bytes: int) -> int:
        """Estimate of the free memory that loading and running it takes.

        Beyond the weights: the largest tensor twice, as read and as converted, and room for activations and caches.
        """
        held = self.bytes_held(representation, item_bytes)
        largest = max((t.count for t in self.tensors), default=0) * 4
        return held + 2 * largest + max(held // 10, 128 * 2**20)


def read_checkpoint(path: Path, name: str) -> Checkpoint:
    """Read a directory's config and weight headers.

    Raises:
        ModelError: it is not a complete checkpoint, or one that is never loaded (see the top of this file).
    """
    config = read_config(path, name)
    files = weight_files(name, {file.name for file in path.iterdir() if file.is_file()}, path)
    tensors = tuple(tensor for file in files for tensor in _read_header(path / file, name))
    return Checkpoint(path, name, str(config["model_type"]), config, tensors)


def fingerprint(checkpoint: Checkpoint) -> str:
    """A hash of the config and of samples of the weights, 32 hexadecimal digits; reads at most a few megabytes.

    Two models of one name and revision (directories have none) differ in it; it is no proof against forgery.
    """
    files = weight_files(checkpoint.name, {each.name for each in checkpoint.path.iterdir()}, checkpoint.path)
    digest = hashlib.sha256(json.dumps(checkpoint.config, sort_keys=True).encode())
    try:
        for file in files:
            with (checkpoint.path / file).open("rb") as stream:
                size = stream.seek(0, 2)
                digest.update(f"{file}:{size}:".encode())
                # Every hundredth of the file: a fine-tune changes all of them.
                for at in range(0, size, max(_SAMPLE, size // 100)):
                    stream.seek(at)
                    digest.update(stream.read(_SAMPLE))
    except OSError as error:
        raise ModelError(f"The weights of the model {checkpoint.name} cannot be read.", _AGAIN) from error
    return digest.hexdigest()[:32]


def check_family(checkpoint: Checkpoint) -> Literal["encoder-decoder", "decoder"]:
    """Which of the two ways of writing the model has.

    Raises:
        ModelError: it does not write text, or needs code of its own, or transformers does not know its type.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    name, kind, config = checkpoint.name, checkpoint.model_type, checkpoint.config
    if kind not in CONFIG_MAPPING:
        if config.get("auto_map"):
            raise ModelError(
                f"The model {name} ({kind}) needs code of its own, which Redraft never runs.",
                "Choose a model that transformers supports by itself.",
            )
        raise ModelError(
            f"The model {name} is of the family {kind}, which this version of transformers does not know.",
            "Choose another model, or upgrade transformers.",
        )
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method", "another method") if isinstance(quantised, dict) else "another method"
        raise ModelError(
            f"The model {name} has been quantised already ({method}).",
            "Choose the original it was made from: Redraft quantises it while loading.",
        )
    architecture = str((config.get("architectures") or [""])[0])
    if not architecture or architecture.endswith(_WRITERS):
        if kind in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES and _is_encoder_decoder(config, kind):
            return "encoder-decoder"
        if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES and not _is_encoder_decoder(config, kind):
            return "decoder"
    raise ModelError(
        f"The model {name} ({architecture or kind}) does not write text.",
        "Choose an encoder-decoder (T5, BART, Pegasus) or a causal language model (Qwen, Llama, Gemma).",
    )


def _is_encoder_decoder(config: dict[str, Any], kind: str) -> bool:
    from transformers import AutoConfig

    default = getattr(AutoConfig.for_model(kind), "is_encoder_decoder", False)
    return bool(config.get("is_encoder_decoder", default))


def weight_files(name: str, present: set[str], folder: Path | None = None) -> list[str]:
    """Which of the files present hold the weights.

    Args:
        name: what to call the model in front of people.
        present: names of the files at the top of the directory or repository.
        folder: where they are, to read which shards an index names; None takes every shard that is present.

    Raises:
        ModelError: there are no safetensors, only pickles, or not all shards.
    """
    if "model.safetensors" in present:
        return ["model.safetensors"]
    if "model.safetensors.index.json" in present:
        if folder is None:
            return sorted(file for file in present if re.fullmatch(r"model-\d+-of-\d+\.safetensors", file))
        try:
            index = json.loads((folder / "model.safetensors.index.json").read_text(encoding="utf-8"))
            shards = sorted({str(file) for file in index["weight_map"].values()})
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise ModelError(f"The weight index of the model {name} cannot be read.", _AGAIN) from error
        missing = [shard for shard in shards if shard not in present]
        if missing:
            raise ModelError(f"The model {name} is incomplete: {missing[0]} is missing.", _AGAIN)
        return shards
    if any(file.endswith((".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")) for file in present):
        raise ModelError(
            f"The model {name} has its weights only in formats that can carry code (.bin and the like).",
            "Redraft loads safetensors only: choose another model or revision, or convert it on a machine apart.",
        )
    raise ModelError(f"The model {name} has no weights: model.safetensors is missing.", _AGAIN)


_AGAIN = "Fetch the model again, or point ENGINE_MODEL to a complete one."


def read_config(path: Path, name: str) -> dict[str, Any]:
    """The parsed ``config.json`` of a directory; has a ``model_type``.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{name} is no model: config.json is missing.", _AGAIN) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"The config.json of the model {name} cannot be read.", _AGAIN) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise ModelError(f"The config.json of the model {name} does not say what it is (model_type).", _AGAIN)
    return config


def _read_header(file: Path, name: str) -> list[StoredTensor]:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= _MAX_HEADER:
                raise ValueError("not a safetensors file")
            header = json.loads(stream.read(length))
        tensors, end = [], 0
        for key, entry in header.items():
            if key != "__metadata__":
                tensors.append(StoredTensor(key, tuple(int(side) for side in entry["shape"]), str(entry["dtype"])))
                end = max(end, int(entry["data_offsets"][1]))
        if file.stat().st_size < 8 + length + end:
            raise ValueError("truncated")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The weights of the model {name} are damaged: {file.name}.", _AGAIN) from error
    return tensors
