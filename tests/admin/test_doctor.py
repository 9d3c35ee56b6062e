"""`redraft doctor`: a line and a fix each, and an exit code that a monitor can use."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from admin import doctor
from tests.admin.cli import redraft
from tests.conftest import SETTINGS


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """What it says on a machine where nothing has run yet, and the data directory that is not there."""
    home = tmp_path_factory.mktemp("fresh") / "home"
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(SETTINGS):
                patch.delenv(name)
        done = redraft("doctor", "--json", REDRAFT_HOME=str(home), REDRAFT_ENV_FILE=os.devnull, HF_HUB_OFFLINE="1")
    return done, home


def test_fresh_machine_is_fine_and_every_check_is_there(fresh: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = fresh
    assert done.returncode == 0, done.stdout
    findings = {one["name"]: one for one in json.loads(done.stdout)}
    expected = {
        "Python", "SQLite", "torch", "transformers", "peft", "bitsandbytes", "4-bit kernels", "GPU", "Model",
        "Settings", "Data directory", "Database", "Disk", "Backup", "Base", "Alerts", "Slack", "Discord",
    }  # fmt: skip
    assert expected <= set(findings)
    assert all(one["fix"] for one in findings.values() if one["status"] != "ok")


def test_looking_makes_nothing(fresh: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, home = fresh
    assert done.returncode == 0
    assert not home.exists()


def test_each_thing_that_is_wrong_fails_with_a_fix(own_home: Path, tmp_path: Path) -> None:
    import sqlite3

    from storage.database import Database
    from storage.settings import StorageSettings

    Database.open(StorageSettings.load()).close()
    (path,) = own_home.glob("*.db")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
    connection.close()
    wrong = {"ENGINE_MODEL": str(tmp_path / "nowhere")}
    done = redraft("doctor", **wrong)
    assert done.returncode == 1
    for name in ("Model", "Database"):
        assert f"FAIL {name}" in done.stdout
    assert "->" in done.stdout


def test_placeholder_token_fails_by_name() -> None:
    done = redraft("doctor", "--json", SLACK_BOT_TOKEN="xoxb-your-token")
    assert done.returncode == 1
    assert any("SLACK_BOT_TOKEN" in one["finding"] for one in json.loads(done.stdout))


def test_open_data_directory_fails(own_home: Path) -> None:
    from storage.home import Home
    from storage.settings import StorageSettings

    Home.create(StorageSettings.load())
    own_home.chmod(0o755)
    finding = doctor._data_directory()
    assert (finding.status, finding.fix) == ("fail", f"chmod 700 {own_home}")


def test_settings_file_that_others_can_read_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "open.env"
    path.touch(mode=0o644)
    path.chmod(0o644)
    monkeypatch.setenv("REDRAFT_ENV_FILE", str(path))
    finding = doctor._settings()
    assert (finding.status, finding.fix) == ("warn", f"chmod 600 {path}")


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
