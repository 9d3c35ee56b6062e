"""`redraft ledger`, as a person and a script use it: pages with filters, and an exit code that tells of tampering."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from engine.learning.ledger import recorded
from storage.database import Database
from storage.settings import StorageSettings
from tests.admin.cli import redraft

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
DONE = (
    ("adapter.promoted", "local:maria", "a1", {"forced": True, "reason": "it\x1b[31m reads\nbetter", "scope": ""}),
    ("pairs.imported", "slack:U01AB", "p1", {"rows": 3}),
    ("adapter.retired", "redraft", "a1", {}),
    ("adapter.promoted", "slack:U01AB", "a2", {"forced": False}),
)


@pytest.fixture
def database() -> Iterator[Database]:
    opened = Database.open(StorageSettings.load())
    for number, (action, by, subject, details) in enumerate(DONE):
        with recorded(opened) as (_session, ledger):
            ledger.append(action, by=by, subject=subject, details=details, now=NOW + timedelta(days=number))
    yield opened
    opened.close()


def document(*arguments: str) -> dict[str, Any]:
    done = redraft("ledger", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def numbers(*arguments: str) -> list[int]:
    return [line["seq"] for line in document("show", *arguments)["lines"]]


def test_filters_narrow_and_pages_follow_one_another(database: Database) -> None:
    assert numbers("--actor", "slack:U01AB", "--action", "adapter.promoted", "--action", "pairs") == [4, 2]
    assert numbers(
        "--action",
        "adapter",
        "--subject",
        "a1",
        "--since",
        (NOW + timedelta(days=2)).astimezone().strftime("%Y-%m-%dT%H:%M:%S"),
    ) == [3]
    first = document("show", "--limit", "3")
    assert ([line["seq"] for line in first["lines"]], first["next_before"]) == ([4, 3, 2], 2)
    last = document("show", "--before", "2")
    assert last == {
        "lines": [
            {
                "seq": 1, "at": "2026-05-04T12:00:00+00:00", "actor": last["lines"][0]["actor"],
                "person": "local:maria", "action": "adapter.promoted", "subject": "a1", "details": DONE[0][3],
            }
        ],
        "next_before": None,
    }  # fmt: skip
    assert last["lines"][0]["actor"].startswith("p-")


def test_a_person_reads_a_line_each_in_which_nothing_moves_the_cursor(database: Database) -> None:
    done = redraft("ledger", "show", "--limit", "3", "--before", "4", TZ="UTC")
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 3)
    assert (
        lines[2]
        == "     1  2026-05-04 12:00:00  local:maria  adapter.promoted  a1  forced=true reason=it[31m reads better"
    )
    assert redraft("ledger", "show", "--actor", "local:nobody").stdout == "The ledger has no such line.\n"


def test_a_whole_ledger_is_said_to_be_whole(database: Database) -> None:
    done = redraft("ledger", "verify")
    assert (done.returncode, done.stdout) == (0, "The ledger is whole: 4 lines, witnessed up to 4.\n")
    assert document("verify") == {"whole": True, "lines": 4, "witnessed": 4, "findings": [], "notes": []}


def test_tampering_is_one_sentence_and_exit_code_1(database: Database) -> None:
    for harm, kind, seq in (
        ("UPDATE ledger SET subject = 'a9' WHERE seq = 1", "altered", 1),
        ("UPDATE ledger SET subject = 'a1' WHERE seq = 1", "", 0),
        ("DELETE FROM ledger WHERE seq = 4", "missing", 4),
    ):
        with database.write() as session:
            session.execute(text(harm))
        if kind:
            done = redraft("ledger", "verify", "--json")
            found = json.loads(done.stdout)
            assert (done.returncode, found["whole"]) == (1, False)
            assert [(one["kind"], one["seq"]) for one in found["findings"]] == [(kind, seq)]
    done = redraft("ledger", "verify")
    assert (done.returncode, done.stdout) == (1, "Line 4 is missing, the last in the ledger.\n")
    assert done.stderr.startswith("redraft: The ledger is not what was written: one thing found in 3 lines.\n")
    assert "docs/security.md" in done.stderr and len(done.stderr.splitlines()) == 2


def test_wrong_usage_is_exit_code_2() -> None:
    assert redraft("ledger", "show", "--since", "yesterday").returncode == 2
