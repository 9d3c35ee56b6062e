"""Adapters on a loaded model: attached beside the base's weights, never merged into them, told apart row by row.

Everything that can be refused is refused before the model is touched: which options the config may use, that the
tensors are those of the layers that it names and of its rank, that every number is finite. peft wraps the layers when
the first adapter comes and they are unwrapped when the last one goes, so that a base without adapters costs nothing.

While none is named a wrapped layer is the base's: no adapter is ever what peft calls active. It knows nothing of
files, requests or who may be served by what; one thread owns it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as read_tensors
from torch import nn

from engine.failures import ModelLost
from engine.model.adapter_files import Checked, Manifest, refusal
from storage.errors import EngineError

log = logging.getLogger(__name__)

BASE = "base"
#: What peft calls a row that no adapter writes.
_PEFT_BASE = "__base__"
_PREFIX = "base_model.model."
#: Options of a config that we read, and those that only say how an adapter came about.
_READ = frozenset({"peft_type", "r", "lora_alpha", "target_modules", "exclude_modules", "use_rslora"})
_IDLE = frozenset({
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode",
    "lora_dropout", "init_lora_weights", "megatron_core", "qalora_group_size",
})  # fmt: skip
_LARGEST_RANK = 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """An adapter that fits the model and is ready to be attached.

    Attributes:
        manifest: of its files.
        config: peft's, made anew from the options that we read.
        pairs: its two matrices by the path of their layer: A is (rank, in), B is (out, rank), fp32 on the CPU.
    """

    manifest: Manifest
    config: Any
    pairs: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    @property
    def id(self) -> str:
        """The adapter's id."""
        return self.manifest.id


class Adapters:
    """The adapters of one model.

    Args:
        model: a transformers model, not wrapped yet.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._modules = {path: id(module) for path, module in model.named_modules()}
        self._linear = dict(_linear_layers(model))
        self._output = next((path for path, m in model.named_modules() if m is model.get_output_embeddings()), "")
        self._lora: Any = None
        self._layers: list[Any] = []
        self._attached: dict[str, None] = {}  # in the order in which they came

    @property
    def attached(self) -> tuple[str, ...]:
        """Ids of what is attached, in the order in which it came."""
        return tuple(self._attached)

    def prepare(self, checked: Checked) -> Prepared:
        """Check an adapter's config and tensors against the model, without touching it; safe from any thread.

        Raises:
            AdapterError: an option that is not served, or tensors that do not fit; the sentence says which.
        """
        name = checked.manifest.id
        config = self._config(_options(checked.config, name), name)
        try:
            tensors = read_tensors(checked.weights)
        except (SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise refusal(name, "its weights cannot be read") from error
        wanted = self._wanted(config, name)
        names = {f"{_PREFIX}{path}.lora_{side}.weight": (path, side) for path in wanted for side in "AB"}
        if missing := sorted(names.keys() - tensors.keys()):
            raise refusal(name, f"{len(missing)} of its weights are missing, {missing[0][:120]} for one")
        if extra := sorted(tensors.keys() - names.keys()):
            raise refusal(name, f"it has weights that its config does not speak of, {extra[0][:120]} for one")
        for key, (path, side) in names.items():
            layer, shape = self._linear[path], tuple(tensors[key].shape)
            if len(shape) != 2 or shape[0 if side == "A" else 1] != config.r:
                raise refusal(name, f"its weights are not of the rank {config.r} that its config says ({path})")
            if shape[1 if side == "A" else 0] != layer[0 if side == "A" else 1]:
                raise refusal(name, f"its weights do not fit the model's layer {path}")
            if not torch.isfinite(tensors[key]).all():
                raise refusal(name, f"its weights are not all finite numbers ({path})")
        pairs = {
            path: (
                tensors[f"{_PREFIX}{path}.lora_A.weight"].to(torch.float32),
                tensors[f"{_PREFIX}{path}.lora_B.weight"].to(torch.float32),
            )
            for path in wanted
        }
        return Prepared(checked.manifest, config, pairs)

    def attach(self, prepared: Prepared) -> None:
        """Put an adapter beside the base; no row is written by it unless its id is named. Harmless when repeated.

        Raises:
            AdapterError: it could not be; the model is as it was.
            ModelLost: it could not be, and the model is not as it was.
        """
        if prepared.id in self._attached:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._inject(prepared)
        except Exception as error:
            log.warning("attaching the adapter %s failed", prepared.id, exc_info=True)
            self._remove(prepared.id)
            if isinstance(error, torch.OutOfMemoryError | MemoryError):
                raise refusal(prepared.id, "the memory is too small for one more adapter") from error
            raise refusal(prepared.id, f"it could not be attached ({type(error).__name__})") from error
        self._attached[prepared.id] = None

    def detach(self, name: str) -> None:
        """Take an adapter off; the layers are the base's own again once none is left. Harmless when repeated.

        Raises:
            ModelLost: the model is not as it should be afterwards.
        """
        if name in self._attached:
            del self._attached[name]
            self._remove(name)

    def generate(self, names: Sequence[str], arguments: dict[str, Any]) -> None:
        """``generate`` of the model, each row by the adapter whose id is named for it, or by ``base``.

        Raises:
            EngineError: one of them is not attached.
            ModelLost: something of this call was left in the model and could not be removed.
        """
        with self.routed(names, num_beams=arguments["num_beams"]):
            self._model.generate(**arguments)

    @contextmanager
    def routed(self, names: Sequence[str], *, num_beams: int = 1) -> Iterator[None]:
        """Within it, every forward pass of so many rows is by these adapters.

        peft tells the layers by hooks, which it does not remove when the block raises; the next call would then be
        served by these adapters whatever it names. They are removed here, and it is looked whether they are.

        Raises:
            EngineError: one of them is not attached.
            ModelLost: a hook is left.
        """
        for name in names:
            if name != BASE and name not in self._attached:
                raise EngineError(f"There is no adapter {name[:80]} in this engine.", "Ask for the base model.")
        if self._lora is None:
            yield
            return
        try:
            peft_names = [_PEFT_BASE if name == BASE else name for name in names]
            # What PeftModel.generate does; that class keeps a current adapter, whose removal breaks it.
            with self._lora._enable_peft_forward_hooks(adapter_names=peft_names, num_beams=num_beams):
                yield
        finally:
            self._remove_hooks()

    # ----------------------------------------------------------------------------------------------------------------

    def _config(self, options: dict[str, Any], name: str) -> Any:
        """peft's config with the options that we read, all others at their defaults."""
        from peft import LoraConfig

        defaults = LoraConfig().to_dict()
        for key, value in options.items():
            if key not in _READ | _IDLE and value != defaults.get(key) and value not in (None, False, [], {}):
                raise refusal(name, f"its config asks for {key[:60]}, which is not served")
        if options.get("peft_type") != "LORA":
            raise refusal(name, "it is no LoRA adapter")
        # Others start from a base whose weights they change.
        if options.get("init_lora_weights", True) not in (True, False, "gaussian", "orthogonal"):
            raise refusal(name, "it was trained on changed weights of the base (init_lora_weights)")
        rank, alpha = options.get("r"), options.get("lora_alpha")
        if not isinstance(rank, int) or not 1 <= rank <= _LARGEST_RANK:
            raise refusal(name, "its config says no sensible rank")
        if not isinstance(alpha, int | float) or not 0 < alpha <= 1e6:
            raise refusal(name, "its config says no sensible alpha")
        targets, without = options.get("target_modules"), options.get("exclude_modules")
        if targets == "all-linear":
            targets = [path for path in self._linear if path != self._output]
        if not _names(targets) or not (without in (None, []) or _names(without)):
            raise refusal(name, "its config does not name the layers that it is for")
        return LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=sorted(targets or []),
            exclude_modules=sorted(without) if without else None,
            use_rslora=bool(options.get("use_rslora")),
            inference_mode=True,
        )

    def _wanted(self, config: Any, name: str) -> list[str]:
        """The layers that a config is for."""
        from peft.tuners.tuners_utils import check_target_module_exists

        found = [path for path in self._modules if path and check_target_module_exists(config, path)]
        if not found:
            raise refusal(name, "the model has none of the layers that it is for")
        if strange := [path for path in found if path not in self._linear]:
            raise refusal(name, f"it is for a layer that is not linear ({strange[0]})")
        return found

    def _inject(self, prepared: Prepared) -> None:
        from peft.tuners.lora import LoraLayer, LoraModel

        name = prepared.id
        # Without numbers first (low_cpu_mem_usage), so that none of peft's own is ever in a layer.
        if self._lora is None:
            self._lora = LoraModel(self._model, prepared.config, name, low_cpu_mem_usage=True)
        else:
            self._lora.peft_config[name] = prepared.config
            self._lora.inject_adapter(self._model, name, low_cpu_mem_usage=True)
        for path, pair in prepared.pairs.items():
            layer = self._model.get_submodule(path)
            device = layer.get_base_layer().weight.device
            for side, tensor in zip((layer.lora_A, layer.lora_B), pair, strict=True):
                side[name].weight = nn.Parameter(tensor.to(device), requires_grad=False)
        self._layers = [module for module in self._model.modules() if isinstance(module, LoraLayer)]
        if sum(name in layer.lora_A for layer in self._layers) != len(prepared.pairs):
            raise ValueError("peft chose other layers than it said it would")
        self._lora.set_adapter([])
        self._lora.eval()

    def _remove(self, name: str) -> None:
        """Take an adapter off that may be only half there, and look whether nothing of it is left."""
        from peft.tuners.lora import LoraLayer

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if self._attached and self._lora is not None:
                    if name in self._lora.peft_config:
                        self._lora.delete_adapter(name)
                    self._lora.set_adapter([])
                else:
                    self._unwrap(LoraLayer)
        except Exception as error:
            raise ModelLost("An adapter could not be taken off the model.") from error
        self._layers = [module for module in self._model.modules() if isinstance(module, LoraLayer)]
        left = any(name in getattr(layer, kind) for layer in self._layers for kind in ("lora_A", "lora_B", "scaling"))
        if left or (not self._attached and not self._as_loaded()):
            raise ModelLost("An adapter could not be taken off the model.")

    def _unwrap(self, kind: Any) -> None:
        """The base's own layers back in their places, also where an injection stopped half-way."""
        for path, module in list(self._model.named_modules()):
            if isinstance(module, kind):
                self._model.set_submodule(path, module.base_layer)
        if hasattr(self._model, "peft_config"):
            del self._model.peft_config  # peft would take the next adapter for one more of the same wrapping
        self._lora = None

    def _as_loaded(self) -> bool:
        return self._modules == {path: id(module) for path, module in self._model.named_modules()}

    def _remove_hooks(self) -> None:
        for layer in self._layers:
            if not layer._forward_pre_hooks:
                continue
            for key in list(layer._forward_pre_hooks):
                layer._forward_pre_hooks.pop(key, None)
                layer._forward_pre_hooks_with_kwargs.pop(key, None)
        if any(layer._forward_pre_hooks or layer._forward_pre_hooks_with_kwargs for layer in self._layers):
            raise ModelLost("What an adapter left in the model could not be removed.")


def _options(data: bytes, name: str) -> dict[str, Any]:
    try:
        options = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise refusal(name, "its config cannot be read") from error
    if not isinstance(options, dict):
        raise refusal(name, "its config cannot be read")
    return options


def _names(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) and one for one in value)


def _linear_layers(model: Any) -> Iterator[tuple[str, tuple[int, int]]]:
    """Path and size (in, out) of every layer that may have an adapter."""
    for path, module in model.named_modules():
        # bitsandbytes' 4-bit layer is one too.
        if isinstance(module, nn.Linear):
            yield path, (module.in_features, module.out_features)
