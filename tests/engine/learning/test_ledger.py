"""The ledger: what is done to a row, to their order or to the newest ones is found; what is written fits together."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from engine.learning import heads
from engine.learning.ledger import Ledger, hash_of, opened, pseudonym_of, recorded, witness
from engine.learning.ledger_check import show, verify
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import LedgerRow, PersonKeyRow
from storage.settings import StorageSettings

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


def test_an_altered_row_is_found_whichever_column_and_wherever_it_stands(database: Database) -> None:
    fill(database, 9)
    statement = "UPDATE ledger SET {} = :value WHERE seq = :seq"
    for name, edit in EDITS.items():
        for seq in (1, 4, 9):
            before = column(database, seq, name)
            execute(database, statement.format(name), value=edit(before), seq=seq)
            assert seq in {finding.seq for finding in verify(database).findings}, (name, seq)
            value = json.dumps(before) if isinstance(before, dict) else before
            execute(database, statement.format(name), value=value, seq=seq)
            assert verify(database).findings == (), (name, seq)


def _delete(database: Database, draw: random.Random, lines: int) -> None:
    execute(database, "DELETE FROM ledger WHERE seq = :seq", seq=draw.randint(1, lines))


def _delete_newest(database: Database, draw: random.Random, lines: int) -> None:
    execute(database, "DELETE FROM ledger WHERE seq > :seq", seq=draw.randint(0, lines - 1))


def _swap(database: Database, draw: random.Random, lines: int) -> None:
    one, other = draw.sample(range(1, lines + 1), 2)
    for old, new in ((one, 900), (other, one), (900, other)):
        execute(database, "UPDATE ledger SET seq = :new WHERE seq = :old", old=old, new=new)


def _duplicate(database: Database, draw: random.Random, lines: int) -> None:
    columns = "at, actor, action, subject, details, previous, hash"
    execute(
        database,
        f"INSERT INTO ledger (seq, {columns}) SELECT :new, {columns} FROM ledger WHERE seq = :old",
        old=draw.randint(1, lines),
        new=lines + 1,
    )


def _rechain_from(database: Database, draw: random.Random, lines: int) -> None:
    """What somebody does who knows how the hashes are made: alter a row, and make the chain fit again."""
    first = draw.randint(1, lines)
    with database.write() as session:
        previous = None
        for seq in range(first, lines + 1):
            row = session.get(LedgerRow, seq)
            assert row is not None
            if previous is None:
                row.subject = "another"
            else:
                row.previous = previous
            row.hash = previous = hash_of(row)


def _forget_newest_and_write_others(database: Database, draw: random.Random, lines: int) -> None:
    _delete_newest(database, draw, lines)
    with database.write() as session:
        for number in range(lines + 2):
            Ledger(session).append("invented", by="redraft", subject=str(number))


HARM = (_delete, _delete_newest, _swap, _duplicate, _rechain_from, _forget_newest_and_write_others)


def test_rows_that_are_removed_reordered_inserted_or_chained_anew_are_found(database: Database) -> None:
    fill(database, 8)
    with database.read() as session:
        rows = [dict(row) for row in session.execute(text("SELECT * FROM ledger ORDER BY seq")).mappings()]
    names = ", ".join(rows[0])
    insert = f"INSERT INTO ledger ({names}) VALUES ({', '.join(f':{one}' for one in rows[0])})"
    for harm in HARM:
        for seed in range(3):
            harm(database, random.Random(seed), 8)
            assert verify(database).findings, (harm.__name__, seed)
            execute(database, "DELETE FROM ledger")
            for row in rows:
                details = row["details"]
                row = {**row, "details": json.dumps(details) if isinstance(details, dict) else details}
                execute(database, insert, **row)
            assert verify(database).findings == ()


@pytest.mark.parametrize("name", ["at", "details"])
def test_a_row_that_cannot_be_read_is_a_finding_and_no_failure(make_settings: Any, name: str) -> None:
    database = Database.open(make_settings("sqlite"))
    fill(database, 3)
    execute(database, f"UPDATE ledger SET {name} = 'nonsense' WHERE seq = 2")
    assert [(one.kind, one.seq) for one in verify(database).findings] == [("unreadable", 2)]
    with pytest.raises(StorageError, match="cannot be read"):
        show(database)
    fill(database, 1, start=3)  # and it goes on
    database.close()


# --- heads outside the database


def keep(database: Database, change: Callable[[str], str]) -> None:
    path = database.home.ledger_heads
    path.write_text(change(path.read_text()))


def test_a_heads_file_that_lags_behind_is_told_and_is_no_finding(database: Database) -> None:
    fill(database, 6)
    keep(database, lambda text: "".join(text.splitlines(keepends=True)[:-2]))
    done = verify(database)
    assert done.findings == () and done.witnessed == 4
    assert "newest 2 lines have no witness" in done.notes[0]
    fill(database, 1, start=6)
    done = verify(database)
    assert (done.findings, done.notes, done.witnessed) == ((), (), 7)


def test_a_missing_heads_file_is_told(database: Database) -> None:
    fill(database, 2)
    database.home.ledger_heads.unlink()
    assert "stand on the chain alone" in verify(database).notes[0]


CHANGES: tuple[Callable[[str], str], ...] = (
    lambda text: text.replace("\n", "x\n", 1),
    lambda text: "".join(reversed(text.splitlines(keepends=True))),
    lambda text: text + "\x00\n",
    lambda text: text.replace(text.split()[1], "0" * 64),
    lambda text: text + "restored 2 " + "0" * 64 + "\n7 " + "0" * 64 + "\n",
)


def test_a_heads_file_that_somebody_changed_is_found(database: Database) -> None:
    fill(database, 4)
    whole = database.home.ledger_heads.read_text()
    for number, change in enumerate(CHANGES):
        database.home.ledger_heads.write_text(change(whole))
        assert verify(database).findings, number


def test_a_line_that_a_crash_cut_off_says_nothing_and_the_next_one_stands_alone(database: Database) -> None:
    fill(database, 3)
    whole = database.home.ledger_heads.read_text()
    for cut in range(1, len(whole.splitlines()[-1]) + 1):
        database.home.ledger_heads.write_text(whole[: -1 - cut])
        assert verify(database).findings == (), cut
    fill(database, 1, start=3)
    done = verify(database)
    assert (done.findings, done.witnessed) == ((), 4)


def test_a_marker_of_a_restore_excuses_nothing_unless_the_chain_has_that_very_line(database: Database) -> None:
    fill(database, 5)
    with database.read() as session:
        hashes = dict(session.execute(text("SELECT seq, hash FROM ledger")).all())
    keep(database, lambda text: f"{text}restored 3 {hashes[3]}\n")
    execute(database, "DELETE FROM ledger WHERE seq > 3")
    assert [one.kind for one in verify(database).findings] == ["missing"]


def test_heads_that_cannot_be_kept_fail_nothing_that_was_committed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(heads, "add", full)
    fill(database, 2)
    monkeypatch.undo()
    done = verify(database)
    assert (done.lines, done.witnessed, done.findings) == (2, 0, ())
    witness(database)
    assert verify(database).witnessed == 2


def test_a_transaction_that_is_rolled_back_leaves_no_line_and_no_head(database: Database) -> None:
    with pytest.raises(RuntimeError), recorded(database) as (_session, ledger):
        ledger.append("never", by="redraft")
        raise RuntimeError
    assert verify(database).lines == 0 and heads.read(database.home) == heads.Heads()


# --- several at once

_WRITER = """
import sys
from pathlib import Path
from engine.learning.ledger import recorded
from storage.database import Database
from storage.settings import StorageSettings

home, address, name, many = sys.argv[1:]
database = Database.open(StorageSettings(redraft_home=Path(home), database_url=address or None))
for number in range(int(many)):
    with recorded(database) as (_session, ledger):
        ledger.append("made", by=f"local:{name}", subject=f"{name}-{number}")
"""


def test_appends_of_several_processes_make_one_chain_and_heads_in_order(
    database: Database, settings: StorageSettings
) -> None:
    address = settings.database_url.get_secret_value() if settings.database_url else ""
    command = [sys.executable, "-c", _WRITER, str(database.home.root), address]
    writers = [subprocess.Popen([*command, name, "15"]) for name in ("ana", "bo")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    done = verify(database)
    assert (done.lines, done.witnessed, done.findings) == (30, 30, ())
    seen = [head.seq for head in heads.read(database.home).lines]
    assert seen == sorted(set(seen))


def test_a_reader_that_verifies_while_others_write_finds_nothing(database: Database) -> None:
    with ThreadPoolExecutor(2) as pool:
        writing = [pool.submit(fill, database, 10, start) for start in (0, 10)]
        while not all(one.done() for one in writing):
            assert verify(database).findings == ()
        for one in writing:
            one.result()
    assert verify(database).lines == 20


# --- reading


def test_the_ledger_is_shown_newest_first_by_page_and_by_whom(database: Database) -> None:
    fill(database, 9)
    page = show(database, limit=4)
    assert [line.seq for line in page.lines] == [9, 8, 7, 6] and page.next_before == 6
    rest = show(database, limit=5, before=page.next_before)
    assert [line.seq for line in rest.lines] == [5, 4, 3, 2, 1] and rest.next_before is None
    mine = show(database, actor="local:maria").lines
    assert [line.seq for line in mine] == [7, 4, 1] and {line.person for line in mine} == {"local:maria"}
    assert show(database, actor=mine[0].actor).lines == mine
    assert show(database, actor="local:nobody").lines == ()
    assert [line.seq for line in show(database, actions=["adapter"]).lines] == [7, 4, 1]
    assert show(database, actions=["adap"]).lines == ()
    assert [line.seq for line in show(database, since=NOW + timedelta(minutes=7)).lines] == [9, 8]
    assert [line.seq for line in show(database, subject="a3").lines] == [4]


def test_a_person_whose_key_is_gone_is_a_pseudonym_for_ever(database: Database) -> None:
    fill(database, 3)
    with database.read() as session:
        key = session.get(PersonKeyRow, "local:maria")
        assert key is not None
    execute(database, "DELETE FROM person_keys WHERE person = 'local:maria'")
    (line,) = [line for line in show(database).lines if line.seq == 1]
    assert (line.person, line.actor) == ("", pseudonym_of("local:maria", key.key))
    assert verify(database).findings == ()
    fill(database, 1)
    assert show(database).lines[0].actor != line.actor


def test_opening_a_private_conversation_is_recorded(database: Database) -> None:
    opened(database, conversation_id="slack-1", by="local:maria", why="asked by the works council", now=NOW)
    (line,) = show(database, actions=["conversation.opened"]).lines
    assert (line.person, line.subject, line.at) == ("local:maria", "slack-1", NOW)
