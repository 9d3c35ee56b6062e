"""`redraft forget`, as a person and a script use it: looked at first, not done by mistake, honest about its reach."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from engine.learning.erasure import forget
from engine.learning.ledger_check import show, verify
from engine.learning.pointers import pointer
from engine.learning.promotion import promote
from engine.learning.settings import LearningSettings
from storage.backup import backup
from storage.database import Database
from storage.settings import StorageSettings
from tests.admin.cli import redraft
from tests.engine.learning.planting import ACCOUNT, IMKE, NOW, OTHERS, SENTENCE, columns_with, files_with, learn, plant

TRACES = (SENTENCE, ACCOUNT)


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    plant(opened)
    yield opened
    opened.close()


def serving(database: Database) -> str:
    with database.read() as session:
        return pointer(session, "default")


def serve(database: Database) -> str:
    adapter, home = learn(database), database.home
    promote(database, home, LearningSettings(), adapter_id=adapter, by="local:ana", force=True, reason="x", now=NOW)
    return adapter


def everything(database: Database) -> dict[str, object]:
    """Every file of the data directory with its bytes and time, locks and the database's own journal left out."""
    return {
        str(path.relative_to(database.home.root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(database.home.root.rglob("*"))
        if path.is_file() and not path.name.endswith((".lock", ".turn"))
    }


def test_a_dry_run_says_what_would_go_and_changes_nothing(database: Database) -> None:
    adapter = serve(database)
    before = everything(database)
    told = redraft("forget", "--user", IMKE, "--dry-run")
    assert told.returncode == 0, told.stderr
    for line in (
        f"Of {IMKE} these go:",
        "  2 messages",
        "  5 training pairs",
        "  6 lines of logs",
        f"Adapter {adapter} of",
    ):
        assert line in told.stdout
    assert SENTENCE not in told.stdout
    found = json.loads(redraft("forget", "--user", IMKE, "--dry-run", "--json").stdout)
    assert (found["dry_run"], found["subject"], found["counts"]["messages"]) == (True, IMKE, 2)
    assert found["adapters"] == [{"id": adapter, "scope": "default", "state": "active"}]
    assert everything(database) == before


def test_without_a_terminal_it_is_done_only_with_yes(database: Database) -> None:
    before = everything(database)
    for arguments in ((), ("--json",)):
        done = redraft("forget", "--user", IMKE, *arguments, stdin=b"y\n")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "redraft: An erasure cannot be taken back.\n         Look at it with --dry-run, then add --yes.\n"
        )
    assert everything(database) == before


def test_with_yes_it_is_gone_and_what_is_out_of_reach_is_said(database: Database) -> None:
    adapter = serve(database)
    done = redraft("forget", "--user", IMKE, "--yes", LOGNAME="ana")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "Erased: 2 messages, 1 whole conversation, 3 summaries, 3 corrections, 5 training pairs"
    )
    assert f"Adapter {adapter} has learnt from it and serves or waits until" in done.stdout
    assert "at once: redraft train --scope default" in done.stdout
    assert "  Backups elsewhere: make a new one" in done.stdout and "files that pairs were exported to" in done.stdout
    assert columns_with(database, *TRACES) == [] and files_with(database.home.root, *TRACES) == []
    assert columns_with(database, OTHERS)
    assert serving(database) == adapter
    assert [line.person for line in show(database, actions=["erasure"]).lines] == ["local:ana"]


def test_with_now_what_learnt_from_it_is_out_of_service_when_the_command_ends(database: Database) -> None:
    adapter = serve(database)
    done = redraft("forget", "--conversation", "shared", "--now", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["dry_run"], found["kind"], found["retired"], found["tainted"]) == (
        False,
        "conversation",
        [adapter],
        [],
    )
    assert (found["deadline"], found["retraining_owed"]) == (None, ["default"])
    assert serving(database) == "base"
    assert not (database.home.adapters / adapter).exists()


def test_a_person_at_a_terminal_sees_what_goes_and_is_asked(database: Database) -> None:
    for answer, left in (("n", True), ("y", False)):
        child = pexpect.spawn(
            sys.executable, ["-m", "admin.cli", "forget", "--user", IMKE],
            env={**os.environ, "COLUMNS": "160"}, encoding="utf-8", timeout=60,
        )  # fmt: skip
        child.expect("2 messages")
        child.expect("Erase all this\\? It cannot be taken back\\.")
        child.sendline(answer)
        child.expect("Nothing was erased" if left else "Erased: 2 messages")
        child.expect(pexpect.EOF)
        child.close()
        assert child.exitstatus == (1 if left else 0)
        assert bool(columns_with(database, SENTENCE)) is left


def test_whom_is_named_by_an_account_and_by_one_option() -> None:
    both = redraft("forget", "--user", IMKE, "--conversation", "shared", "--yes")
    assert both.returncode == 2
    odd = redraft("forget", "--user", "\x1b[31mImke", "--yes")
    assert odd.returncode == 1 and "names no account" in odd.stderr and "\x1b" not in odd.stderr


def test_a_restore_of_an_older_backup_brings_nobody_back(database: Database, tmp_path: Path) -> None:
    settings, saved = StorageSettings.load(), tmp_path / "saved"
    backup(settings, saved, shown_settings={})
    forget(database, database.home, LearningSettings(), user=IMKE, by="local:ana")
    done = redraft("restore", saved, "--force")
    assert done.returncode == 0, done.stderr
    assert columns_with(database, OTHERS) and columns_with(database, *TRACES) == []
    assert files_with(database.home.root, *TRACES) == []
    assert verify(database).findings == ()
