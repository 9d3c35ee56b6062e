"""Runs the real command line in a process of its own, as a person or a script would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def redraft(
    *arguments: str | Path, stdin: bytes = b"", timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One command; output as text, never raising for its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "admin.cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "COLUMNS": "160", **environment},
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )
