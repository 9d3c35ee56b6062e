"""What holds for every loaded model, whatever its family: T5, BART, Llama and Qwen3, tiny and random."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import bitsandbytes
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit

from engine.model.generation import LoadedModel
from engine.model.loading import load
from engine.protocols import Row
from engine.settings import EngineSettings
from storage.errors import EngineError
from tests.engine.model.listening import Heard, write
from tests.engine.tiny import CONTEXT, NAMES

Loader = Callable[..., LoadedModel]
PROMPTS = (
    "Ana checked the invoice before lunch.",
    "Kofi restarted the database. Mei will review the export job on Monday. Lars broke the login page after 3 tries.",
    "Tomas paid for the café order",
    "Priya asked about the Zürich trip last week.",
    "x",
)

pytestmark = pytest.mark.xdist_group("tiny-models")


def rows(count: int = 20, prompts: tuple[str, ...] = PROMPTS) -> list[Row]:
    return [Row(prompt, count) for prompt in prompts]


def full(load_tiny: Loader, name: str) -> LoadedModel:
    return load_tiny(name, engine_quantization="none")


@pytest.mark.parametrize("name", NAMES)
def test_unexpanded_linear_layers_are_four_bit_and_the_head_is_not(load_tiny: Loader, name: str) -> None:
    model = load_tiny(name, engine_expand="never")
    assert model.info.representation == "nf4"
    network = model._model
    kinds = {path: type(module) for path, module in network.named_modules() if isinstance(module, torch.nn.Linear)}
    kept = {path for path, kind in kinds.items() if kind is torch.nn.Linear}
    expected = {"lm_head"} | ({path for path in kinds if path.endswith(".wo")} if name == "t5" else set())
    assert kept == expected
    quantised = {path for path, kind in kinds.items() if kind is bitsandbytes.nn.Linear4bit}
    assert quantised == set(kinds) - expected
    for path in quantised:
        state = network.get_submodule(path).weight.quant_state
        assert state.quant_type == "nf4"


@pytest.mark.parametrize("name", NAMES)
def test_expanded_layers_are_dense_and_hold_the_quantised_weights(tiny_models: dict[str, Path], name: str) -> None:
    settings = {"engine_model": str(tiny_models[name]), "engine_device": "cpu"}
    packed = load(EngineSettings(engine_expand="never", **settings))._model
    expanded = load(EngineSettings(engine_expand="always", **settings))
    assert expanded.info.representation == "nf4-expanded"
    compared = 0
    for path, layer in packed.named_modules():
        dense = expanded._model.get_submodule(path)
        assert not isinstance(dense, bitsandbytes.nn.Linear4bit)
        if isinstance(layer, bitsandbytes.nn.Linear4bit):
            assert type(dense) is torch.nn.Linear
            assert dense.weight.dtype is torch.float32
            assert torch.equal(dense.weight, dequantize_4bit(layer.weight.data, layer.weight.quant_state))
            assert (dense.bias is None) == (layer.bias is None)
            assert dense.bias is None or torch.equal(dense.bias, layer.bias)
            compared += 1
    assert compared >= 14


@pytest.mark.parametrize("name", NAMES)
def test_double_quantisation_is_on(tiny_models: dict[str, Path], name: str) -> None:
    # A model of its own: the first step on some CPUs undoes the second level of the scales in memory.
    model = load(EngineSettings(engine_model=str(tiny_models[name]), engine_device="cpu", engine_expand="never"))
    layers = [m for m in model._model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit)]
    assert layers
    assert all(layer.weight.quant_state.nested for layer in layers)


@pytest.mark.parametrize("expand", ["never", "always"])
@pytest.mark.parametrize("name", NAMES)
def test_greedy_writing_is_deterministic(load_tiny: Loader, name: str, expand: str) -> None:
    model = load_tiny(name, engine_expand=expand)
    first, second = write(model, rows()), write(model, rows())
    assert first.ended == second.ended
    assert len({generated.text for generated in first.ended.values()}) > 1, "the prompts made no difference"


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_writes_what_its_rows_write_alone(load_tiny: Loader, name: str) -> None:
    model = full(load_tiny, name)
    together = write(model, rows(30))
    for i, row in enumerate(rows(30)):
        alone = write(model, [row])
        assert alone.ended[0] == together.ended[i]


@pytest.mark.parametrize("name", NAMES)
def test_streaming_ends_in_the_text_that_the_tokenizer_makes_of_all_tokens(load_tiny: Loader, name: str) -> None:
    model = full(load_tiny, name)
    heard = write(model, rows(64))
    prompts = model._tokens.encode([row.prompt for row in rows(64)])
    for i, prompt in enumerate(prompts):
        generated = model._model.generate(
            input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=64,
        )[0]  # fmt: skip
        whole = model._tokens._tokenizer.decode(
            generated[1 if model.info.encoder_decoder else len(prompt) :], skip_special_tokens=True
        )
        assert heard.ended[i].text == re.sub(r"[\s\ufffd]+\Z", "", whole).lstrip()
        assert heard.texts[i][-1] == heard.ended[i].text
        assert not any(text.endswith("\ufffd") for text in heard.texts[i])


@pytest.mark.parametrize("name", NAMES)
def test_each_row_stops_at_its_own_length_and_is_told_before_the_batch_ends(load_tiny: Loader, name: str) -> None:
    lengths = (24, 3, 9, 1, 16)
    batch = [Row(prompt, length) for prompt, length in zip(PROMPTS, lengths, strict=True)]
    heard = write(full(load_tiny, name), batch)
    assert [heard.ended[i].output_tokens for i in range(5)] == list(lengths)
    assert {generated.stopped for generated in heard.ended.values()} == {"length"}
    assert [row for what, row in heard.order if what == "finished"] == [3, 1, 2, 4, 0]
    assert heard.order.index(("finished", 1)) < len(heard.order) - 5


@pytest.mark.parametrize("name", NAMES)
def test_a_cancelled_row_ends_and_the_others_write_the_same(load_tiny: Loader, name: str) -> None:
    model = full(load_tiny, name)
    undisturbed = write(model, rows(24))
    heard = write(model, rows(24), cancel_after={1: 2})
    assert heard.ended[1].stopped == "cancelled"
    assert heard.ended[1].output_tokens < 24
    assert undisturbed.ended[1].text.startswith(heard.ended[1].text)
    for i in (0, 2, 3, 4):
        assert heard.ended[i] == undisturbed.ended[i]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_that_nobody_waits_for_ends_at_once(load_tiny: Loader, name: str) -> None:
    heard = write(full(load_tiny, name), rows(100), cancel_after=dict.fromkeys(range(5), 0))
    assert all(generated.stopped == "cancelled" for generated in heard.ended.values())
    assert all(generated.output_tokens <= 1 for generated in heard.ended.values())


@pytest.fixture(params=NAMES)
def ending(
    request: pytest.FixtureRequest, load_tiny: Loader, tiny_models: dict[str, Path], tmp_path: Path
) -> LoadedModel:
    """A model whose answers end: a token that its third prompt's answer has becomes an end of text."""
    name = request.param
    plain = full(load_tiny, name)
    [prompt] = plain._tokens.encode([PROMPTS[2]])
    written = plain._model.generate(
        input_ids=torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), max_new_tokens=9
    )[0].tolist()
    folder = tmp_path / name
    shutil.copytree(tiny_models[name], folder)
    settings = json.loads((folder / "generation_config.json").read_text())
    own = settings["eos_token_id"]
    settings["eos_token_id"] = [own, written[-1]]
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return load(EngineSettings(engine_model=str(folder), engine_device="cpu", engine_quantization="none"))


def test_an_end_of_text_ends_its_row_alone(ending: LoadedModel) -> None:
    heard = write(ending, rows(40))
    assert heard.ended[2].stopped == "end"
    assert heard.ended[2].output_tokens <= 9
    assert heard.ended[2] == write(ending, [rows(40)[2]]).ended[0]
    longest = max(generated.output_tokens for generated in heard.ended.values())
    assert longest > heard.ended[2].output_tokens, "no row went on"


def test_no_end_before_a_rows_own_shortest_length(ending: LoadedModel) -> None:
    batch = [Row(PROMPTS[2], 40, min_new_tokens=minimum) for minimum in (0, 15, 40, 90)]
    heard = write(ending, batch)
    counts = [heard.ended[i].output_tokens for i in range(4)]
    assert counts[0] <= 9
    assert counts[1] > 15
    assert counts[2:] == [40, 40]


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_beyond_the_context_is_refused_and_never_cut(load_tiny: Loader, name: str) -> None:
    model = full(load_tiny, name)
    long = " ".join(["Ana checked the invoice."] * 200)
    with pytest.raises(EngineError, match="tokens") as refused:
        model.generate([Row("short", 8), Row(long, 8)], Heard())
    assert str(model.count_tokens([long])[0]) in refused.value.message
    assert write(model, rows(4)).ended, "the model no longer works"


@pytest.mark.parametrize("name", ["llama", "qwen3"])
def test_half_of_a_decoders_context_is_the_prompts_however_long_answers_may_be(load_tiny: Loader, name: str) -> None:
    model = load_tiny(name, engine_quantization="none", engine_max_new_tokens=CONTEXT - 1)
    assert model.info.max_new_tokens == CONTEXT // 2
    prompt = "Ana"
    while model.count_tokens([f"{prompt} Ana"])[0] <= CONTEXT // 2:
        prompt += " Ana"
    assert write(model, [Row(prompt, model.info.max_new_tokens)], cancel_after={0: 1}).ended


def test_a_decoder_refuses_a_prompt_that_leaves_no_room_for_the_answer(load_tiny: Loader) -> None:
    model = full(load_tiny, "qwen3")
    prompt = "Ana"
    while model.count_tokens([prompt])[0] < CONTEXT - 20:
        prompt += " Ana"
    room = CONTEXT - model.count_tokens([prompt])[0]
    assert write(model, [Row(prompt, room)]).ended[0].output_tokens == room
    with pytest.raises(EngineError, match="answer may have"):
        model.generate([Row(prompt, room + 1)], Heard())


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_adapter_is_refused_by_name(load_tiny: Loader, name: str) -> None:
    with pytest.raises(EngineError, match="nightly-7"):
        full(load_tiny, name).generate([Row("Ana", 4, adapter="nightly-7")], Heard())


@pytest.mark.parametrize(
    "raised",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
    ],
)
def test_running_out_of_memory_is_a_sentence_and_leaves_the_model_usable(
    load_tiny: Loader, monkeypatch: pytest.MonkeyPatch, raised: BaseException
) -> None:
    model = full(load_tiny, "bart")
    before = write(model, rows())

    def fail(*_: object, **__: object) -> None:
        raise raised

    with monkeypatch.context() as patched:
        patched.setattr(model._model.model.decoder, "forward", fail)
        with pytest.raises(EngineError, match="out of memory on 5 prompts"):
            model.generate(rows(), Heard())
    assert write(model, rows()).ended == before.ended


def test_a_failure_in_the_native_code_is_a_sentence(load_tiny: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    model = full(load_tiny, "t5")

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)")

    with monkeypatch.context() as patched:
        patched.setattr(model._model.decoder, "forward", fail)
        with pytest.raises(EngineError) as failed:
            model.generate(rows(), Heard())
    assert "mat1" not in str(failed.value)
    assert write(model, rows()).ended


def test_no_rows_are_no_work(load_tiny: Loader) -> None:
    full(load_tiny, "t5").generate([], Heard())


@pytest.mark.gpu
@pytest.mark.parametrize("name", NAMES)
def test_on_a_gpu_four_bit_batches_are_deterministic_and_stream(tiny_models: dict[str, Path], name: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = load(EngineSettings(engine_model=str(tiny_models[name]), engine_device="cuda", engine_expand="auto"))
    assert (model.info.device, model.info.representation) == ("cuda", "nf4")
    assert {parameter.device.type for parameter in model._model.parameters()} == {"cuda"}
    first, second = write(model, rows(), cancel_after={1: 2}), write(model, rows(), cancel_after={1: 2})
    assert first.ended == second.ended
    assert first.ended[1].stopped == "cancelled"
    assert all(first.texts[i][-1] == first.ended[i].text for i in first.texts)
