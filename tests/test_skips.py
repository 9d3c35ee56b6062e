"""The rule about skipping holds: with CI set, only tests marked `gpu` or `data` may skip."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_TEST = """
import pytest

{mark}
def test_something():
    pytest.skip("no way to set this up")
"""


def _run(directory: Path, mark: str, **environment: str) -> int:
    root = Path(__file__).resolve().parent.parent
    (directory / "conftest.py").write_text("from tests.conftest import *  # noqa: F403\n", encoding="utf-8")
    (directory / "test_it.py").write_text(_TEST.format(mark=mark), encoding="utf-8")
    outer = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            str(root / "pyproject.toml"),
            "--rootdir",
            str(directory),
            str(directory),
        ],
        env={**outer, "PYTHONPATH": str(root), **environment},
        cwd=directory,
        capture_output=True,
        timeout=120,
        check=False,
    ).returncode


@pytest.mark.parametrize("mark", ["", "@pytest.mark.faults"])
def test_skip_fails_in_ci_and_is_allowed_elsewhere(mark: str, tmp_path: Path) -> None:
    assert _run(tmp_path, mark, CI="true") == 1
    assert _run(tmp_path, mark) == 0


@pytest.mark.parametrize("mark", ["@pytest.mark.gpu", "@pytest.mark.data"])
def test_gpu_and_data_may_skip_in_ci(mark: str, tmp_path: Path) -> None:
    assert _run(tmp_path, mark, CI="true") == 0
