"""A writer is killed (``kill -9``) again and again: every row that it acknowledged is there, and the file is whole.

``rounds`` is the number of kills, all on one database. The moment is drawn with the seed: after so many
acknowledgements, and then so many microseconds into whatever the writer does next.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.records import load_conversation, store_summary
from storage.database import Database
from storage.home import Home
from storage.settings import StorageSettings
from tests.storage import samples

FULL_ROUNDS = 50


def run(rounds: int, seed: int) -> dict[str, Any]:
    """Kill a writer ``rounds`` times, and after each look for what it said it had stored."""
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as directory:
        settings = StorageSettings(redraft_home=Path(directory) / "home", database_url=None)
        home = Home.create(settings)
        acknowledged: list[str] = []
        inside = 0
        for number in range(rounds):
            acknowledged += _kill_a_writer(home.root, number, draw.randint(1, 30), draw.uniform(0.0, 0.03))
            journal = home.database.with_name("redraft.db-journal")
            inside += journal.exists() and journal.stat().st_size > 0
            _all_there(settings, acknowledged)
    return {"kills": rounds, "acknowledged": len(acknowledged), "lost": 0, "killed_inside_a_transaction": inside}


def _kill_a_writer(home: Path, number: int, after: int, delay_s: float) -> list[str]:
    """Start a writer, kill it; the ids that it acknowledged."""
    command = [sys.executable, "-m", "tests.faults.storage_kill", str(home), str(number)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    first = [line for _, line in zip(range(after), writer.stdout, strict=False)]
    with suppress(subprocess.TimeoutExpired):
        writer.wait(delay_s)
    assert writer.poll() is None, "the writer ended by itself"
    writer.kill()
    lines = first + writer.stdout.readlines()
    writer.stdout.close()
    writer.wait(30)
    # The last line may have been cut by the kill; an acknowledgement counts once it is whole.
    return [line.strip() for line in lines if line.endswith("\n")]


def _all_there(settings: StorageSettings, acknowledged: list[str]) -> None:
    database = Database.open(settings)
    try:
        assert database.check() == "", database.check()
        with database.read() as session:
            for identity in acknowledged:
                found = load_conversation(session, identity)
                assert found == samples.conversation(identity), f"{identity} was acknowledged and is not there"
    finally:
        database.close()


def _write_for_ever(home: Path, number: str) -> None:
    """The writer's process: an id on standard output for each row, once it is committed."""
    database = Database.open(StorageSettings(redraft_home=home, database_url=None))
    row = 0
    while True:
        identity = f"k{number}-{row}"
        store_summary(database, samples.request(identity), samples.result(), now=datetime.now(UTC))
        print(identity, flush=True)
        row += 1


if __name__ == "__main__":
    _write_for_ever(Path(sys.argv[1]), sys.argv[2])
