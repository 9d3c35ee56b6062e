"""When 4-bit weights are expanded, and that the layers which no fast kernel takes still work."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.model import hardware, loading
from engine.model.expansion import avoid_unsupported_packing, quantised_layers, wants_expansion
from engine.model.hardware import Hardware
from engine.protocols import Row
from engine.settings import EngineSettings
from tests.engine import tiny
from tests.engine.model.listening import write

pytestmark = pytest.mark.xdist_group("tiny-models")
GB = 10**9


@pytest.mark.parametrize(
    ("setting", "device", "fast", "extra", "expected"),
    [
        ("auto", "cpu", False, 1 * GB, True),
        ("auto", "cpu", False, 9 * GB, False),
        ("auto", "cpu", True, 1 * GB, False),
        ("auto", "cuda", True, 1 * GB, False),
        ("never", "cpu", False, 1 * GB, False),
        ("always", "cpu", True, 9 * GB, True),
        ("always", "cuda", True, 1 * GB, True),
    ],
)
def test_expansion_by_itself_is_for_slow_cpus_with_memory_to_spare(
    setting: str, device: str, fast: bool, extra: int, expected: bool
) -> None:
    wanted = wants_expansion(setting, device=device, fast_4bit=fast, extra_bytes=extra, free_bytes=10 * GB)  # type: ignore[arg-type]
    assert wanted is expected


@pytest.mark.parametrize("fast", [False, True])
def test_auto_follows_the_cpus_kernels(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    import torch

    monkeypatch.setattr(hardware, "probe_hardware", lambda _wanted: Hardware("cpu", torch.float32, 8 * GB, fast))
    model = loading.load(EngineSettings(engine_model=str(tiny_models["llama"]), engine_expand="auto"))
    assert model.info.representation == ("nf4" if fast else "nf4-expanded")


@pytest.mark.parametrize("width", [48, 80])
def test_widths_that_the_fast_kernel_cannot_take_are_written_the_plain_way(tmp_path: Path, width: int) -> None:
    folder = tiny.make(
        "llama", tmp_path / "odd", hidden_size=width, num_attention_heads=2, intermediate_size=width + 10
    )
    model = loading.load(EngineSettings(engine_model=str(folder), engine_device="cpu", engine_expand="never"))
    layers = [layer for _, layer in quantised_layers(model._model)]
    assert layers
    assert not any(layer.support_avx512bf16_for_cpu for layer in layers)
    assert avoid_unsupported_packing(model._model) == 0
    assert write(model, [Row("Ana checked the invoice.", 6)]).ended[0].output_tokens == 6


def test_an_expanded_model_writes_what_plain_dequantisation_writes(tiny_models: dict[str, Path]) -> None:
    given = {"engine_model": str(tiny_models["qwen3"]), "engine_device": "cpu", "engine_threads": 1}
    packed = loading.load(EngineSettings(engine_expand="never", **given))
    for _, layer in quantised_layers(packed._model):
        layer.support_avx512bf16_for_cpu = False  # the way of other CPUs: dequantised for each step, in fp32
    expanded = loading.load(EngineSettings(engine_expand="always", **given))
    rows = [Row("Ana checked the invoice.", 24), Row("Mei moved the trip.", 24)]
    assert write(packed, rows).ended == write(expanded, rows).ended
