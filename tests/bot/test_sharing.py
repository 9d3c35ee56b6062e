"""Who shares a summary: one job of all that were asked to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from bot.answers import record_shown
from bot.sharing import claim, let_go
from engine import records
from storage import chat_queries as queries
from storage.chat_tables import ChatJobRow
from storage.database import Database
from tests.storage.samples import request, result

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def a_summary(database: Database) -> str:
    return records.store_summary(database, request(), result(), now=NOW)


def a_job(database: Database, key: str, state: str = "running") -> str:
    row = ChatJobRow(key=key, platform="slack", kind="click", lane="light", state=state, accepted_at=NOW, due_at=NOW)
    with database.write() as session:
        queries.insert_jobs(session=session, jobs=[row])
    return key


def claimed(database: Database, summary_id: str, job: str) -> str:
    return claim(database, platform="slack", summary_id=summary_id, job=job, now=NOW)


def test_of_many_at_once_one_may_and_goes_on_to_however_often_it_asks(database: Database) -> None:
    summary = a_summary(database)
    jobs = [a_job(database, f"job{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        told = list(threads.map(lambda job: claimed(database, summary, job), jobs))
    assert sorted(told) == ["being shared"] * 7 + ["yours"]
    assert claimed(database, summary, jobs[told.index("yours")]) == "yours"


def test_a_job_that_ended_without_posting_loses_it_to_the_next(database: Database) -> None:
    summary = a_summary(database)
    first, second, third = a_job(database, "a", "failed"), a_job(database, "b"), a_job(database, "c", "waiting")
    assert claimed(database, summary, first) == "yours"
    assert claimed(database, summary, second) == "yours"
    assert claimed(database, summary, third) == "being shared"


def test_what_is_shared_is_not_shared_again(database: Database) -> None:
    summary = a_summary(database)
    job = a_job(database, "a")
    assert claimed(database, summary, job) == "yours"
    record_shown(
        database, summary_id=summary, platform="slack", person="slack:U1", private=False, channel="C1", message="1.2"
    )  # fmt: skip
    assert claimed(database, summary, a_job(database, "b")) == "shared"
    let_go(database, platform="slack", summary_id=summary)
    assert claimed(database, summary, a_job(database, "c")) == "shared"
    with database.read() as session:
        assert queries.marks(session=session, beginning="") == []
