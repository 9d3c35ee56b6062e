"""`redraft init` in a real pseudo-terminal: what is asked, what is refused, and what the file holds afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from admin.commands.init import _check_model
from engine.catalogue import MODELS, propose
from storage.errors import ModelError
from tests.admin.cli import redraft

_GB = 10**9


def _init(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return redraft("init", *arguments, **(environment or {}))


def test_person_is_led_from_the_machine_to_a_written_file(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("RETENTION_DAYS=9\n# a note of ours\n", encoding="utf-8")
    child = pexpect.spawn(
        sys.executable, ["-m", "admin.cli", "init", "--file", str(path)], encoding="utf-8", timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    child.expect("Memory: ")
    child.expect("Models that suit the job")
    child.expect("Model: a number")
    child.sendline("no/such/place")
    child.expect("Model: a number")  # told, and asked again
    child.sendline("1")
    child.expect("starter: found")
    child.expect("Slack bot token")
    child.sendline("xoxb-your-token")
    child.expect("still a placeholder")
    child.sendline("xoxb-12-34-abcdefabcdef")
    child.expect("Slack app-level token")
    child.sendline("xapp-1-A12-34-abcdef")
    child.expect("Discord bot token")
    child.sendline("")
    child.expect("Wrote ")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    text = path.read_text(encoding="utf-8")
    assert "RETENTION_DAYS=9" in text
    assert "# a note of ours" in text
    assert "xoxb-12-34-abcdefabcdef" in text
    assert "xapp-1-A12-34-abcdef" in text
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_tokens_are_not_echoed(tmp_path: Path) -> None:
    child = pexpect.spawn(
        sys.executable, ["-m", "admin.cli", "init", "--model", "starter", "--file", str(tmp_path / ".env")],
        encoding="utf-8", timeout=120, env=dict(os.environ),
    )  # fmt: skip
    child.expect("Slack bot token")
    child.sendline("xoxb-12-34-secretsecret")
    child.expect("Slack app-level token")
    assert "secretsecret" not in child.before
    child.close(force=True)


def test_without_a_terminal_it_wants_to_be_told_so(tmp_path: Path) -> None:
    done = _init("--file", str(tmp_path / ".env"))
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert not (tmp_path / ".env").exists()


def test_model_that_cannot_be_found_writes_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "model"
    empty.mkdir()
    done = _init("--yes", "--model", str(empty), "--file", str(tmp_path / ".env"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / ".env").exists()


def test_model_that_is_too_big_for_the_machine_is_refused() -> None:
    with pytest.raises(ModelError, match="needs"):
        _check_model("starter", 10**6)
    assert _check_model("starter", 10**10)["ENGINE_MODEL"] == "starter"


def test_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = _init("--yes", "--model", "starter", "--file", str(tmp_path / "no" / "such" / ".env"))
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("gpu", "memory", "expected"),
    [
        (0, 4 * _GB, "starter"),
        (0, 24 * _GB, "google/flan-t5-large"),
        (24 * _GB, 64 * _GB, "Qwen/Qwen3-4B-Instruct-2507"),
    ],
)
def test_proposal_fits_serving_and_training(gpu: int, memory: int, expected: str) -> None:
    proposed = propose(gpu_bytes=gpu, memory_bytes=memory)
    assert proposed.name == expected
    assert proposed.training_bytes <= (gpu or memory) or proposed is MODELS[0]
