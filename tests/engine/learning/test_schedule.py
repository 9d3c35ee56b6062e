"""Cron expressions mean what cron makes of them, and the wall clock decides when a slot has come."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.learning.schedule import checked, comes_at, latest_slot, next_times, slot_name, wall_clock, zone_of
from engine.learning.settings import LearningSettings
from storage.errors import SettingsError

#: Spring and autumn on both halves of the earth, a jump of half an hour, one over midnight, and a whole skipped day.
JUMPS = {
    "Europe/Berlin": (datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)),
    "America/New_York": (datetime(2026, 3, 7, 20, tzinfo=UTC), datetime(2026, 10, 31, 20, tzinfo=UTC)),
    "Australia/Lord_Howe": (datetime(2026, 4, 4, 4, tzinfo=UTC), datetime(2026, 10, 3, 4, tzinfo=UTC)),
    "America/Havana": (datetime(2026, 3, 7, 20, tzinfo=UTC), datetime(2026, 10, 31, 20, tzinfo=UTC)),
    "Pacific/Apia": (datetime(2011, 12, 29, 0, tzinfo=UTC),),
    "Asia/Kathmandu": (datetime(2026, 3, 28, 12, tzinfo=UTC),),
}


_PARTS = ["*", "1", "5", "7", "*/2", "1-5", "mon", "sun", "31", ",", "-", "/", "L", "jan"]


def clock(*shows: int) -> datetime:
    """A clock on the wall knows no zone."""
    return datetime(*shows)  # type: ignore[arg-type] # noqa: DTZ001


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("30 2 * * *", "2026-05-06T02:30"),
        ("30 2 * * 0", "2026-05-03T02:30"),
        ("30 2 * * 7", "2026-05-03T02:30"),
        ("30 2 * * sun", "2026-05-03T02:30"),
        ("30 2 * * 1", "2026-05-04T02:30"),
        ("30 2 * * mon", "2026-05-04T02:30"),
        ("30 2 * * Fri-Sun", "2026-05-03T02:30"),
        ("0 0 * * mon-sun", "2026-05-06T00:00"),
        ("*/20 8-10,22 * * *", "2026-05-06T10:40"),
        ("5-30/10 12 * * *", "2026-05-06T12:25"),
        # Both day fields restricted: either makes a day. One of them open: the other alone.
        ("0 3 1 * 1", "2026-05-04T03:00"),
        ("0 3 5 * 1", "2026-05-05T03:00"),
        ("0 3 31 * *", "2026-03-31T03:00"),
        ("0 3 1 jan,apr *", "2026-04-01T03:00"),
        ("0 0 29 2 *", "2024-02-29T00:00"),
        ("30 12 * * *", "2026-05-06T12:30"),
        ("31 12 * * *", "2026-05-05T12:31"),
    ],
)
def test_expression_means_what_cron_makes_of_it(expression: str, expected: str) -> None:
    wednesday = clock(2026, 5, 6, 12, 30, 59)
    slot = latest_slot(expression, wednesday)
    assert slot is not None
    assert slot_name(slot) == expected


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("60 * * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day"),
        ("0 0 * 13 *", "month"),
        ("0 0 * * 8", "weekday"),
        ("0 0 * * fri-mon", "weekday"),
        ("0 0 L * *", "day"),
        ("0 0 * * 5#2", "weekday"),
        ("0 0 30 2 *", "day"),
        ("*/0 * * * *", "minute"),
        ("at noon", "five fields"),
        ("@daily", "five fields"),
        ("0 0 0 * * *", "five fields"),
        ("٣ * * * *", "minute"),
    ],
)
def test_mistake_in_the_schedule_is_one_sentence_that_names_the_setting(wrong: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        LearningSettings.load(train_schedule=wrong)
    assert "TRAIN_SCHEDULE" in caught.value.message
    assert told in caught.value.message


def test_an_empty_schedule_names_no_time() -> None:
    settings = LearningSettings.load(train_schedule="  ")
    now = datetime(2026, 5, 6, tzinfo=UTC)
    assert latest_slot(settings.train_schedule, wall_clock(now, None)) is None
    assert next_times(settings.train_schedule, None, now) == []


@given(st.text(max_size=30) | st.lists(st.sampled_from(_PARTS), max_size=6))
def test_any_text_is_a_schedule_or_one_sentence(given: str | list[str]) -> None:
    text = given if isinstance(given, str) else " ".join(given)
    try:
        expression = checked(text)
    except ValueError as error:
        assert str(error).startswith(("is not", "is none", "names a day"))
        return
    assert checked(expression) == expression
    slot = latest_slot(expression, clock(2026, 5, 6, 12, 30))
    assert (slot is None) == (expression == "")


@pytest.mark.parametrize("zone", JUMPS)
@pytest.mark.parametrize("expression", ["30 2 * * *", "*/15 * * * *", "0 0 * * *", "10 0,1,2,3 * * *"])
def test_every_slot_comes_once_over_a_jump_of_the_clock_at_the_moment_that_was_foretold(
    zone: str, expression: str
) -> None:
    place = ZoneInfo(zone)
    for start in JUMPS[zone]:
        seen: set[str] = set()
        ran: Counter[str] = Counter()
        moments = []
        before = latest_slot(expression, wall_clock(start, place))
        assert before is not None
        seen.add(slot_name(before))
        for minute in range(1, 48 * 60):
            now = start + timedelta(minutes=minute)
            slot = latest_slot(expression, wall_clock(now, place))
            assert slot is not None
            if slot_name(slot) not in seen:
                seen.add(slot_name(slot))
                ran[slot_name(slot)] += 1
                moments.append(now)
        assert set(ran.values()) == {1}
        if expression != "*/15 * * * *":  # of several slots that a jump passes, only the newest runs
            foretold = next_times(expression, place, start, len(moments))
            assert [moment.astimezone(UTC) for moment in foretold][: len(moments)] == moments
        # whatever was foretold is shown by the clock, or was skipped by it
        for moment in next_times(expression, place, start, 20):
            due = latest_slot(expression, wall_clock(moment, place))
            assert due is not None
            assert comes_at(due, place).astimezone(UTC) == moment.astimezone(UTC)
            earlier = latest_slot(expression, wall_clock(moment.astimezone(UTC) - timedelta(seconds=1), place))
            assert earlier != due


@given(
    zone=st.sampled_from(sorted(JUMPS)),
    start=st.datetimes(clock(2010, 1, 1), clock(2037, 1, 1)),
    expression=st.sampled_from(["30 2 * * *", "0 */3 * * *", "15 0 * * 1-5", "45 1 1 * 7"]),
)
def test_next_times_are_in_order_after_now_and_slots_of_the_schedule(
    zone: str, start: datetime, expression: str
) -> None:
    now, place = start.replace(tzinfo=UTC), zone_of(zone)
    times = next_times(expression, place, now, 5)
    assert len(times) == 5
    moments = [moment.astimezone(UTC) for moment in times]
    assert moments == sorted(set(moments))
    assert moments[0] > now
    for moment in times:
        wall = wall_clock(moment, place)
        slot = latest_slot(expression, wall)
        assert slot is not None
        assert slot == wall or comes_at(slot, place) == moment  # shown, or skipped and due at the jump
