"""A full disk ends in one sentence, and nothing is stored by halves.

Root mounts a tmpfs of a few megabytes in a mount namespace of its own; where that is not allowed, a limit on the size
of files (which the kernel enforces in the same system call) stands in for it. Either way the real SQLite meets a real
refusal, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2_000_000

#: Fills the disk by storing summaries until it is told; then tells what it was told, and looks at what is stored.
CHILD = """
import json, resource, signal, sys
from pathlib import Path
home, limit = Path(sys.argv[1]), int(sys.argv[2])
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
from dataclasses import replace
from engine.conversation import Message
from engine.records import load_summary, store_summary
from storage import queries
from storage.backup import backup
from storage.database import Database
from storage.errors import StorageError
from storage.settings import StorageSettings
from tests.storage import samples
settings = StorageSettings(redraft_home=home, database_url=None)
database = Database.open(settings)
acknowledged, told = [], ""
long = Message("1711.4", "Imke", "log line\\n" * 20_000)
while not told:
    request = samples.request(f"c{len(acknowledged)}")
    conversation = request.conversation
    conversation = samples.with_messages(conversation, *conversation.messages, long)
    request = replace(request, conversation=conversation)
    try:
        acknowledged.append(store_summary(database, request, samples.result()))
    except StorageError as error:
        told = str(error)
with database.read() as session:
    counts = queries.counts(session=session)
    whole = sum(load_summary(session, summary) is not None for summary in acknowledged)
try:
    backup(settings, home / "backup", shown_settings={})
    backup_told = ""
except StorageError as error:
    backup_told = str(error)
print(json.dumps({"told": told, "counts": counts, "acknowledged": len(acknowledged), "whole": whole,
    "check": database.check(), "backup_told": backup_told, "left": sorted(path.name for path in home.iterdir())}))
"""


def _may_mount() -> bool:
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"]
    try:
        return subprocess.run(command, capture_output=True, timeout=20).returncode == 0
    except (FileNotFoundError, PermissionError):
        return False


@pytest.fixture(scope="module", params=["tmpfs", "limit"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("disk")
    run = [sys.executable, "-c", CHILD, str(place / "home")]
    mounted = request.param == "tmpfs" and _may_mount()
    if mounted:
        mount = f'mount -t tmpfs -o size={LIMIT} none "{place}" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", mount, "sh", *run, "0"]
    else:
        command = [*run, str(LIMIT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return {"mounted": mounted, **json.loads(done.stdout)}


def test_a_full_disk_is_told_in_one_sentence_and_a_next_step(found: dict[str, Any]) -> None:
    assert found["told"].endswith("redraft.db is full; nothing of this was stored. Free some space and try again.")


def test_what_was_acknowledged_before_the_disk_was_full_is_there_and_nothing_else(found: dict[str, Any]) -> None:
    stored = found["acknowledged"]
    assert stored >= 1 and found["whole"] == stored
    there = {name: count for name, count in found["counts"].items() if count}
    assert there == {"conversations": stored, "messages": 4 * stored, "summaries": stored}
    assert found["check"] == ""


def test_a_backup_onto_a_full_disk_is_told_and_leaves_nothing(found: dict[str, Any]) -> None:
    if found["mounted"]:
        assert "is full; nothing of this was stored" in found["backup_told"]
        assert "backup" not in found["left"]
    else:
        # A limit on the size of each file leaves room for another file of the same size.
        assert (found["backup_told"], "backup" in found["left"]) == ("", True)
    assert not [name for name in found["left"] if name.startswith(".backup")]
