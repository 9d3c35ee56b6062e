"""``db upgrade``, ``backup`` and ``restore`` as people and scripts use them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from admin.commands import storage as commands
from engine.records import load_summary, store_summary
from storage.database import Database
from storage.errors import StorageError
from storage.schema import revisions
from storage.settings import StorageSettings
from tests.storage import samples


def redraft(*words: str) -> str:
    app = typer.Typer()
    commands.register(app)
    done = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def as_json(*words: str) -> dict[str, Any]:
    return dict(json.loads(redraft(*words, "--json")))


def test_upgrading_says_what_it_did_and_then_that_there_is_nothing_to_do() -> None:
    assert redraft("db", "upgrade") == f"The database was created at schema {revisions()[-1]}.\n"
    assert redraft("db", "upgrade") == f"The database is at schema {revisions()[-1]}, the newest.\n"
    assert as_json("db", "upgrade") == {"before": revisions()[-1], "after": revisions()[-1], "copy": None}


def test_a_backup_and_a_restore_end_in_the_same_summary(own_home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    database = Database.open(StorageSettings.load())
    summary = store_summary(database, samples.request(), samples.result())
    with database.read() as session:
        before = load_summary(session, summary)
    database.close()
    target = str(tmp_path / "set")
    said = redraft("backup", target)
    assert "conversations 1, messages 3, summaries 1, feedback 0, corrections 0, pairs 0, runs 0, adapters 0." in said
    with pytest.raises(StorageError, match="is not empty"):
        redraft("restore", target)
    monkeypatch.setenv("REDRAFT_HOME", str(tmp_path / "new machine"))
    assert as_json("restore", target)["rows"]["summaries"] == 1
    database = Database.open(StorageSettings.load())
    with database.read() as session:
        assert load_summary(session, summary) == before
    database.close()
    replaced = as_json("restore", target, "--force")["replaced"]
    assert Path(replaced).is_file()


def test_a_backup_holds_no_secret_of_any_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-planted-secret")
    found = as_json("backup", str(tmp_path / "set"))
    assert found["files"] == 2
    content = b"".join(path.read_bytes() for path in (tmp_path / "set").iterdir())
    assert b"planted-secret" not in content and b"ENGINE_MODEL" in content


def test_the_database_commands_load_neither_the_model_libraries_nor_without_need_alembic(own_home: Path) -> None:
    redraft("db", "upgrade")
    code = (
        "import sys; from admin.commands import storage; storage.run_upgrade(json_=False); "
        "print([name for name in ('torch', 'transformers', 'peft', 'bitsandbytes', 'alembic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
