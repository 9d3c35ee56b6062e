"""A model that cannot be loaded is refused before its weights are read, in one sentence with a next step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.model import checkpoint, hardware, loading
from engine.model.hardware import Hardware
from engine.settings import EngineSettings
from storage.errors import ModelError

pytestmark = pytest.mark.xdist_group("tiny-models")


def refused(model: str | Path, **settings: Any) -> ModelError:
    with pytest.raises(ModelError) as caught:
        loading.load(EngineSettings(engine_model=str(model), **{"engine_device": "cpu", **settings}))
    message, hint = caught.value.message, caught.value.hint
    assert message.endswith(".")
    assert message.count("\n") == 0
    assert hint.endswith(".")
    return caught.value


@pytest.fixture
def folder(tiny_models: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the tiny BART that a test may break."""
    return Path(shutil.copytree(tiny_models["bart"], tmp_path / "mine"))


def change_config(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_a_directory_that_does_not_exist_is_said_not_to() -> None:
    assert "/nowhere/at/all does not exist" in refused("/nowhere/at/all").message


def test_a_file_in_place_of_a_directory_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.touch()
    assert "is a file" in refused(path).message


def test_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    assert "config.json is missing" in refused(tmp_path).message


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "{}", '{"model_type": 3}', "\xff"])
def test_a_broken_config_is_named(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text, encoding="latin-1")
    assert "config.json of the model mine" in refused(folder).message


def test_pickled_weights_alone_are_refused_and_not_opened(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    error = refused(folder)
    assert "formats that can carry code" in error.message
    assert "safetensors" in error.hint


def test_a_directory_without_weights_is_incomplete(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in refused(folder).message


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002-of-00002.safetensors is missing" in refused(folder).message


@pytest.mark.parametrize("keep", [0, 5, 300, -1])
def test_truncated_weights_are_damaged(folder: Path, keep: int) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[:keep])
    assert "damaged: model.safetensors" in refused(folder).message


def test_a_checkpoint_that_lacks_a_tensor_is_not_filled_with_random_numbers(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    gone = "model.decoder.layers.1.fc1.weight"
    del tensors[gone]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert f"{gone} is missing" in refused(folder).message


def test_an_unknown_family_is_refused_by_name(folder: Path) -> None:
    change_config(folder, model_type="hyena-9000")
    assert "family hyena-9000" in refused(folder).message


def test_code_of_the_models_own_is_never_run(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    (folder / "modeling_own.py").write_text(f"open({str(trace)!r}, 'w')\n")
    change_config(
        folder,
        model_type="own-kind",
        auto_map={"AutoConfig": "modeling_own.Config", "AutoModelForCausalLM": "modeling_own.Model"},
    )
    assert "needs code of its own" in refused(folder).message
    change_config(folder, model_type="bart")
    loading.load(EngineSettings(engine_model=str(folder), engine_device="cpu"))
    assert not trace.exists()


@pytest.mark.parametrize(
    ("model_type", "architecture"),
    [
        ("bert", "BertForMaskedLM"),
        ("bart", "BartForSequenceClassification"),
        ("whisper", "WhisperForConditionalGeneration"),
        ("vit", "ViTForImageClassification"),
    ],
)
def test_a_model_that_does_not_write_text_is_refused_by_name(folder: Path, model_type: str, architecture: str) -> None:
    change_config(folder, model_type=model_type, architectures=[architecture])
    error = refused(folder)
    assert f"({architecture}) does not write text" in error.message


def test_weights_quantised_by_somebody_else_are_refused_by_method(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "gptq", "bits": 4})
    assert "quantised already (gptq)" in refused(folder).message


def test_a_gpu_that_is_asked_for_and_absent_is_said_to_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    error = refused(folder, engine_device="cuda")
    assert "asks for a GPU" in error.message
    assert "ENGINE_DEVICE" in error.hint


def test_broken_four_bit_kernels_are_one_sentence_with_a_way_round(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "four_bit_failure", lambda _device: "libbitsandbytes_cpu.so: cannot open")
    error = refused(folder)
    assert "4-bit loading does not work on this machine: libbitsandbytes_cpu.so: cannot open." in error.message
    assert "ENGINE_QUANTIZATION=none" in error.hint


def machine_with(free: int, *, fast_4bit: bool = False) -> Callable[[str], Hardware]:
    import torch

    return lambda _wanted: Hardware("cpu", torch.float32, free, fast_4bit)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"engine_quantization": "none"}, "ENGINE_QUANTIZATION=nf4"),
        ({"engine_expand": "always"}, "ENGINE_EXPAND=auto"),
        ({"engine_expand": "never"}, "smaller model"),
    ],
)
def test_a_model_beyond_the_memory_is_refused_before_loading(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], hint: str
) -> None:
    monkeypatch.setattr(hardware, "probe_hardware", machine_with(10**6))
    monkeypatch.setattr(loading, "load_weights", lambda *_a, **_k: pytest.fail("the weights were read"))
    error = refused(folder, **settings)
    assert "needs about" in error.message
    assert "1 MB are free" in error.message
    assert hint in error.hint


def test_a_weight_file_that_claims_sixty_gigabytes_is_refused_by_its_header(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, columns = 120_000, 125_000
    header = json.dumps(
        {"decoder.weight": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, rows * columns * 4]}}
    ).encode()
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + rows * columns * 4)  # sparse: it takes no space
    monkeypatch.setattr(hardware, "probe_hardware", machine_with(20 * 10**9))
    error = refused(folder, engine_quantization="none")
    assert "GB of main memory" in error.message
    assert "20.0 GB are free" in error.message


@pytest.mark.parametrize("name", ["t5", "bart", "llama", "qwen3"])
@pytest.mark.parametrize("expand", ["never", "always"])
def test_the_estimate_is_near_what_is_held(tiny_models: dict[str, Path], name: str, expand: str) -> None:
    settings = EngineSettings(engine_model=str(tiny_models[name]), engine_device="cpu", engine_expand=expand)
    network = loading.load(settings)._model
    held = {}
    for parameter in network.parameters():
        held[parameter.data_ptr()] = parameter.numel() * parameter.element_size()
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            # These layers are so small that a state's fixed tables weigh as much as its weights: count the scales.
            held[-parameter.data_ptr()] = state.absmax.numel() + 4 * state.state2.absmax.numel()
    found = checkpoint.read_checkpoint(tiny_models[name], name)
    estimate = found.bytes_held("nf4" if expand == "never" else "nf4-expanded", 4)
    assert estimate == pytest.approx(sum(held.values()), rel=0.05)
