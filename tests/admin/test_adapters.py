"""`redraft adapters` and `redraft alerts`, as a person and a script use them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pexpect
import pytest
from sqlmodel import select

from engine.learning.registry import active_adapter, recover
from storage.database import Database
from storage.learning_tables import LedgerRow
from storage.settings import StorageSettings
from tests.admin.cli import redraft
from tests.engine.learning.making import candidate, gate, serve


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    yield opened
    opened.close()


def document(*arguments: str) -> dict[str, Any]:
    done = redraft(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def serving(database: Database) -> str:
    with database.read() as session:
        row = active_adapter(session, "default")
        return row.id if row else "base"


def test_from_a_candidate_that_waits_over_a_promotion_and_back(database: Database) -> None:
    first, second = serve(database, seed=1), candidate(database, seed=2)
    refused = redraft("adapters", "promote", second.id[:7])
    assert refused.returncode == 1
    assert "Gate: not measured yet." in refused.stdout
    assert refused.stderr == (
        f"redraft: The adapter {second.id} has not been measured.\n"
        f"         Measure it: redraft evaluate {second.id}\n"
    )  # fmt: skip
    unreasoned = redraft("adapters", "promote", second.id, "--force")
    assert (unreasoned.returncode, "needs a reason" in unreasoned.stderr) == (1, True)
    assert serving(database) == first.id
    promoted = document("adapters", "promote", second.id, "--force", "--reason", "it reads better")
    assert promoted == {
        "done": "promoted", "scope": "default", "adapter": second.id, "serves": second.id, "replaced": first.id,
        "forced": True, "also_retired": [], "notes": [],
    }  # fmt: skip
    shown = document("adapters", "show", second.id)
    assert (shown["state"], shown["run"], shown["files_present"]) == ("active", second.run_id, True)
    assert [move["reason"] for move in shown["promotions"]] == ["it reads better"]
    back = redraft("adapters", "rollback", "--reason", "worse on invoices")
    assert back.returncode == 0, back.stderr
    assert back.stdout.startswith(f"Rolled back: {first.id} serves default now, in place of {second.id}.\n")
    listed = document("adapters", "list")
    assert [(row["id"], row["state"], row["reason"]) for row in listed["adapters"]] == sorted(
        [(first.id, "active", None), (second.id, "rejected", "worse on invoices")]
    )
    with database.read() as session:
        lines = session.scalars(select(LedgerRow)).all()
    people = {line.actor for line in lines if line.action != "adapter.recorded"}
    assert all(actor.startswith("p-") for actor in people)


def test_alerts_name_what_to_type_and_end_when_it_was_done(database: Database) -> None:
    row = serve(database, seed=1)
    (database.home.adapters / row.id).rename(database.home.root / "elsewhere")
    recover(database, database.home)
    (found,) = (one for one in document("alerts")["alerts"] if one["kind"] == "adapter-missing")
    assert (found["subject"], found["command"]) == (row.id, f"redraft adapters show {row.id}")
    said = redraft("alerts").stdout
    assert found["sentence"] in said
    assert "NOT on this machine" in redraft("adapters", "show", row.id).stdout


def test_wrong_names_are_one_sentence(database: Database) -> None:
    for arguments, told in (
        (("adapters", "show", "a0"), "There is no adapter a0."),
        (("adapters", "list", "--state", "asleep"), "'asleep' is no state"),
        (("adapters", "list", "--scope", "\x1b[31meverywhere"), "is no scope"),
        (("adapters", "rollback", "--reason", "x"), "nothing to go back from"),
        (("adapters", "retire", ""), "There is no adapter"),
    ):
        done = redraft(*arguments)
        assert done.returncode == 1, arguments
        assert told in done.stderr
        assert "\x1b" not in done.stderr
        assert "Traceback" not in done.stderr


def test_a_person_at_a_terminal_is_shown_what_they_decide_and_asked(database: Database) -> None:
    row = candidate(database, seed=1)
    gate(database, row)
    command = [sys.executable, "-m", "admin.cli", "adapters", "promote", row.id]
    for answer, serves in (("n", "base"), ("y", row.id)):
        child = pexpect.spawn(
            command[0], command[1:], env={**os.environ, "COLUMNS": "160"}, encoding="utf-8", timeout=60
        )
        child.expect("Gate of .* against the base: better")
        child.expect(f"Put {row.id} in service for default, in place of base\\?")
        child.sendline(answer)
        child.expect(pexpect.EOF)
        child.close()
        assert serving(database) == serves
