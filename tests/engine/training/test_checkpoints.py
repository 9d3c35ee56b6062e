"""A checkpoint counts with its marker only; whatever else is torn, the one before is gone on from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.training.checkpoints import BEST, MARKER, OPTIMISER, STATE, WEIGHTS, Checkpoint, Checkpoints


def checkpoint(step: int) -> Checkpoint:
    optimiser = {"state": {0: {"step": torch.tensor(float(step))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return Checkpoint(step, {"a": torch.full((2, 3), float(step))}, {}, optimiser, {"step": step})


@pytest.fixture
def store(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "checkpoints")


def test_the_newest_is_found_as_it_was_saved_and_two_are_kept(store: Checkpoints, tmp_path: Path) -> None:
    for step in (5, 10, 15):
        store.save(checkpoint(step))
    found = store.latest()
    assert found is not None
    assert (found.step, found.state) == (15, {"step": 15})
    assert torch.equal(found.weights["a"], torch.full((2, 3), 15.0))
    assert found.optimiser["state"][0]["step"] == 15
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["step-000010", "step-000015"]


@pytest.mark.parametrize("torn", [WEIGHTS, BEST, OPTIMISER, STATE, MARKER])
@pytest.mark.parametrize("how", ["missing", "cut", "changed"])
def test_of_a_torn_one_nothing_is_used_but_the_one_before(
    torn: str, how: str, store: Checkpoints, tmp_path: Path
) -> None:
    for step in (5, 10):
        store.save(checkpoint(step))
    path = tmp_path / "checkpoints" / "step-000010" / torn
    data = path.read_bytes()
    if how == "missing":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] if how == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    found = store.latest()
    assert found is not None and found.step == 5


def test_an_optimiser_state_that_carries_code_is_not_run(store: Checkpoints, tmp_path: Path) -> None:
    import hashlib
    import json

    store.save(checkpoint(5))
    directory = tmp_path / "checkpoints" / "step-000005"

    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "was-run",)  # type: ignore[return-value]

    torch.save({"state": Evil()}, directory / OPTIMISER)
    data = (directory / OPTIMISER).read_bytes()
    marker = json.loads((directory / MARKER).read_text())
    marker["files"][OPTIMISER]["sha256"] = hashlib.sha256(data).hexdigest()
    (directory / MARKER).write_text(json.dumps(marker))
    assert store.latest() is None
    assert not (tmp_path / "was-run").exists()


def test_what_a_process_that_died_has_left_is_neither_used_nor_kept(store: Checkpoints, tmp_path: Path) -> None:
    store.save(checkpoint(5))
    folder = tmp_path / "checkpoints"
    (folder / ".new-step-000010").mkdir()
    (folder / "step-000010").mkdir()
    (folder / "step-000010" / WEIGHTS).write_bytes(b"half")
    found = store.latest()
    assert found is not None and found.step == 5
    store.save(checkpoint(15))
    assert sorted(path.name for path in folder.iterdir()) == ["step-000005", "step-000015"]


def test_a_step_that_was_left_half_written_can_be_saved_again(store: Checkpoints, tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / "step-000005").mkdir(parents=True)
    store.save(checkpoint(5))
    found = store.latest()
    assert found is not None and found.step == 5


@pytest.mark.parametrize("at", range(1, 8))
def test_a_disk_that_is_full_leaves_the_checkpoints_before_as_they_were(
    at: int, store: Checkpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno
    import os

    store.save(checkpoint(5))
    before = sorted(path.name for path in (tmp_path / "checkpoints").rglob("*"))
    real, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.save(checkpoint(10))
    found = store.latest()
    assert found is not None and found.step in (5, 10)
    if found.step == 5:
        assert sorted(path.name for path in (tmp_path / "checkpoints").rglob("*")) == before
