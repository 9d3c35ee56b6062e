"""Alerts: what an administrator should act on, as rows with a sentence and the command to type.

One is raised once, however often its cause is seen, cleared once when the cause is gone, and raised anew if it comes
back. Chat surfaces and the console show them; nothing is sent from here. Sentences are ours: no text of anybody's.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

from sqlmodel import Session

from storage import adapter_queries as queries
from storage.backup import last_backup
from storage.database import Database
from storage.home import Home
from storage.learning_tables import AdapterRow, AlertRow
from storage.settings import StorageSettings

Kind = Literal[
    "candidate-waiting",
    "run-failed",
    "regression",
    "disk",
    "backup",
    "adapter-refused",
    "adapter-missing",
    "tainted",
]

#: Free space under which a fine-tune's checkpoints and a backup no longer fit side by side.
LOW_DISK_BYTES = 2 * 10**9
#: It is only said to be well again with some room above that, so that an alert does not come and go.
_DISK_WELL_BYTES = 5 * LOW_DISK_BYTES // 4
#: Alerts that were cleared so long ago are forgotten.
_KEPT = timedelta(days=90)


def raise_alert(
    session: Session,
    *,
    kind: Kind,
    subject: str = "",
    sentence: str,
    command: str = "",
    now: datetime | None = None,
) -> bool:
    """Raise an alert; one that is open stays as old as it is, and takes the newer words.

    Args:
        session: a writing transaction.
        subject: what it is about: an adapter's id, a scope, or nothing where there is only one of the kind.
        sentence: what is the matter, fit to show.
        command: what to type.

    Returns:
        Whether it is new, so that a chat surface tells it once.
    """
    return queries.raise_alert(
        session=session,
        alert=AlertRow(
            key=key_of(kind, subject),
            kind=kind,
            subject=subject,
            sentence=sentence,
            command=command,
            raised_at=_utc(now),
        ),
    )


def clear_alert(session: Session, *, kind: Kind, subject: str = "", now: datetime | None = None) -> bool:
    """Clear an alert whose cause is gone; whether it was open."""
    return queries.clear_alert(session=session, key=key_of(kind, subject), now=_utc(now))


def open_alerts(session: Session) -> Sequence[AlertRow]:
    """The alerts that stand, oldest first."""
    return queries.open_alerts(session=session)


def key_of(kind: Kind, subject: str) -> str:
    """What an alert is known by."""
    return f"{kind}:{subject}" if subject else kind


def candidate_waiting(session: Session, *, adapter: AdapterRow, now: datetime | None = None) -> bool:
    """Tell that a measured candidate waits for an administrator; its row says how the gate ended."""
    ended = {
        "better": f"is better than what serves {adapter.scope}, and waits to be promoted",
        "worse": f"is worse than what serves {adapter.scope}",
        "inconclusive": f"could not be told apart from what serves {adapter.scope}",
    }.get(adapter.verdict, f"for {adapter.scope} has not been measured yet")
    verb = "promote" if adapter.verdict == "better" else "show"
    return raise_alert(
        session,
        kind="candidate-waiting",
        subject=adapter.id,
        sentence=f"Candidate {adapter.id} {ended}.",
        command=f"redraft adapters {verb} {adapter.id}" if adapter.verdict else f"redraft evaluate {adapter.id}",
        now=now,
    )


def run_failed(session: Session, *, scope: str, run_id: str, message: str, now: datetime | None = None) -> bool:
    """Tell that a fine-tune of a scope ended badly; ``message`` is the run's own sentence."""
    return raise_alert(
        session,
        kind="run-failed",
        subject=scope,
        sentence=f"The fine-tune {run_id} of {scope} failed: {message.strip() or 'its process died'}",
        command=f"redraft runs show {run_id}",
        now=now,
    )


def refresh(database: Database, home: Home, settings: StorageSettings, now: datetime | None = None) -> list[AlertRow]:
    """Look at the disk and the backups, and raise or clear their alerts.

    Returns:
        The alerts that stand after it.

    Raises:
        StorageError: the database cannot be used.
    """
    moment = _utc(now)
    free = shutil.disk_usage(home.root).free
    last = last_backup(database)
    with database.write() as session:
        if free < LOW_DISK_BYTES:
            raise_alert(
                session,
                kind="disk",
                sentence=f"{free / 1e9:.1f} GB are free on the disk of the data directory {home.root}.",
                command=f"du -sh {home.runs} {home.copies}",
                now=moment,
            )
        elif free >= _DISK_WELL_BYTES:
            clear_alert(session, kind="disk", now=moment)
        if problem := _backup_problem(session, last, settings, moment):
            raise_alert(session, kind="backup", sentence=problem, command="redraft backup DIR", now=moment)
        else:
            clear_alert(session, kind="backup", now=moment)
        queries.delete_cleared_alerts(session=session, before=moment - _KEPT)
        return list(open_alerts(session))


def _backup_problem(session: Session, last: datetime | None, settings: StorageSettings, now: datetime) -> str:
    """What is wrong with the backups, or nothing; without an adapter or a pair there is little to lose yet."""
    if last is None:
        return "There has been no backup yet." if queries.worth_a_backup(session=session) else ""
    days = (now - last).days
    return f"The last backup is {days} days old." if days > settings.backup_max_age_days else ""


def _utc(now: datetime | None) -> datetime:
    return (now or datetime.now(UTC)).astimezone(UTC)
