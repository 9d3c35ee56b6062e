"""`redraft doctor`: a line and a fix each, and an exit code that a monitor can use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from admin import doctor


def _doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "admin.cli", "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
        env={**os.environ, "COLUMNS": "200", **environment},
    )


def test_fresh_machine_is_fine_and_every_check_is_there() -> None:
    done = _doctor("--json")
    assert done.returncode == 0, done.stdout
    findings = {one["name"]: one for one in json.loads(done.stdout)}
    expected = {
        "Python", "SQLite", "torch", "transformers", "peft", "bitsandbytes", "4-bit kernels", "GPU", "Model",
        "Settings", "Data directory", "Database", "Disk", "Backup", "Base", "Alerts", "Slack", "Discord",
    }  # fmt: skip
    assert expected <= set(findings)
    assert all(one["fix"] for one in findings.values() if one["status"] != "ok")


def test_missing_model_fails_with_a_fix(tmp_path: Path) -> None:
    done = _doctor(ENGINE_MODEL=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "FAIL Model" in done.stdout
    assert "->" in done.stdout


def test_placeholder_token_fails_by_name() -> None:
    done = _doctor("--json", SLACK_BOT_TOKEN="xoxb-your-token")
    assert done.returncode == 1
    assert any("SLACK_BOT_TOKEN" in one["finding"] for one in json.loads(done.stdout))


def test_open_data_directory_fails(own_home: Path) -> None:
    from storage.home import Home
    from storage.settings import StorageSettings

    Home.create(StorageSettings.load())
    own_home.chmod(0o755)
    finding = doctor._data_directory()
    assert (finding.status, finding.fix) == ("fail", f"chmod 700 {own_home}")


def test_database_of_another_version_fails_with_a_fix(own_home: Path) -> None:
    import sqlite3

    from storage.database import Database
    from storage.settings import StorageSettings

    Database.open(StorageSettings.load()).close()
    (path,) = own_home.glob("*.db")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    done = _doctor("--json")
    assert done.returncode == 1
    (finding,) = [one for one in json.loads(done.stdout) if one["name"] == "Database"]
    assert finding["status"] == "fail"


def test_settings_file_that_others_can_read_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "open.env"
    path.touch(mode=0o644)
    path.chmod(0o644)
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(path))
    finding = doctor._settings()
    assert (finding.status, finding.fix) == ("warn", f"chmod 600 {path}")


def test_looking_makes_nothing(own_home: Path) -> None:
    assert _doctor("--json").returncode == 0
    assert not own_home.exists()


def test_check_that_breaks_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> doctor.Finding:
        raise ZeroDivisionError

    monkeypatch.setattr(doctor, "_sqlite", broken)
    found = {one.name: one for one in doctor.examine()}
    assert found["SQLite"].status == "fail"
    assert "ZeroDivisionError" in found["SQLite"].finding
    assert found["Disk"].status == "ok"


def test_damaged_database_fails_with_a_fix(own_home: Path) -> None:
    from storage.database import Database
    from storage.home import Home
    from storage.settings import StorageSettings

    Database.open(StorageSettings.load()).close()
    path = Home.at(StorageSettings.load()).database
    content = bytearray(path.read_bytes())
    content[4096:12288] = os.urandom(8192)
    path.write_bytes(content)
    found = list(doctor._guarded("Database", lambda: [doctor._database()]))
    assert [one.status for one in found] == ["fail"]


def test_old_python_fails() -> None:
    assert doctor._python((3, 10, 4)).status == "fail"
    assert doctor._python((3, 11, 0)).status == "ok"
