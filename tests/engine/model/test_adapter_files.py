"""Adapters on the disk: whole or not at all, named by what they hold, and every damage told by its own reason."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.model import adapter_publishing
from engine.model.adapter_files import (
    CONFIG,
    MANIFEST,
    WEIGHTS,
    AdapterAbout,
    Manifest,
    check_files,
    read_manifest,
)
from engine.model.adapter_publishing import discard_unfinished, publish
from engine.requests import ModelInfo
from storage.errors import AdapterError, StorageError
from tests.engine.model.lora import forge

ABOUT = AdapterAbout(
    scope="slack:T1", base_model="tiny", base_revision="abc", model_type="bart", prompt_version="3",
    tokenizer_sha256="t", run_id="run-1", data_hash="d", settings_hash="s", train_pairs=25,
    settings={"learning_rate": 3e-4, "betas": (0.9, 0.999)}, metrics={"seconds": 1.5}, base_fingerprint="f",
)  # fmt: skip
INFO = ModelInfo("tiny", "abc", "bart", True, False, 512, 64, fingerprint="f")
TENSORS = {
    "base_model.model.encoder.fc1.lora_A.weight": torch.arange(6.0).reshape(2, 3),
    "base_model.model.encoder.fc1.lora_B.weight": torch.ones(4, 2),
}
OPTIONS = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": {"fc1", "fc2"}}


def make(folder: Path, about: AdapterAbout = ABOUT, **changes: torch.Tensor) -> Manifest:
    return publish(folder, weights={**TENSORS, **changes}, config=OPTIONS, about=about)


@pytest.fixture
def adapters(tmp_path: Path) -> Path:
    """Where all adapters are; nothing else is in it."""
    return tmp_path / "adapters"


def check(directory: Path, info: ModelInfo = INFO, tokenizer: str = "t", prompts: str = "3") -> Manifest:
    return check_files(directory, info=info, tokenizer_sha256=tokenizer, prompt_version=prompts)


def test_what_was_published_is_what_is_read_private_and_with_nothing_beside_it(adapters: Path) -> None:
    manifest = make(adapters)
    folder = adapters / manifest.id
    assert check(folder) == read_manifest(folder) == manifest
    assert manifest.id.startswith("a")
    assert len(manifest.id) == 21
    assert manifest.about.settings == {"learning_rate": 3e-4, "betas": [0.9, 0.999]}
    assert {path.name for path in folder.iterdir()} == {WEIGHTS, CONFIG, MANIFEST}
    assert [path.name for path in folder.parent.iterdir()] == [manifest.id]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert json.loads((folder / CONFIG).read_text())["target_modules"] == ["fc1", "fc2"]


def test_the_same_content_has_the_same_id_and_is_published_once(adapters: Path) -> None:
    first = make(adapters)
    before = (adapters / first.id / MANIFEST).stat()
    again = make(adapters, replace(ABOUT, metrics={"seconds": 9.0}))
    assert again == first
    assert (adapters / first.id / MANIFEST).stat().st_ino == before.st_ino
    ids = {make(adapters, replace(ABOUT, scope="default")).id, make(adapters, replace(ABOUT, run_id="run-2")).id}
    changed = {"base_model.model.encoder.fc1.lora_B.weight": torch.zeros(4, 2)}
    ids |= {first.id, make(adapters, **changed).id}
    assert len(ids) == 4
    assert len(list(adapters.iterdir())) == 4


def test_publishing_what_lies_there_damaged_mends_it(adapters: Path) -> None:
    manifest = make(adapters)
    with (adapters / manifest.id / WEIGHTS).open("r+b") as file:
        file.truncate(100)
    assert make(adapters).id == manifest.id
    assert check(adapters / manifest.id).id == manifest.id
    assert [path.name for path in adapters.iterdir()] == [manifest.id]


def test_no_weights_and_no_numbers_are_refused_before_anything_is_written(adapters: Path) -> None:
    with pytest.raises(AdapterError, match="no weights"):
        publish(adapters, weights={}, config=OPTIONS, about=ABOUT)
    for bad in (float("nan"), float("inf")):
        changed = {"base_model.model.encoder.fc1.lora_B.weight": torch.full((4, 2), bad)}
        with pytest.raises(AdapterError, match="not finite"):
            make(adapters, **changed)
    assert not adapters.exists()


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_disk_that_fills_up_is_a_sentence_and_leaves_nothing(
    adapters: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    kept = make(adapters, replace(ABOUT, run_id="before"))
    calls = 0

    def full(*_: object, **__: object) -> Any:
        nonlocal calls
        calls += 1
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        if call == "write":
            patched.setattr(adapter_publishing, "_write", full)
        elif call == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr(Path, "rename", full)
        with pytest.raises(StorageError, match=r"disk of .* is full") as refused:
            make(adapters)
    assert calls
    assert "last checkpoint" in refused.value.hint
    assert [path.name for path in adapters.iterdir()] == [kept.id]


def test_a_file_that_the_system_does_not_let_grow_leaves_nothing(adapters: Path) -> None:
    before, soft_and_hard = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, soft_and_hard[1]))
    try:
        with pytest.raises(StorageError, match="could not be written"):
            make(adapters, **{"base_model.model.x.lora_A.weight": torch.ones(100, 100)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft_and_hard)
        signal.signal(signal.SIGXFSZ, before)
    assert list(adapters.iterdir()) == []


def test_what_dead_publishers_left_is_removed_and_a_living_ones_stays(adapters: Path) -> None:
    kept = make(adapters)
    dead = adapters / ".new-dead"
    dead.mkdir()
    (dead / WEIGHTS).write_bytes(b"half")
    with adapter_publishing._unfinished(adapters) as living:
        assert discard_unfinished(adapters) == 1
        assert living.is_dir()
    assert [path.name for path in adapters.iterdir()] == [kept.id]
    assert discard_unfinished(adapters / "none") == 0


# Damage -------------------------------------------------------------------------------------------------------------


def truncated(folder: Path) -> None:
    with (folder / WEIGHTS).open("r+b") as file:
        file.truncate(file.seek(0, 2) - 1)


def flipped(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-3] ^= 0b1000
    (folder / WEIGHTS).write_bytes(data)


def longer(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"more")


def config_changed(folder: Path) -> None:
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace('"lora_alpha": 4', '"lora_alpha": 9'))


def with_pickle(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(b"\x80\x04cos\nsystem\n")


def pickle_instead(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")


def linked_weights(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


def linked_folder(folder: Path) -> None:
    folder.rename(folder.parent / "elsewhere")
    folder.symlink_to(folder.parent / "elsewhere")


def linked_manifest(folder: Path) -> None:
    shutil.move(folder / MANIFEST, folder.parent / "elsewhere")
    (folder / MANIFEST).symlink_to(folder.parent / "elsewhere")


def other_manifest(folder: Path) -> None:
    other = make(folder.parent, replace(ABOUT, run_id="another"))
    shutil.copy(folder.parent / other.id / MANIFEST, folder / MANIFEST)


def renamed(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    shutil.rmtree(folder.parent / "elsewhere")
    other = make(folder.parent, replace(ABOUT, run_id="another"))
    shutil.rmtree(folder)
    (folder.parent / other.id).rename(folder)


def manifest_edited(folder: Path) -> None:
    text = (folder / MANIFEST).read_text()
    (folder / MANIFEST).write_text(text.replace('"train_pairs": 25', '"train_pairs": 26'))


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def no_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def no_json(folder: Path) -> None:
    (folder / MANIFEST).write_text("[" * 100_000)


def huge_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_text(" " * 2_000_000)


def extra(folder: Path) -> None:
    (folder / "optimizer.safetensors").write_bytes(b"x")


def subfolder(folder: Path) -> None:
    (folder / "more").mkdir()


def pipe_instead(folder: Path) -> None:
    (folder / CONFIG).unlink()
    os.mkfifo(folder / CONFIG)


def gone(folder: Path) -> None:
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "cut short"),
        (flipped, "checksum"),
        (longer, "checksum"),
        (config_changed, "checksum"),
        (with_pickle, "can carry code"),
        (pickle_instead, "can carry code"),
        (linked_weights, "symbolic link"),
        (linked_folder, "symbolic link"),
        (linked_manifest, "symbolic link"),
        (other_manifest, "manifest is that of another adapter"),
        (renamed, "manifest is that of another adapter"),
        (manifest_edited, "manifest was changed"),
        (no_weights, f"file {WEIGHTS} is missing"),
        (no_manifest, f"file {MANIFEST} is missing"),
        (no_json, "manifest cannot be read"),
        (huge_manifest, "larger than any adapter's"),
        (extra, "does not belong to it"),
        (subfolder, "no file"),
        (pipe_instead, "no file"),
        (gone, "files are missing"),
    ],
)
def test_each_damage_is_refused_with_its_reason(adapters: Path, damage: Callable[[Path], None], reason: str) -> None:
    folder = adapters / make(adapters).id
    damage(folder)
    with pytest.raises(AdapterError, match=reason) as refused:
        check(folder)
    assert folder.name in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"info": replace(INFO, name="other")}, "made for the model tiny@abc"),
        ({"info": replace(INFO, model_type="t5")}, "made for the model"),
        ({"info": replace(INFO, revision="def")}, "another revision"),
        ({"info": replace(INFO, fingerprint="g")}, "other weights"),
        ({"tokenizer": "u"}, "another tokenizer"),
        ({"prompts": "4"}, "version 3 of the prompts, and this is 4"),
    ],
)
def test_an_adapter_for_another_base_tokenizer_or_prompt_is_refused(
    adapters: Path, change: dict[str, Any], reason: str
) -> None:
    folder = adapters / make(adapters).id
    with pytest.raises(AdapterError, match=reason) as refused:
        check(folder, **change)
    assert "ENGINE_MODEL" in refused.value.hint


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (b"", "header .* is damaged"),
        ((1 << 40).to_bytes(8, "little") + b"{}", "header .* is damaged"),
        ((9 << 20).to_bytes(8, "little") + b" " * (9 << 20), "larger than any adapter's"),
        ((4).to_bytes(8, "little") + b"nope", "header .* is damaged"),
        ((2).to_bytes(8, "little") + b"[]", "header .* is damaged"),
        (
            (52).to_bytes(8, "little") + b'{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}'[:52] + b"0" * 8,
            "header .* is damaged",
        ),
        (
            (54).to_bytes(8, "little") + b'{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}' + b"0" * 8,
            r"type that no adapter has \(I64\)",
        ),
    ],
    ids=["empty", "beyond the file", "oversized", "no JSON", "a list", "cut short", "integers"],
)
def test_a_header_that_its_manifest_vouches_for_is_looked_at_all_the_same(
    adapters: Path, weights: bytes, reason: str
) -> None:
    folder = forge(adapters, adapter=replace(ABOUT, settings={}), files={WEIGHTS: weights, CONFIG: b"{}"})
    with pytest.raises(AdapterError, match=reason):
        check(folder)


def test_a_manifest_for_other_files_than_an_adapter_has_is_refused(adapters: Path) -> None:
    about = replace(ABOUT, settings={})
    folder = forge(adapters, adapter=about, files={WEIGHTS: b"x", CONFIG: b"{}", "run.py": b"print()"})
    with pytest.raises(AdapterError, match="manifest is for other files"):
        check(folder)


def test_reading_a_manifest_loads_neither_torch_nor_peft() -> None:
    script = "import sys, engine.model.adapter_files; print({'torch', 'peft', 'safetensors'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
