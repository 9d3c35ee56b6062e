"""``redraft schedule`` and ``redraft runs stop``: what the console does, by the same calls, on the command line."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from engine.learning.ledger_check import show
from engine.learning.locks import run_lock
from storage.database import Database
from storage.learning_tables import RunRow
from storage.settings import StorageSettings
from tests.admin.cli import redraft


def test_schedule_is_shown_changed_paused_and_let_go_on() -> None:
    before = json.loads(redraft("schedule", "show", "--json").stdout)
    assert (before["cron"], before["paused"], len(before["next"])) == ("30 2 * * *", False, 5)
    changed = redraft(
        "schedule", "set", "--cron", "0 4 * * mon", "--timezone", "Europe/Berlin", "--min-new-pairs", "40"
    )
    assert changed.returncode == 0
    assert changed.stdout.splitlines()[0] == "0 4 * * mon Europe/Berlin, from 40 new pairs on"
    assert "Monday" in changed.stdout.splitlines()[1]
    assert json.loads(redraft("schedule", "pause", "--json").stdout)["next"] == []
    assert len(json.loads(redraft("schedule", "resume", "--json").stdout)["next"]) == 5
    refused = redraft("schedule", "set", "--cron", "nonsense")
    assert refused.returncode == 1
    assert refused.stderr.startswith("redraft: The schedule 'nonsense'")


def test_run_that_waits_is_stopped_and_one_that_has_ended_is_refused() -> None:
    database = Database.open(StorageSettings.load())
    with database.write() as session:
        for name, state in (("20260504-r1", "queued"), ("20260504-r2", "finished")):
            session.add(RunRow(id=name, scope="default", state=state, cause="manual", created_at=datetime.now(UTC)))
    run_lock(database.home, "20260504-r1").parent.mkdir(parents=True)
    stopped = json.loads(redraft("runs", "stop", "20260504-r1", "--json").stdout)
    assert stopped == {"run": "20260504-r1", "state": "stopped", "asked": False}
    refused = redraft("runs", "stop", "20260504-r2")
    assert refused.returncode == 1
    assert "it is finished" in refused.stderr
    assert "run.stop_requested" in [line.action for line in show(database, limit=5).lines]
    database.close()
