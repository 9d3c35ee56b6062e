"""Adapters on real tiny models of four families: what each row writes, and what is left when something goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer, LoraModel
from safetensors.torch import save
from torch import nn

from engine.batching import Batcher
from engine.failures import ModelLost
from engine.model.adapter_files import CONFIG, WEIGHTS
from engine.model.generation import LoadedModel
from engine.model.loading import load
from engine.protocols import Generated, Row
from engine.settings import EngineSettings
from storage.errors import AdapterError, EngineError
from tests.engine.model.listening import Heard, write
from tests.engine.model.lora import RANK, about, attached, config, forge, linear_paths, make_adapter, weights
from tests.engine.model.test_contract import PROMPTS
from tests.engine.tiny import NAMES

Loader = Callable[..., LoadedModel]
pytestmark = pytest.mark.xdist_group("tiny-models")
WAYS = {
    "nf4": {"engine_expand": "never"},
    "expanded": {"engine_expand": "always"},
    "full": {"engine_quantization": "none"},
}


@pytest.fixture
def tiny(load_tiny: Loader) -> Iterator[Loader]:
    """As ``load_tiny``; whatever a test attaches is taken off after it, for the models are shared."""
    seen: list[LoadedModel] = []

    def remember(name: str, **settings: Any) -> LoadedModel:
        model = load_tiny(name, **settings)
        assert model.attached == ()
        seen.append(model)
        return model

    yield remember
    for model in seen:
        for name in model.attached:
            model.detach(name)


def alone(model: LoadedModel, row: Row) -> Generated:
    return write(model, [row]).ended[0]


def mixed(*adapters: str, count: int = 12) -> list[Row]:
    """Every prompt by every adapter, neighbours by different ones."""
    number = len(adapters)
    return [
        Row(prompt, count, adapter=adapters[(i + j) % number])
        for i in range(number)
        for j, prompt in enumerate(PROMPTS)
    ]


# What is written ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_each_row_of_a_mixed_batch_writes_what_it_writes_alone(
    tiny: Loader, tmp_path: Path, name: str, way: str
) -> None:
    model = tiny(name, **WAYS[way])
    before = write(model, [Row(prompt, 12) for prompt in PROMPTS]).ended
    first, second = attached(model, tmp_path, 1), attached(model, tmp_path, 2)
    batch = mixed("base", first, second)
    together = write(model, batch).ended
    for i, row in enumerate(batch):
        assert together[i] == alone(model, row), f"row {i} by {row.adapter}"
    written = {(row.prompt, row.adapter): together[i].text for i, row in enumerate(batch)}
    for i, prompt in enumerate(PROMPTS):
        assert written[prompt, "base"] == before[i].text, "an adapter changed what the base writes"
        assert len({written[prompt, adapter] for adapter in ("base", first, second)}) == 3


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_prompts_that_are_read_apart_are_each_read_by_their_own_adapter(
    tiny: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = tiny(name, **WAYS["full"])
    batch = mixed("base", attached(model, tmp_path, 1), attached(model, tmp_path, 2))
    assert len(model._encoder_groups(model._tokens.encode([row.prompt for row in batch]))) > 1
    apart = write(model, batch).ended
    monkeypatch.setattr(model, "_encoder_groups", lambda prompts: [])
    assert write(model, batch).ended == apart


@pytest.mark.parametrize("name", NAMES)
def test_an_adapter_does_what_its_matrices_say(tiny: Loader, tmp_path: Path, name: str) -> None:
    """Against the same weights added to the layers of a second model by hand: W + alpha/r * B A."""
    model = tiny(name, **WAYS["full"])
    tensors = weights(model, 3)
    by_hand = load(EngineSettings(engine_model=str(_directory(model)), engine_device="cpu", engine_quantization="none"))
    with torch.no_grad():
        for path in linear_paths(model):
            a, b = (tensors[f"base_model.model.{path}.lora_{side}.weight"] for side in "AB")
            by_hand._model.get_submodule(path).weight += 2.0 * (b @ a)
    name = attached(model, tmp_path, 3)
    for prompt in PROMPTS:
        assert alone(model, Row(prompt, 12, adapter=name)) == alone(by_hand, Row(prompt, 12))


def _directory(model: LoadedModel) -> str:
    return str(model._model.name_or_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_cancelled_row_and_rows_of_other_lengths_leave_their_neighbours_alone(
    tiny: Loader, tmp_path: Path, name: str
) -> None:
    model = tiny(name, **WAYS["full"])
    other = attached(model, tmp_path)
    batch = [Row(prompt, 6 + 4 * i, adapter=(other, "base")[i % 2]) for i, prompt in enumerate(PROMPTS)]
    heard = write(model, batch, cancel_after={1: 2, 2: 3})
    for i in (0, 3, 4):
        assert heard.ended[i] == alone(model, batch[i])
    assert {heard.ended[1].stopped, heard.ended[2].stopped} == {"cancelled"}


# Attaching and taking off -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_without_adapters_no_layer_is_wrapped_neither_before_nor_after(tiny: Loader, tmp_path: Path, way: str) -> None:
    model = tiny("bart", **WAYS[way])
    before = {path: id(module) for path, module in model._model.named_modules()}
    first, second = attached(model, tmp_path, 1), attached(model, tmp_path, 2)
    wrapped = [module for module in model._model.modules() if isinstance(module, LoraLayer)]
    assert len(wrapped) == len(linear_paths(model))
    assert not any(layer.merged for layer in wrapped)
    model.detach(first)
    assert model.attached == (second,)
    model.detach(first)
    model.detach(second)
    assert {path: id(module) for path, module in model._model.named_modules()} == before
    assert not hasattr(model._model, "peft_config")
    again = attached(model, tmp_path, 1)
    assert again == first


def test_attaching_twice_is_once_and_what_was_taken_off_is_refused_by_name(tiny: Loader, tmp_path: Path) -> None:
    model = tiny("qwen3", **WAYS["full"])
    name = attached(model, tmp_path)
    model.attach(model.prepare(tmp_path / name))
    assert model.attached == (name,)
    other = attached(model, tmp_path, 2)
    model.detach(name)
    with pytest.raises(EngineError, match=name):
        model.generate([Row("Ana", 4, adapter=name)], Heard())
    assert write(model, [Row("Ana", 4, adapter=other)]).ended


@pytest.mark.parametrize("targets", [["q_proj", "v_proj"], "all-linear"])
def test_an_adapter_for_some_layers_and_one_for_all_serve_together(tiny: Loader, tmp_path: Path, targets: Any) -> None:
    model = tiny("llama", **WAYS["nf4"])
    all_of_it = attached(model, tmp_path, 1)
    paths = [path for path in linear_paths(model) if targets == "all-linear" or path.endswith(("q_proj", "v_proj"))]
    some = {key: tensor for key, tensor in weights(model, 2).items() if any(f".{path}." in key for path in paths)}
    name = make_adapter(model, tmp_path, tensors=some, options=config(model, target_modules=targets)).id
    model.attach(model.prepare(tmp_path / name))
    batch = mixed(name, "base", all_of_it, count=12)
    together = write(model, batch).ended
    assert [together[i] for i in range(len(batch))] == [alone(model, row) for row in batch]


# Refusals -----------------------------------------------------------------------------------------------------------


def forged(
    model: LoadedModel, folder: Path, tensors: dict[str, torch.Tensor] | bytes, options: dict[str, Any] | None = None
) -> Path:
    """An adapter with a manifest that vouches for it, whatever is in it."""
    data = tensors if isinstance(tensors, bytes) else save(tensors, metadata={"format": "pt"})
    text = json.dumps(config(model) if options is None else options, default=sorted).encode()
    return forge(folder, adapter=about(model), files={WEIGHTS: data, CONFIG: text})


def changed(model: LoadedModel, change: Callable[[torch.Tensor], torch.Tensor], side: str = "A") -> Any:
    tensors = weights(model, 5)
    key = next(key for key in tensors if f"lora_{side}" in key)
    return {**tensors, key: change(tensors[key])}


def without(model: LoadedModel, words: str) -> dict[str, torch.Tensor]:
    return {key: tensor for key, tensor in weights(model, 5).items() if words not in key}


BAD: dict[str, tuple[Callable[[LoadedModel], Any], dict[str, Any], str]] = {
    "NaN": (lambda m: changed(m, lambda t: t.fill_(float("nan"))), {}, "not all finite"),
    "infinite": (lambda m: changed(m, lambda t: t.fill_(float("inf"))), {}, "not all finite"),
    "wrong rank": (lambda m: weights(m, 5, rank=RANK + 1), {}, f"not of the rank {RANK}"),
    "wrong rank of one": (lambda m: changed(m, lambda t: t[:, :2].contiguous(), "B"), {}, f"not of the rank {RANK}"),
    "another width": (lambda m: changed(m, lambda t: torch.ones(RANK, t.shape[1] + 1)), {}, "do not fit the model's"),
    "flat": (lambda m: changed(m, lambda t: t.reshape(-1)), {}, f"not of the rank {RANK}"),
    "missing keys": (lambda m: without(m, "fc1.lora_B"), {}, "weights are missing"),
    "missing layer": (lambda m: without(m, "fc1"), {}, "weights are missing"),
    "more keys": (lambda m: {**weights(m, 5), "base_model.model.lm_head.weight": torch.ones(2, 2)}, {}, "not speak of"),
    "no tensors": (lambda m: {}, {}, "weights are missing"),
    "damaged within": (lambda m: _overlapping(), {}, "cannot be read"),
    "no such layer": (lambda m: weights(m, 5), {"target_modules": ["c_attn"]}, "none of the layers"),
    "an embedding": (lambda m: weights(m, 5), {"target_modules": ["shared"]}, "layer that is not linear"),
    "a pattern": (lambda m: weights(m, 5), {"target_modules": ".*fc1"}, "does not name the layers"),
    "DoRA": (lambda m: weights(m, 5), {"use_dora": True}, "use_dora"),
    "biases": (lambda m: weights(m, 5), {"bias": "all"}, "asks for bias"),
    "saved modules": (lambda m: weights(m, 5), {"modules_to_save": ["lm_head"]}, "modules_to_save"),
    "of a newer peft": (lambda m: weights(m, 5), {"use_tomorrow": {"really": True}}, "use_tomorrow"),
    "another base's weights": (lambda m: weights(m, 5), {"init_lora_weights": "pissa"}, "init_lora_weights"),
    "no LoRA": (lambda m: weights(m, 5), {"peft_type": "IA3"}, "no LoRA"),
    "no rank": (lambda m: weights(m, 5), {"r": 0}, "no sensible rank"),
    "alpha of text": (lambda m: weights(m, 5), {"lora_alpha": "2"}, "no sensible alpha"),
    "numbers that drown": (lambda m: {k: t * 1e20 for k, t in weights(m, 5).items()}, {}, "not finite"),
}


def _overlapping() -> bytes:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    header = json.dumps({"x": entry, "y": entry}).encode()
    return len(header).to_bytes(8, "little") + header + b"\0" * 8


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_adapter_is_refused_with_its_reason_while_the_old_one_serves(
    tiny: Loader, tmp_path: Path, bad: str
) -> None:
    model = tiny("bart", **WAYS["full"])
    serving = attached(model, tmp_path)
    batch = mixed("base", serving, count=8)
    before = write(model, batch).ended
    modules = {path: id(module) for path, module in model._model.named_modules()}
    tensors, options, reason = BAD[bad]
    folder = forged(model, tmp_path / "bad", tensors(model), {**config(model), **options})
    with pytest.raises(AdapterError, match=reason) as refused:
        model.attach(model.prepare(folder))
    assert folder.name in refused.value.message
    assert model.attached == (serving,)
    assert {path: id(module) for path, module in model._model.named_modules()} == modules
    assert write(model, batch).ended == before


@pytest.mark.parametrize("first", [True, False])
def test_an_injection_that_stops_half_way_leaves_the_model_as_it_was(
    tiny: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bool
) -> None:
    model = tiny("t5", **WAYS["nf4"])
    serving = [] if first else [attached(model, tmp_path, 1)]
    batch = mixed("base", *serving, count=8)
    before = write(model, batch).ended
    modules = {path: id(module) for path, module in model._model.named_modules()}
    name = make_adapter(model, tmp_path, 2).id
    prepared = model.prepare(tmp_path / name)
    done = 0
    plain = LoraModel._create_and_replace

    def half(self: Any, *arguments: Any, **named: Any) -> None:
        nonlocal done
        done += 1
        if done > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        plain(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(LoraModel, "_create_and_replace", half)
        with pytest.raises(AdapterError, match="memory is too small for one more"):
            model.attach(prepared)
    assert done == 6
    assert {path: id(module) for path, module in model._model.named_modules()} == modules
    assert write(model, batch).ended == before
    model.attach(prepared)
    assert model.attached == (*serving, name)


def test_a_model_that_is_not_as_it_was_is_told_as_lost(
    tiny: Loader, tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    model = load(EngineSettings(engine_model=str(tiny_models["bart"]), engine_device="cpu", engine_threads=1))
    name = attached(model, tmp_path)
    layer = next(module for module in model._model.modules() if isinstance(module, LoraLayer))
    layer.base_layer = nn.Linear(64, 64)
    with pytest.raises(ModelLost):
        model.detach(name)


# When a batch fails -------------------------------------------------------------------------------------------------


class Raising(Heard):
    """Raises after some texts."""

    def __init__(self, error: BaseException, after: int = 4) -> None:
        super().__init__()
        self._error, self._left = error, after

    def wrote(self, row: int, text: str) -> None:
        super().wrote(row, text)
        self._left -= 1
        if self._left < 0:
            raise self._error


def hooks(model: LoadedModel) -> int:
    return sum(len(module._forward_pre_hooks) for module in model._model.modules())


@pytest.mark.parametrize(
    ("name", "error"),
    [
        *((name, RuntimeError("CUDA out of memory")) for name in NAMES),
        ("bart", MemoryError()),
        ("t5", RuntimeError("a native failure")),
        ("qwen3", ValueError("ours")),
        ("t5", KeyboardInterrupt()),
    ],
    ids=str,
)
def test_after_an_exception_inside_a_mixed_batch_nothing_leaks_into_the_next_call(
    tiny: Loader, tmp_path: Path, name: str, error: BaseException
) -> None:
    model = tiny(name, **WAYS["expanded"])
    first, second = attached(model, tmp_path, 1), attached(model, tmp_path, 2)
    batch = mixed("base", first, second, count=8)
    before = write(model, batch).ended
    assert hooks(model) == 0
    with pytest.raises((EngineError, type(error))):
        model.generate([Row(prompt, 8, adapter=first) for prompt in PROMPTS[:3]], Raising(error))
    assert hooks(model) == 0
    for i, row in enumerate(batch):
        assert alone(model, row) == before[i], f"{row.adapter} after a failure by {first}"
    assert write(model, batch).ended == before


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_after_an_exception_in_the_encoder_nothing_leaks_into_the_next_call(
    tiny: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = tiny(name, **WAYS["full"])
    first = attached(model, tmp_path, 1)
    batch = mixed("base", first, count=8)
    before = write(model, batch).ended
    with monkeypatch.context() as patched:
        last = list(model._model.get_encoder().modules())[-1]

        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("can't allocate memory")

        patched.setattr(last, "forward", fail)
        with pytest.raises(EngineError, match="out of memory"):
            model.generate(batch, Heard())
    assert hooks(model) == 0
    assert write(model, batch).ended == before


def test_peft_itself_leaves_its_hooks_so_that_removing_them_is_needed(tiny: Loader, tmp_path: Path) -> None:
    """Should this fail with a newer peft, the removal costs nothing and may stay."""
    model = tiny("bart", **WAYS["full"])
    name = attached(model, tmp_path)
    with (
        pytest.raises(ValueError, match="ours"),
        model._adapters._lora._enable_peft_forward_hooks(adapter_names=[name], num_beams=1),
    ):
        raise ValueError("ours")
    assert hooks(model) > 0
    with model._adapters.routed(["base"]):
        pass
    assert hooks(model) == 0


class Stuck(dict[Any, Any]):
    """A table of hooks that nothing can be taken out of."""

    def pop(self, *_: Any) -> Any:
        return None

    def __delitem__(self, key: Any) -> None:
        """Stays."""


async def test_a_hook_that_cannot_be_removed_breaks_the_engine_and_no_later_batch_is_written(
    tmp_path: Path, tiny_models: dict[str, Path]
) -> None:
    model = load(EngineSettings(engine_model=str(tiny_models["bart"]), engine_device="cpu", engine_threads=1))
    name = attached(model, tmp_path)
    layer = next(module for module in model._model.modules() if isinstance(module, LoraLayer))
    layer._forward_pre_hooks = Stuck()
    batcher = Batcher(model, EngineSettings())
    try:
        (handle,) = await batcher.submit([Row("Ana", 4, adapter=name)], "first")
        assert (await handle.result()).output_tokens == 4, "what was written before was right"
        assert "could not be removed" in await batcher.broke()
        (handle,) = await batcher.submit([Row("Ana", 4)], "second")
        with pytest.raises(EngineError, match="could not be removed"):
            await handle.result()
    finally:
        await batcher.close()


def test_letting_go_of_a_model_leaves_its_tokenizer(tiny_models: dict[str, Path]) -> None:
    model = load(EngineSettings(engine_model=str(tiny_models["bart"]), engine_device="cpu", engine_threads=1))
    counted = model.count_tokens(["Ana checked the invoice."])
    model.unload()
    assert model.count_tokens(["Ana checked the invoice."]) == counted
    with pytest.raises(EngineError, match="let go of its model"):
        model.generate([Row("Ana", 4)], Heard())


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_base_and_adapters_share_a_batch(tiny_models: dict[str, Path], tmp_path: Path, name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = load(EngineSettings(engine_model=str(tiny_models[name]), engine_device="cuda"))
    before = write(model, [Row(prompt, 8) for prompt in PROMPTS]).ended
    first, second = attached(model, tmp_path, 1), attached(model, tmp_path, 2)
    batch = mixed("base", first, second, count=8)
    together = write(model, batch).ended
    assert write(model, batch).ended == together
    texts = {(row.prompt, row.adapter): together[i].text for i, row in enumerate(batch)}
    # bf16 rounds by the shape of the batch: what a row writes can differ in a late token, adapters in nearly all.
    for prompt in PROMPTS:
        assert len({texts[prompt, adapter] for adapter in ("base", first, second)}) == 3
    for adapter in (first, second):
        model.detach(adapter)
    assert write(model, [Row(prompt, 8) for prompt in PROMPTS]).ended == before
