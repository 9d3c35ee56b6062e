"""What the machine offers is found when asked, and nothing is fetched or printed on the way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from engine.model import hardware
from tests.conftest import ROOT


def in_a_new_process(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment},
        capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip


def test_a_cpu_computes_in_fp32_and_has_memory() -> None:
    found = hardware.probe_hardware("cpu")
    assert (found.device, found.dtype) == ("cpu", torch.float32)
    assert 0 < found.free_bytes <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("folder", "limit", "used", "key"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_files_that_a_container_keeps_in_memory_are_free_memory(
    tmp_path: Path, folder: str, limit: str, used: str, key: str
) -> None:
    group = tmp_path / folder
    group.mkdir(exist_ok=True)
    (group / limit).write_text("1000000\n")
    (group / used).write_text("900000\n")
    assert hardware.free_memory(tmp_path) == 100_000
    (group / "memory.stat").write_text(f"anon 200000\nactive_file 1\n{key} 700000\n")
    assert hardware.free_memory(tmp_path) == 800_000
    (group / limit).write_text("max\n")
    assert hardware.free_memory(tmp_path) > 10**6


@pytest.mark.parametrize(("bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_gpu_computes_in_bf16_where_it_has_it_and_never_in_fp16(
    monkeypatch: pytest.MonkeyPatch, bf16: bool, dtype: torch.dtype
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: bf16 or including_emulation)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _index: (5, 9))
    found = hardware.probe_hardware("auto")
    assert (found.device, found.dtype, found.free_bytes, found.fast_4bit) == ("cuda", dtype, 5, True)
    assert hardware.probe_hardware("cpu").device == "cpu"


def test_four_bit_works_on_the_cpu_here() -> None:
    assert hardware.four_bit_failure("cpu") == ""


def test_importing_the_door_of_the_model_imports_no_model_library() -> None:
    code = (
        "import sys, engine.model.loading, engine.model.resolve;"
        "print([name for name in ('torch', 'transformers', 'bitsandbytes', 'peft') if name in sys.modules])"
    )
    assert in_a_new_process(code).stdout.strip() == "[]"


def test_bitsandbytes_is_imported_silently_and_cannot_fetch_kernels(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("raise SystemExit('fetched code')\n")
    code = (
        "import sys; from engine.model.hardware import bitsandbytes; bitsandbytes();"
        "print('kernels' in sys.modules, 'bitsandbytes' in sys.modules)"
    )
    done = in_a_new_process(code, PYTHONPATH=str(tmp_path))
    assert (done.stdout.strip(), done.stderr) == ("False True", "")


def test_idle_threads_sleep_unless_somebody_has_chosen() -> None:
    code = (
        "from engine.model.hardware import let_idle_threads_sleep; let_idle_threads_sleep();"
        "import os; print(os.environ['OMP_WAIT_POLICY'])"
    )
    assert in_a_new_process(f"import os; os.environ.pop('OMP_WAIT_POLICY', 0); {code}").stdout.strip() == "PASSIVE"
    assert in_a_new_process(code, OMP_WAIT_POLICY="ACTIVE").stdout.strip() == "ACTIVE"
