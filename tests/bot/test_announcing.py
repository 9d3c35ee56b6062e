"""What the console hears of the chats: each state with its time, renewed before it grows old; no more of the dead."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from bot.announcing import Announcer
from storage.database import Database
from storage.presence import STALE_S, path_of, read

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def test_states_are_told_when_they_change_with_the_time_since_which_they_hold(database: Database) -> None:
    now, figures = [NOON], {"slack": {"connected": 0.0}}
    announcer = Announcer(database.home, lambda: figures, now=lambda: now[0])
    announcer.look()
    found = read(database.home, now=now[0])
    assert {name: one.state for name, one in found.items()} == {"slack": "down", "discord": "off"}
    assert "tried again" in found["slack"].detail
    now[0] += timedelta(seconds=3)
    figures["slack"]["connected"] = 1.0
    announcer.look()
    now[0] += timedelta(seconds=2)
    announcer.look()
    slack = read(database.home, now=now[0])["slack"]
    assert (slack.state, slack.since, slack.detail) == ("up", NOON + timedelta(seconds=3), "")


def test_the_word_is_renewed_before_it_grows_old_and_that_of_a_process_that_is_gone_does_not_hold(
    database: Database,
) -> None:
    now = [NOON]
    announcer = Announcer(database.home, lambda: {"slack": {"connected": 1.0}}, now=lambda: now[0])
    for _ in range(int(STALE_S) * 2):
        announcer.look()
        assert read(database.home, now=now[0])["slack"].state == "up"
        now[0] += timedelta(seconds=1)
    now[0] += timedelta(seconds=STALE_S)
    gone = read(database.home, now=now[0])["slack"]
    assert (gone.state, gone.detail) == ("down", "The bot does not run.")


def test_a_full_disk_ends_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("storage.files.replace_private", full)
    Announcer(database.home, dict).look()
    assert not path_of(database.home).exists()
