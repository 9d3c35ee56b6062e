"""Retention deletes what is old, all of it and nothing else, once a day."""

from __future__ import annotations

import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlmodel import col

from engine.learning.corrections import Corrected, correct
from engine.learning.pairs import approve, reject
from engine.learning.settings import LearningSettings
from engine.records import load_summary, store_summary
from storage import queries, retention
from storage.database import Database
from storage.errors import StorageError
from storage.learning_tables import AdapterRow, CorrectionRow, PairRow, RunPairRow, RunRow
from storage.retention import enforce, enforce_slot
from storage.settings import StorageSettings
from storage.tables import ConversationRow, FeedbackRow
from tests.storage import samples

DAY = timedelta(days=1)


def summarised(database: Database, identity: str, days_ago: float) -> str:
    then = samples.NOW - days_ago * DAY
    stored = store_summary(database, samples.request(identity), samples.result(), now=then)
    with database.write() as session:
        feedback = FeedbackRow(summary_id=stored, author_id="U1", thumb="up", given_at=then)
        queries.save_feedback(session=session, feedback=feedback)
    return stored


def test_old_conversations_go_with_everything_under_them(database: Database, settings: StorageSettings) -> None:
    summarised(database, "old", 30.01)
    kept = summarised(database, "new", 29.99)
    assert enforce(database, settings, samples.NOW).conversations == 1
    with database.read() as session:
        left = {name: count for name, count in queries.counts(session=session).items() if count}
        assert left == {"conversations": 1, "messages": 3, "summaries": 1, "feedback": 1}
        assert load_summary(session, kept) is not None
    assert enforce(database, settings, samples.NOW).conversations == 0


def test_a_conversation_that_was_read_again_is_kept(database: Database, settings: StorageSettings) -> None:
    summarised(database, "followed", 45)
    summarised(database, "followed", 1)
    assert enforce(database, settings, samples.NOW).conversations == 0


def test_more_old_conversations_than_one_transaction_takes_all_go(
    database: Database, settings: StorageSettings
) -> None:
    then = samples.NOW - 31 * DAY
    with database.write() as session:
        session.add_all(
            ConversationRow(id=f"c{number}", platform="file", first_read_at=then, read_at=then) for number in range(450)
        )
    assert enforce(database, settings, samples.NOW).conversations == 450


def test_the_daily_job_runs_once_a_slot(database: Database, settings: StorageSettings) -> None:
    summarised(database, "old", 31)
    assert enforce_slot(database, settings, slot="2026-03-29", now=samples.NOW) is not None
    summarised(database, "older", 40)
    assert enforce_slot(database, settings, slot="2026-03-29", now=samples.NOW + DAY / 2) is None
    next_day = enforce_slot(database, settings, slot="2026-03-30", now=samples.NOW + DAY)
    assert next_day is not None and next_day.conversations == 1


def test_a_job_that_fails_on_the_way_is_done_again(
    database: Database, settings: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    summarised(database, "old", 31)
    with monkeypatch.context() as broken, pytest.raises(RuntimeError):
        broken.setattr(retention, "_delete_copies", lambda *_: (_ for _ in ()).throw(RuntimeError))
        enforce_slot(database, settings, slot="2026-03-29", now=samples.NOW)
    assert enforce_slot(database, settings, slot="2026-03-29", now=samples.NOW) is not None


def corrected(database: Database, identity: str, days_ago: float, text: str) -> Corrected:
    summary_id = summarised(database, identity, days_ago)
    told = {"author_id": "slack:U1", "author": "Imke", "text": text, "blind": False}
    return correct(
        database,
        LearningSettings(),
        summary_id=summary_id,
        now=samples.NOW - days_ago * DAY,
        **told,  # type: ignore
    )


def conversations(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(col(ConversationRow.id))))


def test_a_conversation_that_a_pair_needs_is_kept_and_one_whose_pair_was_rejected_goes(
    database: Database, settings: StorageSettings
) -> None:
    waiting = corrected(database, "waits", 40, "Nobody deployed anything on Tuesday; Tariq slept in.").pair
    rejected = corrected(database, "rejected", 40, "A text that has little to do with what was said there.").pair
    approved = corrected(database, "approved", 40, "At 14:00 a deploy went wrong and was taken back at once.").pair
    assert waiting and rejected and approved
    approve(database, pair_ids=[approved.id], by="local:maria", administrator=True)
    reject(database, pair_ids=[rejected.id], by="local:maria", reason="off topic")
    assert enforce(database, settings, samples.NOW).conversations == 1
    assert conversations(database) == {"waits", "approved"}
    with database.read() as session:
        assert session.get(PairRow, rejected.id) is None and session.get(PairRow, waiting.id) is not None


def test_a_rejected_pair_that_an_adapter_learnt_from_is_kept_until_the_adapters_files_have_gone(
    database: Database, settings: StorageSettings
) -> None:
    learnt = corrected(database, "learnt", 40, "A text that has little to do with what was said there.").pair
    other = corrected(database, "other", 40, "Nobody deployed anything on Tuesday; Tariq slept in.").pair
    assert learnt and other
    approve(database, pair_ids=[learnt.id, other.id], by="local:maria", administrator=True)
    with database.write() as session:
        for run, pair in (("run-1", learnt.id), ("run-2", other.id)):  # the second one made no adapter
            session.add(RunRow(id=run, scope="default", state="finished", cause="manual", created_at=samples.NOW))
            session.flush()
            session.add(RunPairRow(run_id=run, pair_id=pair, role="train"))
        session.add(
            AdapterRow(
                id="a-1", scope="default", state="active", state_since=samples.NOW, created_at=samples.NOW,
                base_model="tiny", prompt_version="1", run_id="run-1",
            )
        )  # fmt: skip
    reject(database, pair_ids=[learnt.id, other.id], by="local:maria", reason="wrong after all")
    for state, tainted, left in (
        ("active", None, {"learnt"}),
        ("retired", None, {"learnt"}),
        ("active", samples.NOW, {"learnt"}),
        ("retired", samples.NOW, set()),
    ):
        with database.write() as session:
            row = session.get(AdapterRow, "a-1")
            assert row is not None
            row.state, row.tainted_at = state, tainted
        enforce(database, settings, samples.NOW)
        assert conversations(database) == left, (state, tainted)


def test_a_correction_that_made_no_pair_goes_with_its_conversation(
    database: Database, settings: StorageSettings
) -> None:
    feedback = corrected(database, "feedback", 40, samples.result().summary.replace("failed", "broken")).correction
    assert not feedback.pair_id
    enforce(database, settings, samples.NOW)
    with database.read() as session:
        assert session.get(CorrectionRow, feedback.id) is None
    assert conversations(database) == set()


def _made(path: Path, days_ago: float) -> None:
    then = (samples.NOW - days_ago * DAY).timestamp()
    os.utime(path, (then, then))


def test_all_that_an_old_copy_or_a_killed_restore_left_goes(database: Database, settings: StorageSettings) -> None:
    home = database.home
    home.copies.mkdir()
    for day, name in ((31, "old"), (1, "new")):
        for suffix in ("", "-wal", "-shm"):
            path = home.copies / f"damaged-{name}.db{suffix}"
            path.touch()
            _made(path, day)
        restoring = home.root / f".restore-{name}"
        (restoring / "adapters" / "a-1").mkdir(parents=True)
        (restoring / "redraft.db").touch()
        _made(restoring, day)
    enforce(database, settings, samples.NOW)
    left = sorted(path.name for path in (*home.copies.iterdir(), *home.root.glob(".restore-*")))
    assert left == [".restore-new", "damaged-new.db", "damaged-new.db-shm", "damaged-new.db-wal"]


def test_a_copy_that_cannot_be_deleted_is_told_and_keeps_no_other_from_going(
    database: Database, settings: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = database.home.copies
    copies.mkdir()
    for name in ("redraft-1.db", "redraft-2.db", "redraft-3.db"):
        (copies / name).touch()
        _made(copies / name, 31)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == "redraft-2.db":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(StorageError, match=r"redraft-2.db of the database cannot be deleted \(Permission denied\)"):
        enforce(database, settings, samples.NOW)
    assert [path.name for path in copies.iterdir()] == ["redraft-2.db"]


def test_old_copies_of_the_database_go_too(database: Database, settings: StorageSettings) -> None:
    copies = database.home.copies
    copies.mkdir()
    for name, days_ago in (("redraft-old.db", 31), ("redraft-new.db", 1)):
        (copies / name).touch()
        then = (samples.NOW - days_ago * DAY).timestamp()
        os.utime(copies / name, (then, then))
    assert enforce(database, settings, samples.NOW).copies == 1
    assert [path.name for path in copies.iterdir()] == ["redraft-new.db"]
