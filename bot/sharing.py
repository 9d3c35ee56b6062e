"""Who posts a summary for everybody: one job of all that were asked to, whichever process they are in.

A claim is a mark with the key of the job that has it, made in one transaction; a job that ended without posting, or is
not known any more, loses it to the next. It knows no platform.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from storage import chat_queries as queries
from storage.database import Database

Claim = Literal["yours", "being shared", "shared"]


def claim(database: Database, *, platform: str, summary_id: str, job: str, now: datetime) -> Claim:
    """Whether a job is the one to share a summary; asked again, it still is.

    Raises:
        StorageError: it cannot be stored.
    """
    name = _mark(platform, summary_id)
    with database.write() as session:
        holder = queries.claim_mark(session=session, name=name, value=job, at=now)
        # Looked at after the claim: what was shared until now is seen here, by whoever comes second.
        if any(not row.private and row.message for row in queries.answers_of(session=session, summary_id=summary_id)):
            if holder == job:
                queries.delete_mark(session=session, name=name)
            return "shared"
        if holder == job:
            return "yours"
        other = queries.get_job(session=session, key=holder)
        if other is not None and other.state in ("waiting", "running"):
            return "being shared"
        queries.save_mark(session=session, name=name, value=job, at=now)
    return "yours"


def let_go(database: Database, *, platform: str, summary_id: str) -> None:
    """Forget a claim: that it is shared is on record now.

    Raises:
        StorageError: it cannot be stored.
    """
    with database.write() as session:
        queries.delete_mark(session=session, name=_mark(platform, summary_id))


def _mark(platform: str, summary_id: str) -> str:
    return f"{platform}.share:{summary_id}"
