"""The schedule of fine-tunes in force: what the settings say or, in place of that, what administrators decided.

A change holds from the next look of the bot's process on, within seconds, and on every machine that shares the
database. It is a line of the ledger. What fell due while a schedule was paused is not made up for when it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from engine.learning.ledger import pseudonym, recorded
from engine.learning.schedule import checked, next_times, zone_of
from storage import slot_queries
from storage.errors import InputError
from storage.learning_tables import PlanRow

if TYPE_CHECKING:
    from sqlmodel import Session

    from engine.learning.settings import LearningSettings
    from storage.database import Database

JOB = "train"
#: Under which name :mod:`engine.learning.slots` keeps since when it knows a schedule.
KNOWN = "train-schedule"


@dataclass(frozen=True, slots=True)
class Plan:
    """A schedule.

    Attributes:
        expression: cron's five fields, empty for never.
        timezone: of the tz database; empty is the machine's own.
        min_new_pairs: how many new approved pairs a scheduled fine-tune wants.
        paused: whether none starts until somebody lets it go on.
        version: 0 where the settings hold; what :func:`change` is told was seen.
        changed_at, changed_by: of the last change; None and empty where there was none.
    """

    expression: str
    timezone: str
    min_new_pairs: int
    paused: bool = False
    version: int = 0
    changed_at: datetime | None = None
    changed_by: str = ""

    @property
    def paused_by(self) -> str:
        """Whose pseudonym paused it; empty while it is not paused."""
        return self.changed_by if self.paused else ""

    def applied(self, settings: LearningSettings) -> LearningSettings:
        """The settings with this schedule in place of theirs."""
        changed: dict[str, Any] = {
            "train_schedule": "" if self.paused else self.expression,
            "train_timezone": self.timezone,
            "train_min_new_pairs": self.min_new_pairs,
        }
        return settings.model_copy(update=changed)


def in_force(session: Session, settings: LearningSettings) -> Plan:
    """The schedule that holds."""
    row = session.get(PlanRow, JOB)
    if row is None:
        return Plan(settings.train_schedule, settings.train_timezone, settings.train_min_new_pairs)
    return Plan(
        row.expression, row.timezone, row.min_new_pairs, row.paused, row.version, row.changed_at, row.changed_by
    )


def next_starts(plan: Plan, now: datetime, count: int = 5) -> list[datetime]:
    """When it comes next, aware and in its zone; nothing while it is paused or has no expression."""
    return [] if plan.paused else next_times(plan.expression, zone_of(plan.timezone), now, count)


def change(
    database: Database,
    settings: LearningSettings,
    *,
    by: str,
    seen: int,
    expression: str | None = None,
    timezone: str | None = None,
    min_new_pairs: int | None = None,
    paused: bool | None = None,
    now: datetime | None = None,
) -> Plan:
    """Change what is given of the schedule and leave the rest.

    Args:
        by: who does, as ``local:maria``.
        seen: the ``version`` that they had before them.

    Raises:
        InputError: a value cannot be used, nothing would change, or somebody else has changed it since it was seen.
        StorageError: it could not be stored.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    with recorded(database) as (session, ledger):
        before = in_force(session, settings)
        if before.version != seen:
            raise InputError(
                f"The schedule has been changed since you saw it: {told(before)}.", "Look at it again, then decide."
            )
        row = PlanRow(
            job=JOB,
            expression=before.expression if expression is None else _expression(expression),
            timezone=before.timezone if timezone is None else _timezone(timezone),
            min_new_pairs=before.min_new_pairs if min_new_pairs is None else _least(min_new_pairs),
            paused=before.paused if paused is None else paused,
            version=before.version + 1,
            changed_at=moment,
            changed_by=pseudonym(session, by),
        )
        names = ("expression", "timezone", "min_new_pairs", "paused")
        changed = {name: getattr(row, name) for name in names if getattr(row, name) != getattr(before, name)}
        if not changed:
            raise InputError("That is the schedule as it is; nothing was changed.")
        if before.paused and not row.paused:
            slot_queries.forget_known(session=session, job=KNOWN)
        session.merge(row)
        paused_now = changed.get("paused")
        action = "changed" if paused_now is None else "paused" if paused_now else "resumed"
        ledger.append(f"schedule.{action}", by=by, subject=JOB, details=changed, now=moment)
        return Plan(
            row.expression, row.timezone, row.min_new_pairs, row.paused, row.version, row.changed_at, row.changed_by
        )


def checked_values(expression: str, timezone: str, min_new_pairs: int) -> dict[str, Any]:
    """What :func:`change` takes, looked at before anybody is asked to confirm it.

    Raises:
        InputError: one of them cannot be used.
    """
    return {
        "expression": _expression(expression),
        "timezone": _timezone(timezone),
        "min_new_pairs": _least(min_new_pairs),
    }


def told(plan: Plan) -> str:
    """A schedule in a few words."""
    when = plan.expression or "never"
    zone = f" {plan.timezone}" if plan.timezone else ""
    return f"{when}{zone}, from {plan.min_new_pairs} new pairs on" + (", paused" if plan.paused else "")


def _expression(text: str) -> str:
    try:
        return checked(text)
    except ValueError as error:
        raise InputError(f"The schedule {text[:60]!r} {error}.", "Such as 30 2 * * *: every day at 02:30.") from error


def _timezone(text: str) -> str:
    try:
        zone_of(text.strip())
    except (ValueError, OSError, KeyError) as error:
        raise InputError(
            f"{text[:60]!r} is no time zone of the tz database.", "Such as Europe/Berlin; empty is the machine's own."
        ) from error
    return text.strip()


def _least(count: int) -> int:
    if count < 1:
        raise InputError("A fine-tune wants at least one new pair.", "Say a number from 1 on.")
    return count
