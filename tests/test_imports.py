"""What start-up may not import: the model libraries stay out of everything but the model's own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_HEAVY = ("torch", "transformers", "peft", "bitsandbytes")

# An import hook that refuses, rather than a check of sys.modules afterwards: an import inside a try would hide.
_REFUSE = f"""
import sys
for name in {_HEAVY!r}:
    sys.modules[name] = None
"""


def _python(code: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _REFUSE + code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "REDRAFT_HOME": str(home)},
    )


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["summarize", "--help"], ["db", "upgrade"], ["backup", "saved"]],
    ids=" ".join,
)
def test_command_runs_with_the_model_libraries_unimportable(arguments: list[str], tmp_path: Path) -> None:
    arguments = [str(tmp_path / one) if one == "saved" else one for one in arguments]
    done = _python("import sys; from admin.cli import main; main()", *arguments, home=tmp_path / "home")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    ["bot.__main__", "bot.scheduler", "bot.slack.service", "engine.client", "admin.doctor", "admin.supervisor"],
)
def test_module_imports_with_the_model_libraries_unimportable(module: str, tmp_path: Path) -> None:
    done = _python(f"import {module}", home=tmp_path)
    assert done.returncode == 0, done.stderr


def test_importing_the_packages_reads_no_environment_and_opens_no_log(tmp_path: Path) -> None:
    done = _python("import admin.cli, bot.settings, engine.settings, storage.settings", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "home").exists()


def test_import_contract_holds() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
