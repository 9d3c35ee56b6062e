"""Runs the real command line in a process of its own, as a person or a script would."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests import warm


def redraft(
    *arguments: str | Path, stdin: bytes = b"", timeout: float = 240, **environment: str
) -> subprocess.CompletedProcess[str]:
    """One command; output as text, never raising for its exit code."""
    done = warm.run(
        *map(str, arguments),
        stdin=stdin,
        timeout=timeout,
        environment={**os.environ, "COLUMNS": "160", **environment},
        directory=Path.cwd(),
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8")
    )
