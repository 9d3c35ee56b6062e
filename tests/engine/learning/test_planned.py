"""The schedule in force: the settings, what administrators put in their place, and what the bot makes of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from engine.learning.ledger_check import show
from engine.learning.planned import change, checked_values, in_force, next_starts, told
from engine.learning.settings import LearningSettings
from engine.learning.slots import TrainingSchedule
from engine.settings import EngineSettings
from storage.database import Database
from storage.errors import InputError

SETTINGS = LearningSettings(train_schedule="30 2 * * *", train_timezone="UTC", train_min_new_pairs=25)
NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
ANA = "local:ana"


def plan(database: Database):  # type: ignore[no-untyped-def]
    with database.read() as session:
        return in_force(session, SETTINGS)


def schedule(database: Database) -> TrainingSchedule:
    return TrainingSchedule(
        database, database.home, SETTINGS, EngineSettings(), scopes=lambda *_: [], due=lambda *_: 0
    )  # fmt: skip


def test_settings_hold_until_somebody_decides_otherwise(database: Database) -> None:
    before = plan(database)
    assert (before.expression, before.min_new_pairs, before.version) == ("30 2 * * *", 25, 0)
    change(database, SETTINGS, by=ANA, seen=0, expression="0  4 * * sun", min_new_pairs=40, now=NOW)
    after = plan(database)
    assert (after.expression, after.timezone, after.min_new_pairs, after.version) == ("0 4 * * sun", "UTC", 40, 1)
    assert after.applied(SETTINGS).train_schedule == "0 4 * * sun"
    line = show(database, limit=1).lines[0]
    assert (line.action, line.person) == ("schedule.changed", ANA)
    assert dict(line.details) == {"expression": "0 4 * * sun", "min_new_pairs": 40}


def test_whoever_is_second_is_told_what_holds_and_changes_nothing(database: Database) -> None:
    change(database, SETTINGS, by=ANA, seen=0, min_new_pairs=40)
    with pytest.raises(InputError, match=r"changed since you saw it: 30 2 \* \* \* UTC, from 40 new pairs on"):
        change(database, SETTINGS, by="local:ben", seen=0, min_new_pairs=50)
    assert plan(database).min_new_pairs == 40


@pytest.mark.parametrize(
    "what", [{"expression": "99 2 * * *"}, {"timezone": "Europe/Nowhere"}, {"min_new_pairs": 0}, {}], ids=str
)
def test_what_cannot_be_used_or_changes_nothing_is_refused(database: Database, what: dict[str, object]) -> None:
    with pytest.raises(InputError):
        change(database, SETTINGS, by=ANA, seen=0, **what)  # type: ignore[arg-type]
    assert plan(database).version == 0
    assert not show(database, limit=1).lines


def test_values_are_checked_before_anybody_is_asked() -> None:
    assert checked_values("0 4 * * *", " Europe/Berlin ", 3)["timezone"] == "Europe/Berlin"
    with pytest.raises(InputError):
        checked_values("nonsense", "", 3)


def test_nothing_starts_while_it_is_paused_and_the_pause_is_not_made_up_for(database: Database) -> None:
    looks = schedule(database)
    assert looks.owed(NOW) == ""
    change(database, SETTINGS, by=ANA, seen=0, paused=True)
    night = NOW + timedelta(hours=15)
    assert next_starts(plan(database), NOW) == []
    assert looks.owed(night) == ""
    change(database, SETTINGS, by=ANA, seen=1, paused=False)
    assert looks.owed(night) == ""
    assert looks.owed(night + timedelta(days=1)) == "2026-05-06T02:30"


def test_change_holds_at_the_next_look_of_a_bot_that_runs(database: Database) -> None:
    looks = schedule(database)
    looks.owed(NOW)
    change(database, SETTINGS, by=ANA, seen=0, expression="0 13 * * *")
    looks.owed(NOW + timedelta(minutes=5))
    assert looks.owed(NOW + timedelta(hours=1, minutes=5)) == "2026-05-04T13:00"


def test_it_is_told_in_a_few_words(database: Database) -> None:
    change(database, SETTINGS, by=ANA, seen=0, expression="", timezone="", paused=True)
    assert told(plan(database)) == "never, from 25 new pairs on, paused"
