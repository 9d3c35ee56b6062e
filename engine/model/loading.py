"""From settings to a loaded model: found, checked, sized, quantised, and expanded where that is faster.

The one door of ``engine.model``: :func:`load`. Everything that can be refused is refused before weights are read, in
one sentence. A loaded model stays on its device for good. Importing this file does not import torch; calling ``load``
does, after saying how its threads are to wait.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.model import hardware
from engine.model.checkpoint import Checkpoint, Representation, check_family, fingerprint, read_checkpoint
from engine.model.resolve import Resolved, Tell, refuse_too_big, resolve
from engine.model.tokens import Tokens
from engine.requests import ModelInfo
from engine.settings import EngineSettings
from storage.errors import ModelError

if TYPE_CHECKING:
    from engine.model.generation import LoadedModel

log = logging.getLogger(__name__)

#: What tokenizers say when they know no limit is a number near 10**30.
_NO_LIMIT = 10**7
#: Models with relative positions read more than they were trained on, and badly; T5's and its kin's is 512.
_RELATIVE_POSITIONS = 512


def load(settings: EngineSettings, progress: Tell | None = None, *, pins: Path | None = None) -> LoadedModel:
    """Load the model that the settings name.

    Args:
        settings: model, device, quantisation, limits.
        progress: hears one sentence per step that takes time (``Fetching ...``, ``Loading ...``).
        pins: JSON file that remembers which commit a Hub id without a revision was first resolved to; the
            ``models.json`` of the data directory. None asks the Hub again each time.

    Raises:
        ModelError: missing, unreachable, gated, unsafe, of an unknown family, damaged, or too big; in one sentence.
    """
    hardware.let_idle_threads_sleep()
    import torch

    from engine.model import expansion
    from engine.model.generation import LoadedModel

    tell = progress or (lambda _: None)
    machine = hardware.probe_hardware(settings.engine_device)

    def admit(checkpoint: Checkpoint) -> tuple[str, Representation]:
        """Refuse by family and memory: before weights are fetched, and again with what lies on the disk."""
        return check_family(checkpoint), _choose(settings, machine, checkpoint)

    found = resolve(settings, pins=pins, tell=tell, admit=admit)
    checkpoint = read_checkpoint(found.path, found.name)
    kind, representation = admit(checkpoint)
    if settings.engine_threads:
        torch.set_num_threads(settings.engine_threads)
    if representation != "full" and (failure := hardware.four_bit_failure(machine.device)):
        raise ModelError(
            f"4-bit loading does not work on this machine: {failure.rstrip('.')}.",
            "Run `redraft doctor`, or set ENGINE_QUANTIZATION=none for a model that fits without.",
        )
    tell(f"Loading {found.name}.")
    with quiet_libraries(), as_model_error(found.name):
        tokenizer = load_tokenizer(found.path)
        model = load_weights(found.path, kind, machine, quantise=representation != "full")
    if representation == "nf4-expanded":
        tell("Expanding the 4-bit weights.")
        expansion.expand(model, machine.dtype)
    elif representation == "nf4" and machine.device == "cpu":
        expansion.avoid_unsupported_packing(model)
    tokens = Tokens(tokenizer, encoder_decoder=kind == "encoder-decoder")
    info = describe(settings, found, model.config, tokenizer, tokens, machine, representation)
    return LoadedModel(model, tokens, replace(info, fingerprint=fingerprint(checkpoint)))


def _choose(settings: EngineSettings, machine: hardware.Hardware, checkpoint: Checkpoint) -> Representation:
    """The representation by settings and memory; refuses what does not fit."""
    from engine.model import expansion

    item = machine.dtype.itemsize
    free = machine.free_bytes
    representation: Representation = "full" if settings.engine_quantization == "none" else "nf4"
    if representation == "nf4" and expansion.wants_expansion(
        settings.engine_expand,
        device=machine.device,
        fast_4bit=machine.fast_4bit,
        extra_bytes=checkpoint.bytes_held("nf4-expanded", item) - checkpoint.bytes_held("nf4", item),
        free_bytes=free,
    ):
        representation = "nf4-expanded"
    refuse_too_big(checkpoint.name, checkpoint.bytes_needed(representation, item), free, representation, machine.device)
    return representation


def load_tokenizer(path: Path) -> Any:
    """The transformers tokenizer in a directory; nothing is fetched and no code of its own is run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)


def load_weights(path: Path, kind: str, machine: hardware.Hardware, *, quantise: bool) -> Any:
    """The transformers model on its device; 4-bit by bitsandbytes' own choice of layers.

    The skip list stays None: setting it would replace the defaults, which keep the head and T5's ``wo`` out.
    """
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, BitsAndBytesConfig

    arguments: dict[str, Any] = {
        "dtype": machine.dtype,
        "device_map": {"": 0 if machine.device == "cuda" else "cpu"},
        "local_files_only": True,
        "trust_remote_code": False,
        "use_safetensors": True,
        "output_loading_info": True,
    }
    if quantise:
        hardware.bitsandbytes()
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=machine.dtype,
        )
    family = AutoModelForSeq2SeqLM if kind == "encoder-decoder" else AutoModelForCausalLM
    model, report = family.from_pretrained(path, **arguments)
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would go on with random numbers in their place.
        raise ModelError(
            f"The weights of the model {path.name} are incomplete: {missing[0]} is missing.", "Fetch the model again."
        )
    return model.eval()


def describe(
    settings: EngineSettings,
    found: Resolved,
    config: Any,
    tokenizer: Any,
    tokens: Tokens,
    machine: hardware.Hardware,
    representation: Representation,
) -> ModelInfo:
    """What the rest of the program may know of a model; its fingerprint is left to the caller."""
    encoder_decoder = bool(config.is_encoder_decoder)
    context = min(context_tokens(config, tokenizer), settings.engine_max_context)
    # A decoder-only model writes into its context: an answer may take half of it, so that a prompt always has the rest.
    room = decoder_tokens(config) if encoder_decoder else context // 2
    ours = getattr(config, "redraft", None)
    ours = ours if isinstance(ours, dict) else {}
    return ModelInfo(
        name=found.name,
        revision=found.revision,
        model_type=str(config.model_type),
        encoder_decoder=encoder_decoder,
        chat=tokens.chat,
        context_tokens=context,
        max_new_tokens=min(settings.engine_max_new_tokens, room),
        uncased=tokens.uncased,
        focus_line=bool(ours.get("focus", False)),
        demonstration=bool(ours.get("demonstration", False)),
        device=machine.device,
        representation=representation,
    )


def context_tokens(config: Any, tokenizer: Any) -> int:
    """The longest prompt in tokens, by the config's positions and the tokenizer's own limit."""
    text = config.get_text_config(decoder=True) if not config.is_encoder_decoder else config
    limits = [
        getattr(text, name, None)
        for name in ("max_encoder_position_embeddings", "max_position_embeddings", "n_positions")
    ]
    known = [limit for limit in (*limits, getattr(tokenizer, "model_max_length", None)) if limit]
    sensible = [int(limit) for limit in known if 0 < limit < _NO_LIMIT]
    return min(sensible) if sensible else _RELATIVE_POSITIONS


def decoder_tokens(config: Any) -> int:
    """The longest answer of an encoder-decoder model in tokens, its start token taken off; no limit is a large one."""
    for name in ("max_decoder_position_embeddings", "max_position_embeddings"):
        limit = getattr(config, name, None)
        if limit:
            return int(limit) - 1
    return _NO_LIMIT


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """No progress bars and no remarks of transformers while loading."""
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


@contextlib.contextmanager
def as_model_error(name: str) -> Iterator[None]:
    """Whatever the libraries raise on a bad checkpoint, as one sentence; the log has the rest."""
    import torch

    try:
        yield
    except ModelError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelError(f"The memory ran out while loading the model {name}.", "Choose a smaller model.") from error
    except Exception as error:
        # The libraries' own words go to the log: they are written for programmers, and this sentence may reach a chat.
        log.warning("loading failed", exc_info=True)
        raise ModelError(
            f"The model {name} could not be loaded ({type(error).__name__}).",
            "Fetch it again, or choose another; `redraft doctor` checks the libraries, and the log has the reason.",
        ) from error
