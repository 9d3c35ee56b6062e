"""A backup brought up on an empty machine goes on where the old one was: the same rows, the same summary."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from tests.admin.cli import redraft

_CHAT = """\
Ines: The shipment from Porto is stuck at customs, they want the invoice again.
Kofi: I sent invoice 4471 on Tuesday.
Ines: They say page 2 is missing. Can you send it before 15:00?
Kofi: Sending it now, with the packing list.
"""


def _rows(home: Path) -> dict[str, list[tuple[object, ...]]]:
    (path,) = home.glob("*.db")
    connection = sqlite3.connect(path)
    try:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall())
            for table in ("conversations", "messages", "summaries", "summary_sentences")
        }
    finally:
        connection.close()


def test_restored_machine_has_the_same_rows_and_writes_the_same_summary(tmp_path: Path) -> None:
    chat, old, new, saved = tmp_path / "chat.txt", tmp_path / "old", tmp_path / "new", tmp_path / "saved"
    chat.write_text(_CHAT, encoding="utf-8")
    first = redraft("summarize", chat, "--json", REDRAFT_HOME=str(old))
    assert first.returncode == 0, first.stderr

    (old / "models.json").write_text('{"ada/model": "0123"}', encoding="utf-8")
    made = redraft("backup", saved, REDRAFT_HOME=str(old), SLACK_BOT_TOKEN="xoxb-12-34-abcdefsecret")
    assert made.returncode == 0, made.stderr
    assert not any(b"abcdefsecret" in path.read_bytes() for path in saved.rglob("*") if path.is_file())
    restored = redraft("restore", saved, REDRAFT_HOME=str(new))
    assert restored.returncode == 0, restored.stderr

    assert _rows(new) == _rows(old)
    assert (new / "models.json").read_text(encoding="utf-8") == '{"ada/model": "0123"}'
    second = redraft("summarize", chat, "--json", REDRAFT_HOME=str(new))
    assert json.loads(second.stdout)["summary"] == json.loads(first.stdout)["summary"]


def test_damaged_backup_is_refused_and_nothing_is_restored(tmp_path: Path) -> None:
    chat, old, new, saved = tmp_path / "chat.txt", tmp_path / "old", tmp_path / "new", tmp_path / "saved"
    chat.write_text(_CHAT, encoding="utf-8")
    assert redraft("db", "upgrade", REDRAFT_HOME=str(old)).returncode == 0
    assert redraft("backup", saved, REDRAFT_HOME=str(old)).returncode == 0
    (database,) = saved.glob("*.db")
    content = bytearray(database.read_bytes())
    content[len(content) // 2] ^= 1
    database.write_bytes(content)
    done = redraft("restore", saved, REDRAFT_HOME=str(new))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not list(new.glob("*.db"))
