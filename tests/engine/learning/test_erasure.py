"""What is erased is in no column and no file's bytes; what is others' stays; adapters that learnt from it go."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from engine.learning import erasure, erasure_files
from engine.learning import erasure_journal as journal
from engine.learning.erasure import forget, preview, resume, retire_overdue
from engine.learning.ledger_check import show, verify
from engine.learning.locks import run_lock
from engine.learning.pairs import approve, reject
from engine.learning.pointers import pointer
from engine.learning.promotion import promote
from engine.learning.registry import recover
from engine.learning.settings import LearningSettings
from engine.learning.tainted import retraining_owed
from engine.records import load_conversation
from storage import connection
from storage.database import Database
from storage.errors import InputError, StorageError
from storage.learning_tables import (
    AdapterRow,
    AlertRow,
    CorrectionRow,
    ErasureRow,
    NearKeyRow,
    PairRow,
    PersonKeyRow,
    PromotionRequestRow,
    RunRow,
    SplitRow,
)
from storage.retention import enforce
from storage.settings import StorageSettings
from storage.tables import ConversationRow, FeedbackRow, MessageRow, SummaryRow
from tests.engine.learning import making
from tests.engine.learning.pairing import NOW as PAIRED
from tests.engine.learning.pairing import corrected
from tests.engine.learning.planting import (
    ACCOUNT,
    IMKE,
    KEPT_CONVERSATIONS,
    NOW,
    OTHERS,
    SENTENCE,
    columns_with,
    conversation,
    files_with,
    imke,
    learn,
    pair,
    plant,
    summarise,
    tariq,
)

LEARNING = LearningSettings()
GIVE_UP = timedelta(days=LEARNING.erasure_deadline_days)
TRACES = (SENTENCE, ACCOUNT)


@pytest.fixture
def sqlite(make_settings: Callable[..., StorageSettings]) -> Iterator[Database]:
    """For what is the same on both databases."""
    with closing(Database.open(make_settings("sqlite"))) as opened:
        yield opened


def erase(database: Database, **given: object) -> erasure.Erased:
    values = {"by": "local:ana", "now": NOW, **({} if "conversation" in given else {"user": IMKE}), **given}
    return forget(database, database.home, LEARNING, **values)  # type: ignore[arg-type]


def ids(database: Database, column: object) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(column)))  # type: ignore[call-overload]


def test_a_persons_words_are_found_in_no_column_and_no_file_afterwards(database: Database) -> None:
    plant(database, much=30)
    learn(database)
    assert columns_with(database, *TRACES) and files_with(database.home.root, *TRACES)
    erase(database)
    assert columns_with(database, *TRACES, "Imke") == []
    assert files_with(database.home.root, *TRACES, "Imke") == []
    assert database.check() == "" and verify(database).findings == ()


def test_what_is_others_stays(database: Database) -> None:
    plant(database)
    erase(database)
    # what only she wrote in goes whole, and so does a conversation's name that was hers to give
    assert ids(database, ConversationRow.id) == {*KEPT_CONVERSATIONS, "deleted"}
    assert ids(database, MessageRow.author) == {"Tariq"}
    assert ids(database, PairRow.id) == {"kept", "imported"}
    assert ids(database, CorrectionRow.id) == {"c-kept"}
    assert ids(database, FeedbackRow.reason) == {OTHERS}
    assert ids(database, SplitRow.conversation_key) == {"shared", "others", "imported"} - {"imported"}
    assert ids(database, NearKeyRow.conversation_key) <= {"others"}
    assert ids(database, PersonKeyRow.person) == {"local:ana"}
    with database.read() as session:
        summaries = session.scalars(select(SummaryRow)).all()
        assert sorted((one.conversation_id, one.asked_by, one.focus) for one in summaries) == [
            ("elsewhere", "local:maria", ""),
            ("others", "", ""),
        ]
        kept = session.get(PairRow, "kept")
        request = session.get(PromotionRequestRow, "a")
        assert kept is not None and request is not None
        # what she decided and asked for stands, by somebody whom nobody can tell
        assert kept.superseded_by == "" and kept.decided_by.startswith("p-") and request.requested_by == kept.decided_by
    logs = (database.home.logs / "bot.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in logs if line.strip()] == ["erased", OTHERS, "erased"]
    assert OTHERS in (database.home.runs / "run-1" / "evaluation.json").read_text()


def test_the_ledger_says_that_it_was_done_and_not_to_whom(sqlite: Database) -> None:
    plant(sqlite)
    done = erase(sqlite, by=IMKE)  # by herself: even then
    lines = show(sqlite).lines
    line = next(line for line in lines if line.action == "erasure.done")
    assert (line.subject, line.person) == (done.id, "") and line.details["counts"]["messages"] == done.counts[
        "messages"
    ]
    assert {one.actor for one in lines if one.action == "pairs.approved"} == {line.actor}
    with sqlite.read() as session:
        row = session.get(ErasureRow, done.id)
        assert row is not None and row.counts == done.counts
        (mark,) = erasure.marks_of([row])
    assert mark.is_about(IMKE) and not mark.is_about("slack:U0IMKE78")
    assert [one.id for one in journal.remembered(sqlite.home)] == [done.id]


def test_a_preview_counts_what_goes_and_changes_nothing(sqlite: Database) -> None:
    plant(sqlite)
    learn(sqlite)
    before = columns_with(sqlite, *TRACES), files_with(sqlite.home.root, *TRACES)
    found = preview(sqlite, sqlite.home, user=IMKE)
    assert (columns_with(sqlite, *TRACES), files_with(sqlite.home.root, *TRACES)) == before
    done = erase(sqlite)
    assert found.counts == done.counts == {
        "messages": 2, "conversations": 1, "summaries": 3, "corrections": 3, "pairs": 5, "feedback": 2, "requests": 1,
        "runs": 1, "adapters": 1,
    }  # fmt: skip
    assert (found.copies, found.log_lines) == (done.copies, done.log_lines) == (2, 6)
    assert preview(sqlite, sqlite.home, user=IMKE).nothing


def test_nothing_goes_where_it_would_be_more_than_was_told(sqlite: Database) -> None:
    plant(sqlite)
    told = preview(sqlite, sqlite.home, conversation="shared")
    with sqlite.read() as session:
        told_once_more = load_conversation(session, "shared")
    assert told_once_more is not None
    summarise(sqlite, told_once_more, "that it rained")
    with pytest.raises(InputError, match="not what you were told any more; nothing was erased"):
        forget(sqlite, sqlite.home, LEARNING, conversation="shared", by="local:maria", expected=told)
    assert journal.pending(sqlite.home) is None and not journal.remembered(sqlite.home)
    assert preview(sqlite, sqlite.home, conversation="shared").counts["summaries"] == told.counts["summaries"] + 1
    again = preview(sqlite, sqlite.home, conversation="shared")
    done = forget(sqlite, sqlite.home, LEARNING, conversation="shared", by="local:maria", expected=again)
    assert done.counts == again.counts


def test_a_conversation_goes_with_everything_under_it(database: Database) -> None:
    plant(database)
    adapter = learn(database)
    (database.home.logs / "engine.jsonl").write_text('{"conversation": "shared"}\n{"conversation": "shared2"}\n')
    done = erase(database, conversation="shared")
    assert done.counts["messages"] == 2 and done.tainted == (adapter,)
    assert columns_with(database, "shared") == []
    assert files_with(database.home.root, "shared") == ["logs/engine.jsonl"]
    assert "dialogue" not in ids(database, PairRow.id)


def test_an_imported_pair_goes_by_its_key(sqlite: Database) -> None:
    plant(sqlite)
    assert erase(sqlite, conversation="import-1").counts["pairs"] == 1
    assert "imported" not in ids(sqlite, PairRow.id)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "Name one user or one conversation"),
        ({"user": IMKE, "conversation": "c"}, "Name one user or one conversation"),
        ({"user": "imke"}, "names no account"),
        ({"user": "slack:"}, "names no account"),
        ({"user": "github:imke"}, "names no account"),
        ({"conversation": " "}, "is not empty"),
    ],
)
def test_who_is_not_named_by_an_account_is_refused(
    make_settings: Callable[..., StorageSettings], given: dict[str, str], sentence: str
) -> None:
    with closing(Database.open(make_settings("sqlite"))) as database, pytest.raises(InputError, match=sentence):
        forget(database, database.home, LEARNING, by="local:ana", now=NOW, **given)  # type: ignore[arg-type]


def test_a_name_in_a_file_is_refused_and_its_conversations_are_named(sqlite: Database) -> None:
    plant(sqlite)
    with pytest.raises(InputError, match="no account") as told:
        preview(sqlite, sqlite.home, user="file:Tariq")
    assert told.value.hint.endswith("--conversation elsewhere")


def test_somebody_of_whom_nothing_is_here_is_remembered_for_older_backups(sqlite: Database) -> None:
    plant(sqlite)
    done = erase(sqlite, user="slack:U0NOBODY")
    assert not any(done.counts.values())
    assert [mark.is_about("slack:U0NOBODY") for mark in journal.remembered(sqlite.home)] == [True]
    assert columns_with(sqlite, SENTENCE)


def test_an_account_of_the_same_number_on_another_platform_is_somebody_else(sqlite: Database) -> None:
    plant(sqlite)
    erase(sqlite, user=f"discord:{ACCOUNT}")
    assert columns_with(sqlite, SENTENCE)


def test_nobody_who_bears_the_same_name_loses_a_pair(database: Database) -> None:

    plant(database)
    namesake = conversation("namesake", replace(imke(9, OTHERS), author_id="U0IMKE88"), tariq(10))
    summarise(database, namesake, OTHERS)
    with database.write() as session:
        session.add(pair("namesake", "namesake", OTHERS, namesake))
    erase(database)
    assert "namesake" in ids(database, PairRow.id)
    assert "namesake" in ids(database, SummaryRow.conversation_id)


# --- adapters that learnt


def test_adapters_that_learnt_are_tainted_and_their_scope_is_owed_a_fine_tune(database: Database) -> None:
    plant(database)
    serving = learn(database, seed=1)
    promote(database, database.home, LEARNING, adapter_id=serving, by="local:ana", force=True, reason="x", now=NOW)
    waiting = learn(database, seed=2)
    clean = learn(database, seed=3, pairs=("kept", "imported"), scope="slack:T1")
    done = erase(database)
    assert set(done.tainted) == {serving, waiting} and done.retired == () and done.owed == ("default",)
    assert done.deadline == NOW + GIVE_UP
    with database.read() as session:
        rows = {row.id: row for row in session.scalars(select(AdapterRow))}
        alerts = {row.subject for row in session.scalars(select(AlertRow).where(col(AlertRow.kind) == "tainted"))}
        assert pointer(session, "default") == serving
    assert [rows[one].retire_by for one in (serving, waiting, clean)] == [NOW + GIVE_UP, NOW + GIVE_UP, None]
    assert alerts == {serving, waiting}
    assert (database.home.adapters / serving).is_dir()
    # nothing of what they learnt from is left beside them
    assert not (database.home.runs / "run-2").exists() or not any((database.home.runs / "run-2").iterdir())


def test_what_learnt_from_a_pair_that_was_rejected_since_is_found_after_retention_too(
    database: Database, settings: StorageSettings
) -> None:
    done = corrected(database, author_id=IMKE)
    assert done.pair is not None
    approve(database, pair_ids=[done.pair.id], by="local:ana", administrator=True)
    adapter = learn(database, pairs=(done.pair.id,))
    promote(database, database.home, LEARNING, adapter_id=adapter, by="local:ana", force=True, reason="x", now=NOW)
    reject(database, pair_ids=[done.pair.id], by="local:ana", reason="wrong after all")
    later = max(NOW, PAIRED) + timedelta(days=400)
    enforce(database, settings, later)
    erased = erase(database, now=later)
    assert (erased.tainted, erased.owed) == ((adapter,), ("default",))
    with database.read() as session:
        row = session.get(AdapterRow, adapter)
        assert row is not None and (row.tainted_at, row.retire_by) == (later, later + GIVE_UP)


def test_a_fine_tune_begun_since_settles_what_is_owed_unless_it_failed(sqlite: Database) -> None:
    plant(sqlite)
    learn(sqlite)
    erase(sqlite)
    for state, owed in (("failed", ["default"]), ("queued", []), ("failed", ["default"]), ("finished", [])):
        with sqlite.write() as session:
            session.merge(
                RunRow(id="new", scope="default", state=state, cause="erasure", created_at=NOW + timedelta(1))
            )
        with sqlite.read() as session:
            assert retraining_owed(session, NOW) == owed, state


def test_at_the_deadline_a_scope_falls_back_to_the_base_and_the_files_go(sqlite: Database) -> None:
    plant(sqlite)
    serving = learn(sqlite)
    promote(sqlite, sqlite.home, LEARNING, adapter_id=serving, by="local:ana", force=True, reason="x", now=NOW)
    erase(sqlite)
    assert retire_overdue(sqlite, sqlite.home, LEARNING, now=NOW + GIVE_UP - timedelta(minutes=1)) == []
    assert retire_overdue(sqlite, sqlite.home, LEARNING, now=NOW + GIVE_UP) == [serving]
    with sqlite.read() as session:
        assert pointer(session, "default") == "base" and retraining_owed(session, NOW + GIVE_UP) == []
        assert not session.scalars(select(AlertRow).where(col(AlertRow.cleared_at).is_(None))).all()
    assert not (sqlite.home.adapters / serving).exists()
    assert retire_overdue(sqlite, sqlite.home, LEARNING, now=NOW + 2 * GIVE_UP) == []
    assert verify(sqlite).findings == ()


def test_with_now_they_go_at_once(sqlite: Database) -> None:
    plant(sqlite)
    serving = learn(sqlite, seed=1)
    promote(sqlite, sqlite.home, LEARNING, adapter_id=serving, by="local:ana", force=True, reason="x", now=NOW)
    waiting = learn(sqlite, seed=2)
    done = erase(sqlite, immediately=True)
    assert (done.tainted, set(done.retired), done.owed) == ((), {serving, waiting}, ("default",))
    with sqlite.read() as session:
        assert pointer(session, "default") == "base"
        assert retraining_owed(session, NOW + timedelta(days=29)) == ["default"]
        assert retraining_owed(session, NOW + timedelta(days=30)) == []
    assert list(sqlite.home.adapters.iterdir()) == []
    assert recover(sqlite, sqlite.home, now=NOW).missing == []


def test_asked_for_again_with_now_what_the_first_left_in_service_goes_and_nothing_else(database: Database) -> None:
    plant(database)
    serving = learn(database, seed=1)
    promote(database, database.home, LEARNING, adapter_id=serving, by="local:ana", force=True, reason="x", now=NOW)
    waiting = learn(database, seed=2)
    anothers = learn(database, seed=3, pairs=("imported",), scope="slack:T1")
    assert set(erase(database).tainted) == {serving, waiting}
    assert erase(database, conversation="import-1").tainted == (anothers,)
    later = NOW + timedelta(days=3)
    found = preview(database, database.home, user=IMKE)
    assert {one.id for one in found.learners} == {serving, waiting} and found.nothing
    again = erase(database, now=later)
    assert (set(again.tainted), again.retired, again.deadline) == ({serving, waiting}, (), NOW + GIVE_UP)
    done = erase(database, now=later, immediately=True)
    assert (done.tainted, set(done.retired), done.owed) == ((), {serving, waiting}, ("default",))
    with database.read() as session:
        assert pointer(session, "default") == "base"
        assert session.get(AdapterRow, anothers).state == "candidate"  # type: ignore[union-attr]
    assert [path.name for path in database.home.adapters.iterdir()] == [anothers]
    assert verify(database).findings == ()


def test_one_that_was_killed_and_is_ended_with_now_is_remembered_so(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(sqlite)
    serving = learn(sqlite)
    promote(sqlite, sqlite.home, LEARNING, adapter_id=serving, by="local:ana", force=True, reason="x", now=NOW)

    class Died(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(erasure_files, "sweep", dies)
        erase(sqlite)
    assert [mark.immediately for mark in journal.remembered(sqlite.home)] == [False]
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(erasure, "retire_these", dies)
        erase(sqlite, immediately=True)
    resume(sqlite, sqlite.home, LEARNING, now=NOW)
    assert [mark.immediately for mark in journal.remembered(sqlite.home)] == [True]
    with sqlite.read() as session:
        assert pointer(session, "default") == "base"
    assert list(sqlite.home.adapters.iterdir()) == []


def test_one_trained_since_takes_their_place_and_then_their_files_go(sqlite: Database) -> None:
    plant(sqlite)
    serving = learn(sqlite, seed=1)
    promote(sqlite, sqlite.home, LEARNING, adapter_id=serving, by="local:ana", force=True, reason="x", now=NOW)
    erase(sqlite)
    later = NOW + timedelta(days=1)
    fresh = making.candidate(sqlite, seed=5, now=later)
    promote(sqlite, sqlite.home, LEARNING, adapter_id=fresh.id, by="local:ana", force=True, reason="x", now=later)
    assert retire_overdue(sqlite, sqlite.home, LEARNING, now=later) == []
    assert [path.name for path in sqlite.home.adapters.iterdir()] == [fresh.id]


def test_an_adapter_that_a_dead_fine_tune_left_is_tainted_when_it_is_found(sqlite: Database) -> None:
    plant(sqlite)
    with sqlite.write() as session:
        session.add(RunRow(id="dead", scope="default", state="running", cause="manual", created_at=NOW))
        session.flush()
        session.execute(text("INSERT INTO run_pairs (run_id, pair_id, role) VALUES ('dead', 'dialogue', 'train')"))
    manifest = making.files(sqlite.home.adapters, seed=9, run_id="dead")
    erase(sqlite)
    assert recover(sqlite, sqlite.home, now=NOW).recorded == [manifest.id]
    with sqlite.read() as session:
        assert session.get(AdapterRow, manifest.id).tainted_at is not None  # type: ignore[union-attr]
        assert session.get(RunRow, "dead").state == "failed"  # type: ignore[union-attr]
    assert retire_overdue(sqlite, sqlite.home, LEARNING, now=NOW) == [manifest.id]


_TRAINS = """
import fcntl, pathlib, sys, time
lock = open(sys.argv[1], "w"); fcntl.flock(lock, fcntl.LOCK_EX)
print("trains", flush=True)
while True:
    pathlib.Path(sys.argv[1]).with_name("examples.json").write_text(sys.argv[2]); time.sleep(0.01)
"""


def test_a_fine_tune_that_holds_erased_words_is_ended_before_its_files_go(
    make_settings: Callable[..., StorageSettings],
) -> None:
    with closing(Database.open(make_settings("sqlite"))) as database:
        plant(database)
        lock = run_lock(database.home, "live")
        lock.parent.mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", _TRAINS, str(lock), SENTENCE], stdout=subprocess.PIPE, text=True
        ) as trains:
            assert trains.stdout is not None and trains.stdout.readline() == "trains\n"
            with database.write() as session:
                values = {"cause": "manual", "created_at": NOW, "pid": trains.pid}
                session.add(RunRow(id="live", scope="default", state="running", **values))
                session.flush()
                session.execute(text("INSERT INTO run_pairs (run_id, pair_id, role) VALUES ('live', 'hers', 'train')"))
            erase(database)
            assert trains.wait(10) != 0
        assert files_with(database.home.root, *TRACES) == []


# --- cut off, and done again

STEPS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "before the rows": lambda patch: patch.setattr(erasure, "remove", _dies),
    "after the rows": lambda patch: patch.setattr(erasure_files, "sweep", _dies),
    "before the logs": lambda patch: patch.setattr(erasure_files, "blank_log_lines", _dies),
    "before the copies": lambda patch: patch.setattr(erasure_files, "remove_copies", _dies),
    "before the free space": lambda patch: patch.setattr(Database, "rewrite", _dies),
    "before its end": lambda patch: patch.setattr(journal, "end", _dies),
}


class Died(BaseException):
    pass


def _dies(*_: object, **__: object) -> None:
    raise Died


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        *(("sqlite", step) for step in STEPS),
        pytest.param("postgresql", "before the rows", marks=pytest.mark.xdist_group("postgresql")),
        pytest.param("postgresql", "before the free space", marks=pytest.mark.xdist_group("postgresql")),
    ],
)
def test_one_that_was_cut_off_is_brought_to_its_end_whoever_comes_next(
    database: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    plant(database)
    with monkeypatch.context() as patch, pytest.raises(Died):
        STEPS[step](patch)
        erase(database)
    before = journal.pending(database.home)
    assert before is not None and before.subject == IMKE
    done = resume(database, database.home, LEARNING, now=NOW)
    assert done is not None and done.id == before.id and done.counts["messages"] == 2
    assert columns_with(database, *TRACES) == [] and files_with(database.home.root, *TRACES) == []
    assert [mark.id for mark in journal.remembered(database.home)] == [done.id]
    assert resume(database, database.home, LEARNING, now=NOW) is None
    assert [line.action for line in show(database, actions=["erasure"]).lines] == ["erasure.done"]


def test_the_next_erasure_ends_the_one_before_first(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(sqlite)
    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(erasure_files, "sweep", _dies)
        erase(sqlite)
    erase(sqlite, conversation="elsewhere")
    assert columns_with(sqlite, *TRACES, "elsewhere") == [] and files_with(sqlite.home.root, *TRACES) == []
    assert len(journal.remembered(sqlite.home)) == 2


def test_a_file_that_cannot_be_removed_is_told_and_the_next_try_ends_it(
    sqlite: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(sqlite)
    unlink = erasure_files._remove_tree

    def refuses(path: object) -> None:
        if "before-0002" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(StorageError, match=r"before-0002\.db cannot be removed"):
        patch.setattr(erasure_files, "_remove_tree", refuses)
        erase(sqlite)
    erase(sqlite)
    assert files_with(sqlite.home.root, *TRACES) == []


def test_an_order_whose_writer_was_killed_names_nobody_for_long(sqlite: Database) -> None:
    unfinished = sqlite.home.root / ".erasing.json.4711.tmp"
    unfinished.write_text(IMKE[:9] + ACCOUNT)
    retire_overdue(sqlite, sqlite.home, LEARNING, now=NOW)
    assert files_with(sqlite.home.root, ACCOUNT) == []


def test_two_at_once_wait_for_each_other(sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(sqlite)
    monkeypatch.setattr(erasure, "_WAIT_S", 0.05)
    with journal.alone(sqlite.home, 1), pytest.raises(StorageError, match="Another erasure"):
        erase(sqlite)


def test_with_a_write_ahead_log_nothing_is_left_in_it(
    make_settings: Callable[..., StorageSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "wal_is_safe", lambda: True)
    with closing(Database.open(make_settings("sqlite"))) as database:
        assert database.journal_mode() == "wal"
        plant(database)
        erase(database)
        assert files_with(database.home.root, *TRACES) == []


def test_a_log_that_is_being_written_goes_on_where_it_is(make_settings: Callable[..., StorageSettings]) -> None:
    with closing(Database.open(make_settings("sqlite"))) as database:
        plant(database)
        path = database.home.logs / "bot.jsonl"
        size = path.stat().st_size
        with path.open("a") as file:
            erase(database)
            file.write('{"event": "later"}\n')
        assert path.stat().st_size == size + len('{"event": "later"}\n')
        assert path.read_text().endswith('\n{"event": "later"}\n')
