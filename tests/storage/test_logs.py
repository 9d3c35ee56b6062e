"""What long-running processes log is for the owner of the data directory only."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from storage.logs import PrivateRotatingFileHandler


def test_every_file_of_a_rotated_log_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "bot.jsonl"
    umask = os.umask(0o022)
    handler = PrivateRotatingFileHandler(path, maxBytes=10, backupCount=3, encoding="utf-8")
    try:
        for number in range(3):
            handler.emit(logging.makeLogRecord({"msg": f"line {number} of the log"}))
    finally:
        handler.close()
        os.umask(umask)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.glob("bot.jsonl*")}
    assert len(modes) > 1 and set(modes.values()) == {0o600}, modes
