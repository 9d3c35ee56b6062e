"""When a fine-tune may start: cron expressions over the wall clock of a time zone. Pure; it knows no database.

An expression means what cron(8) makes of it: five fields, ranges, steps, lists and names; 0 and 7 are Sunday; where
both day fields are restricted, either makes a day (cronsim does the reading: APScheduler counts weekdays from Monday
and wants both). A *slot* is a local date and time without a zone. It has come once the wall clock shows it or later, so
that an hour which does not exist in spring is due at the jump, and one that comes twice in autumn is one slot.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

_FIELDS = "minute hour day month weekday"
#: What crontab(5) has and no more: cronsim also reads `L`, `#` and seconds, which other crons do not.
_FIELD = re.compile(r"[0-9A-Za-z*,/-]+")
_LAST_DAY = re.compile(r"(?<![A-Za-z])L", re.IGNORECASE)
#: Monday to Sunday is a week; Sunday's number, 0, is before Monday's.
_UNTIL_SUNDAY = re.compile(r"-sun(?![a-z])", re.IGNORECASE)


def checked(expression: str) -> str:
    """The expression as it is read: one space between its fields; empty for one that names no time on purpose.

    Raises:
        ValueError: it is no cron expression, or no day will ever match it; the message completes "The setting ...".
    """
    fields = expression.split()
    if not fields:
        return ""
    if len(fields) != 5:
        raise ValueError(f"is not of five fields ({_FIELDS}), such as 30 2 * * *")
    fields[4] = _UNTIL_SUNDAY.sub("-7", fields[4])
    for name, field in zip(_FIELDS.split(), fields, strict=True):
        if not _FIELD.fullmatch(field) or _LAST_DAY.search(field):
            raise ValueError(f"is none of cron's: its field for the {name} cannot be read")
    from cronsim import CronSim, CronSimError

    text = " ".join(fields)
    try:
        # From a leap year's end: whatever comes at all has come within the next eight years.
        next(CronSim(text, datetime(2096, 12, 31)))  # noqa: DTZ001 - a wall clock has no zone
    except CronSimError as error:
        raise ValueError(f"is none of cron's: its field for the {_field_of(str(error))} cannot be read") from error
    except StopIteration:
        raise ValueError("names a day that never comes") from None
    return text


def zone_of(name: str) -> tzinfo | None:
    """The zone of a setting; None, the machine's own, for an empty one."""
    return ZoneInfo(name) if name else None


def wall_clock(now: datetime, zone: tzinfo | None) -> datetime:
    """What a clock on the wall shows: without a zone, whole seconds.

    Args:
        now: aware.
        zone: None is the machine's own.
    """
    # Over UTC: a time that is in the zone already, though the clock skips it, would be left as it is.
    return now.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0, microsecond=0)


def latest_slot(expression: str, wall: datetime) -> datetime | None:
    """The newest slot that has come by this wall clock; None where there is no schedule."""
    text = checked(expression)
    if not text:
        return None
    from cronsim import CronSim

    # Backwards from the end of the present minute, because the search leaves its start out.
    found: datetime | None = next(CronSim(text, wall.replace(second=0) + timedelta(minutes=1), reverse=True), None)
    return found


def next_times(expression: str, zone: tzinfo | None, now: datetime, count: int = 5) -> list[datetime]:
    """The next moments at which a slot comes, aware and in the zone; nothing without a schedule.

    Args:
        now: aware.
    """
    text = checked(expression)
    if not text:
        return []
    from cronsim import CronSim

    # In UTC: Python compares two times of one zone by what the clock shows, which in autumn is not their order.
    times: list[datetime] = []
    last = now.astimezone(UTC)
    for slot in CronSim(text, wall_clock(now, zone)):
        moment = comes_at(slot, zone).astimezone(UTC)
        # What a clock that went back shows again has come before; of several slots that it skips, one is left.
        if moment > last:
            times.append(moment)
            last = moment
        if len(times) == count:
            break
    return [moment.astimezone(zone) for moment in times]


def comes_at(slot: datetime, zone: tzinfo | None) -> datetime:
    """The first moment at which the wall clock shows a slot or, where it is skipped, a later time."""
    early, late = (_in_zone(slot.replace(fold=fold), zone) for fold in (0, 1))
    if wall_clock(early, zone) == slot:
        return early
    # Skipped: read by the offset after the jump it is before the jump, and the other way round; so the jump is between.
    low, high = sorted((early.astimezone(UTC), late.astimezone(UTC)))
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        low, high = (low, middle) if wall_clock(middle, zone) >= slot else (middle, high)
    return high.replace(microsecond=0).astimezone(zone)


def slot_name(slot: datetime) -> str:
    """A slot as rows keep it: ``2026-05-04T02:30``."""
    return slot.isoformat(timespec="minutes")


def _in_zone(wall: datetime, zone: tzinfo | None) -> datetime:
    return wall.astimezone() if zone is None else wall.replace(tzinfo=zone)


def _field_of(message: str) -> str:
    """Which field cronsim calls bad."""
    bad = message.removeprefix("Bad ")
    return {"day-of-month": "day", "day-of-week": "weekday"}.get(bad, bad)
