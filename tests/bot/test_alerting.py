"""Alerts in chats: each is taken on once, and told until it has been told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from bot.alerting import still_open, take_on
from bot.jobs import Later
from bot.slack.admin_channel import AdminChannel
from engine.learning.alerts import clear_alert, raise_alert
from storage.chat_tables import ChatJobRow
from storage.database import Database
from tests.bot.slack_team import GENERAL
from tests.bot.test_slack_once import Poster, poster
from tests.slack_server.server import texts

__all__ = ["poster"]
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def alert(database: Database, *, at: datetime = NOW, subject: str = "run1") -> None:
    with database.write() as session:
        raise_alert(
            session, kind="run-failed", subject=subject, sentence=f"The fine-tune {subject} failed.",
            command=f"redraft runs show {subject}", now=at,
        )  # fmt: skip


def cleared(database: Database) -> None:
    with database.write() as session:
        clear_alert(session, kind="run-failed", subject="run1", now=NOW + timedelta(minutes=1))


def jobs(database: Database) -> list[ChatJobRow]:
    with database.read() as session:
        return list(session.scalars(select(ChatJobRow).order_by(ChatJobRow.key)))


def test_each_is_taken_on_once_by_however_many_and_again_when_it_comes_back(database: Database) -> None:
    alert(database)
    alert(database, subject="run2")
    with ThreadPoolExecutor(4) as threads:
        told = list(threads.map(lambda _: take_on(database, platform="slack", now=NOW), range(4)))
    assert sum(told) == 2 and len(jobs(database)) == 2
    assert take_on(database, platform="discord", now=NOW) == 2, "each platform's administrators are told"
    # Jobs are forgotten in time; that they were taken on is not.
    with database.write() as session:
        for row in jobs(database):
            session.delete(session.get_one(ChatJobRow, row.key))
    assert take_on(database, platform="slack", now=NOW) == 0
    cleared(database)
    alert(database, at=NOW + timedelta(hours=1))
    assert take_on(database, platform="slack", now=NOW) == 1


def test_what_was_cleared_or_came_back_since_is_not_told_by_the_old_job(database: Database) -> None:
    alert(database)
    take_on(database, platform="slack", now=NOW)
    [job] = jobs(database)
    found = still_open(database, job.payload)
    assert found is not None and found.sentence == "The fine-tune run1 failed."
    cleared(database)
    assert still_open(database, job.payload) is None
    alert(database, at=NOW + timedelta(hours=1))
    assert still_open(database, job.payload) is None


async def test_an_alert_whose_posting_fails_is_posted_later_and_once(poster: Poster) -> None:
    server, database = poster.server, poster._database
    alert(database)
    take_on(database, platform="slack", now=NOW)
    [job] = jobs(database)
    admin = AdminChannel(database, poster.messages, GENERAL)
    # Slack breaks, then it has no such channel for us, then its answer is lost on the way, then the process dies.
    refused: Any = (200, {}, {"ok": False, "error": "channel_not_found"})
    server.instead["chat.postMessage"] += [(500, {}, {}), refused]
    server.lost["chat.postMessage"] = 1
    poster.dies_saving = ["'posted': ['1"]

    async def do(working: Any) -> None:
        working.job.payload.update(job.payload)
        await admin.post(working)

    assert await poster.does(do) >= 4
    [post] = server.posts
    assert "The fine-tune run1 failed." in texts(post["blocks"]) and "redraft runs show run1" in texts(post["blocks"])


async def test_without_a_channel_an_open_alert_waits_for_one(poster: Poster) -> None:
    database = poster._database
    alert(database)
    take_on(database, platform="slack", now=NOW)
    [job] = jobs(database)
    admin = AdminChannel(database, poster.messages, "")

    async def do(working: Any) -> None:
        working.job.payload.update(job.payload)
        if working.progress.get("waited"):
            cleared(database)
        else:
            with pytest.raises(Later):
                await admin.post(working)
            await working.save(waited=True)
            raise Later(1)
        await admin.post(working)

    assert await poster.does(do) == 2
    assert poster.server.posts == []
