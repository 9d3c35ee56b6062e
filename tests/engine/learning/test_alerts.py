"""An alert is raised once, cleared once, and raised anew when its cause comes back."""

from __future__ import annotations

import threading
from collections import namedtuple
from datetime import timedelta

import pytest

from engine.learning import alerts
from engine.learning.alerts import clear_alert, open_alerts, raise_alert, refresh
from storage import queries
from storage.backup import JOB
from storage.database import Database
from storage.learning_tables import AlertRow
from storage.settings import StorageSettings
from tests.engine.learning.making import START, candidate, gate

HOUR = timedelta(hours=1)
Usage = namedtuple("Usage", "total used free")


def raised(database: Database, *, at: int = 0, sentence: str = "It broke.", subject: str = "default") -> bool:
    with database.write() as session:
        return raise_alert(
            session, kind="run-failed", subject=subject, sentence=sentence, command="redraft runs list",
            now=START + at * HOUR,
        )  # fmt: skip


def standing(database: Database) -> list[AlertRow]:
    with database.read() as session:
        return list(open_alerts(session))


def test_raised_again_while_it_stands_it_takes_the_newer_words_and_stays_as_old_as_it_is(database: Database) -> None:
    assert raised(database)
    assert not raised(database, at=1, sentence="It broke again.")
    (alert,) = standing(database)
    assert (alert.raised_at, alert.sentence) == (START, "It broke again.")
    assert raised(database, at=2, subject="slack:T1")
    assert [one.subject for one in standing(database)] == ["default", "slack:T1"]


def test_cleared_once_and_raised_anew_when_its_cause_comes_back(database: Database) -> None:
    raised(database)
    with database.write() as session:
        assert clear_alert(session, kind="run-failed", subject="default", now=START + HOUR)
        assert not clear_alert(session, kind="run-failed", subject="default", now=START + 2 * HOUR)
        assert not clear_alert(session, kind="run-failed", subject="slack:T1", now=START)
    assert standing(database) == []
    assert raised(database, at=5)
    assert [one.raised_at for one in standing(database)] == [START + 5 * HOUR]


def test_of_many_who_raise_it_at_once_one_tells(settings: StorageSettings, database: Database) -> None:
    others = [Database.open(settings) for _ in range(3)]
    told: list[bool] = []
    start = threading.Barrier(4)

    def act(each: Database) -> None:
        start.wait()
        told.append(raised(each))

    threads = [threading.Thread(target=act, args=(each,)) for each in (database, *others)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in others:
        each.close()
    assert sorted(told) == [False, False, False, True]


@pytest.mark.parametrize(
    ("verdict", "told", "command"),
    [
        ("better", "waits to be promoted", "promote"),
        ("worse", "is worse", "show"),
        ("", "not been measured", "evaluate"),
    ],
)
def test_a_candidate_that_waits_is_told_with_what_to_type(
    database: Database, verdict: str, told: str, command: str
) -> None:
    row = candidate(database)
    if verdict:
        gate(database, row, verdict)
        row.verdict = verdict
    with database.write() as session:
        alerts.candidate_waiting(session, adapter=row, now=START)
    (alert,) = standing(database)
    assert told in alert.sentence
    assert command in alert.command
    assert row.id in alert.command


def test_disk_and_backup_are_told_while_they_are_bad(
    settings: StorageSettings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [10**9]
    monkeypatch.setattr("engine.learning.alerts.shutil.disk_usage", lambda _: Usage(10**12, 0, free[0]))
    assert [one.kind for one in refresh(database, database.home, settings, START)] == ["disk"]
    candidate(database)  # from now on there is something to lose
    (disk, backup) = refresh(database, database.home, settings, START + HOUR)
    assert (disk.raised_at, backup.kind, backup.sentence) == (START, "backup", "There has been no backup yet.")
    free[0] = alerts.LOW_DISK_BYTES + 1  # a little more is not well yet
    assert len(refresh(database, database.home, settings, START + HOUR)) == 2
    free[0] = 2 * alerts.LOW_DISK_BYTES
    with database.write() as session:
        queries.record_job(session=session, job=JOB, slot="a backup", started=START, finished=START)
    assert refresh(database, database.home, settings, START + HOUR) == []
    late = START + timedelta(days=settings.backup_max_age_days + 2)
    assert [one.sentence for one in refresh(database, database.home, settings, late)] == [
        "The last backup is 9 days old."
    ]


def test_an_alert_that_was_cleared_long_ago_is_forgotten(settings: StorageSettings, database: Database) -> None:
    raised(database)
    with database.write() as session:
        clear_alert(session, kind="run-failed", subject="default", now=START)
    for days, left in ((89, 1), (91, 0)):
        refresh(database, database.home, settings, START + timedelta(days=days))
        with database.read() as session:
            found = session.get(AlertRow, "run-failed:default")
        assert (found is not None) == bool(left)
