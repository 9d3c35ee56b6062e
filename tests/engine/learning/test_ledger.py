"""The ledger: what is done to a row, to the order of rows or to the newest ones is found; all fits together."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from engine.learning.ledger import recorded
from engine.learning.ledger_check import verify
from storage.database import Database

NOW = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
PEOPLE = ("local:maria", "slack:U01AB", "redraft")


def fill(database: Database, lines: int, start: int = 0) -> None:
    for number in range(start, start + lines):
        with recorded(database) as (_session, ledger):
            ledger.append(
                ("adapter.promoted", "pairs.imported", "run.started")[number % 3],
                by=PEOPLE[number % len(PEOPLE)],
                subject=f"a{number}",
                details={"reason": f"because of {number}", "count": number, "share": number / 7},
                now=NOW + timedelta(minutes=number),
            )


def execute(database: Database, statement: str, **values: Any) -> None:
    """As somebody who can write the database, and nothing else, would."""
    with database.write() as session:
        session.execute(text(statement), values)


def column(database: Database, seq: int, name: str) -> Any:
    with database.read() as session:
        return session.execute(text(f"SELECT {name} FROM ledger WHERE seq = :seq"), {"seq": seq}).scalar_one()


def test_a_ledger_that_nobody_touched_is_whole_and_its_newest_line_witnessed(database: Database) -> None:
    assert verify(database).findings == ()
    fill(database, 12)
    done = verify(database)
    assert (done.findings, done.notes, done.lines, done.witnessed) == ((), (), 12, 12)


def test_lines_with_what_no_database_stores_as_it_is_are_whole(database: Database) -> None:
    with recorded(database) as (_session, ledger):
        ledger.append("odd", by="local:ma\x00ria\ud800", subject="a\x00b\udfff", details={"x": "\x00\ud800 ü \u2028"})
    assert verify(database).findings == ()


EDITS: dict[str, Callable[[Any], Any]] = {
    "at": lambda _: "2025-01-01 00:00:00.000000",
    "actor": lambda _: "p-0000000000000000",
    "action": lambda old: f"{old}x",
    "subject": lambda old: f"{old} ",
    "details": lambda _: '{"reason": "another"}',
    "previous": lambda old: old[::-1] + "0",
    "hash": lambda _: "f" * 64,
}


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("seq", [1, 4, 9])
def test_an_altered_row_is_found_whichever_column_and_wherever_it_stands(
    database: Database, name: str, seq: int
) -> None:
    fill(database, 9)
    execute(
        database,
        f"UPDATE ledger SET {name} = :value WHERE seq = :seq",
        value=EDITS[name](column(database, seq, name)),
        seq=seq,
    )
    assert seq in {finding.seq for finding in verify(database).findings}
