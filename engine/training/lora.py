"""A base with LoRA on all its linear layers, ready to learn; its own copy, never the one that serves.

The base is loaded as the engine loads it (NF4, double quantisation) and frozen. Where dense arithmetic is the faster
and memory allows, the NF4 numbers are expanded once (:mod:`engine.model.expansion`), before any forward pass: on CPUs
with AVX512-BF16 bitsandbytes repacks the weights in its first one outside training, and gradients cannot pass through.
Computed in bfloat16 where there is hardware for it, else in float32; never in float16.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.model import hardware
from engine.model.checkpoint import Checkpoint, check_family, fingerprint, read_checkpoint
from engine.model.loading import as_model_error, describe, load_tokenizer, load_weights, quiet_libraries
from engine.model.resolve import Resolved, resolve
from engine.model.tokens import Tokens
from engine.requests import ModelInfo
from engine.settings import EngineSettings
from engine.training.job import Hyper, Listener, TrainingFailed
from engine.training.memory import MemoryPlan
from storage.errors import ModelError

if TYPE_CHECKING:
    import torch

_NO_END = "The model {name} has no token that ends an answer."


@dataclass(frozen=True, slots=True)
class Base:
    """A base that is known and not loaded yet.

    Attributes:
        found: where it is.
        checkpoint: its stored tensors.
        kind: ``encoder-decoder`` or ``decoder``.
        config: of transformers.
        generation: its own settings of generation.
        machine: where it will run.
        low_precision: whether there is hardware for bfloat16.
        tokens: its tokenizer.
        info: what the rest of the program knows of it.
        end: the token that ends an answer.
        first: the token that answers begin with by the model's settings; None where there is none, or nobody knows.
    """

    found: Resolved
    checkpoint: Checkpoint
    kind: str
    config: Any
    generation: Any
    machine: hardware.Hardware
    low_precision: bool
    tokens: Tokens
    info: ModelInfo
    end: int
    first: int | None


def open_base(settings: EngineSettings, listener: Listener, *, pins: Path | None = None) -> Base:
    """Look at the configured base: tokenizer and config are read, weights are not.

    Raises:
        ModelError: it is not there, or none that Redraft loads.
        TrainingFailed: it has no token that ends an answer.
    """
    hardware.let_idle_threads_sleep()
    from transformers import AutoConfig, GenerationConfig

    machine = hardware.probe_hardware(settings.engine_device)
    found = resolve(settings, pins=pins, tell=listener.tell, admit=check_family)
    checkpoint = read_checkpoint(found.path, found.name)
    kind = check_family(checkpoint)
    with quiet_libraries(), as_model_error(found.name):
        tokens = Tokens(load_tokenizer(found.path), encoder_decoder=kind == "encoder-decoder")
        config = AutoConfig.from_pretrained(found.path, local_files_only=True, trust_remote_code=False)
        try:
            generation = GenerationConfig.from_pretrained(found.path, local_files_only=True)
        except OSError:
            generation = GenerationConfig.from_model_config(config)
    info = describe(settings, found, config, tokens.tokenizer, tokens, machine, "nf4")
    ends = generation.eos_token_id
    end = tokens.answer_end([ends] if isinstance(ends, int) else list(ends or []))
    if end is None:
        raise TrainingFailed(_NO_END.format(name=found.name), "Choose another model as ENGINE_MODEL.")
    forced = getattr(generation, "forced_bos_token_id", None)
    return Base(
        found=found,
        checkpoint=checkpoint,
        kind=kind,
        config=config,
        generation=generation,
        machine=machine,
        low_precision=str(machine.dtype) == "torch.bfloat16" or (machine.device == "cpu" and machine.fast_4bit),
        tokens=tokens,
        info=replace(info, fingerprint=fingerprint(checkpoint)),
        end=end,
        first=int(forced) if kind == "encoder-decoder" and forced is not None else None,
    )


def load_trainable(base: Base, hyper: Hyper, plan: MemoryPlan) -> Any:
    """The base with fresh LoRA matrices, as peft's model, in training mode on its device; the base itself is frozen.

    Raises:
        ModelError: its weights cannot be loaded.
    """
    import torch
    from peft import LoraConfig, TaskType, get_peft_model, prepare_model_for_kbit_training
    from peft.tuners.tuners_utils import BaseTunerLayer

    from engine.model import expansion

    machine = base.machine
    if plan.representation != "full" and (failure := hardware.four_bit_failure(machine.device)):
        raise ModelError(
            f"4-bit loading does not work on this machine: {failure.rstrip('.')}.", "Run `redraft doctor`."
        )
    with quiet_libraries(), as_model_error(base.found.name):
        model = load_weights(base.found.path, base.kind, machine, quantise=plan.representation != "full")
        if plan.representation == "nf4-expanded":
            expansion.expand(model, torch.bfloat16 if base.low_precision else torch.float32)
        elif machine.device == "cpu":
            for _, layer in expansion.quantised_layers(model):
                layer.support_avx512bf16_for_cpu = False
        tensors = {name: parameter.dtype for name, parameter in model.named_parameters()}
        model = prepare_model_for_kbit_training(
            model,
            use_gradient_checkpointing=plan.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
        if plan.representation == "nf4-expanded":
            # It brought them all to fp32; the expanded ones are only ever multiplied in their own type.
            for name, parameter in model.named_parameters():
                parameter.data = parameter.data.to(tensors[name])
        if plan.checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        torch.manual_seed(hyper.seed)
        config = LoraConfig(
            task_type=TaskType.SEQ_2_SEQ_LM if base.kind == "encoder-decoder" else TaskType.CAUSAL_LM,
            r=hyper.rank,
            lora_alpha=hyper.alpha,
            lora_dropout=hyper.dropout,
            target_modules="all-linear",
            bias="none",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainable = get_peft_model(model, config, autocast_adapter_dtype=True)
    if base.low_precision:
        # Autocast casts inputs by itself; peft would first make copies in fp32 of them, for a fifth of the time.
        for module in trainable.modules():
            if isinstance(module, BaseTunerLayer):
                module.cast_input_dtype_enabled = False
    trainable.config.use_cache = False
    return trainable.train()


def adapter_config(model: Any, info: ModelInfo) -> dict[str, Any]:
    """peft's configuration of the adapter as plain values, without a path of this machine."""
    found: dict[str, Any] = model.peft_config["default"].to_dict()
    found["base_model_name_or_path"] = info.name
    found["revision"] = info.revision or None
    found["inference_mode"] = True
    return {
        name: sorted(value) if isinstance(value, set) else getattr(value, "value", value)
        for name, value in found.items()
    }


def lora_weights(model: Any) -> dict[str, torch.Tensor]:
    """Copies of LoRA's matrices by peft's names, on the CPU in fp32."""
    import torch
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().to("cpu", torch.float32, copy=True) for name, tensor in found.items()}


def restore_weights(model: Any, weights: Any) -> None:
    """Put LoRA's matrices back."""
    from peft import set_peft_model_state_dict

    set_peft_model_state_dict(model, dict(weights))
