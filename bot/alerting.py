"""Alerts for administrators in chats: each becomes a job, once, and is posted until it has been.

That an alert was taken on is remembered by its key and the time at which it was raised, in one transaction with the
job: one that comes back is told again, and none is told twice over a restart or by two processes. It knows no platform.
"""

from __future__ import annotations

from datetime import datetime

from engine.learning.alerts import open_alerts
from storage import chat_queries as queries
from storage.chat_tables import ChatJobRow
from storage.database import Database
from storage.learning_tables import AlertRow

KIND = "alert"


def take_on(database: Database, *, platform: str, now: datetime) -> int:
    """Make jobs of the alerts that a platform's administrators have not been told; how many.

    Raises:
        StorageError: they could not be stored; none was taken on.
    """
    mark = f"{platform}.alert:"
    with database.read() as session:
        told = {row.name: row.value for row in queries.marks(session=session, beginning=mark)}
        if all(told.get(mark + row.key) == row.raised_at.isoformat() for row in open_alerts(session)):
            return 0
    with database.write() as session:
        told = {row.name: row.value for row in queries.marks(session=session, beginning=mark)}
        new = [row for row in open_alerts(session) if told.get(mark + row.key) != row.raised_at.isoformat()]
        taken = 0
        for row in new:
            raised = row.raised_at.isoformat()
            job = ChatJobRow(
                key=f"{platform}:{KIND}:{row.key}:{raised}", platform=platform, kind=KIND, lane="light",
                payload={"alert": row.key, "raised": raised}, accepted_at=now, due_at=now,
            )  # fmt: skip
            # Another process may have been here at the same moment: its job is this one.
            taken += len(queries.insert_jobs(session=session, jobs=[job]))
            queries.save_mark(session=session, name=mark + row.key, value=raised, at=now)
    return taken


def still_open(database: Database, payload: dict[str, object]) -> AlertRow | None:
    """The alert of a job, unless it was cleared, or raised anew, since.

    Raises:
        StorageError: the database cannot be used.
    """
    with database.read() as session:
        for row in open_alerts(session):
            if (row.key, row.raised_at.isoformat()) == (payload["alert"], payload["raised"]):
                return row
    return None
