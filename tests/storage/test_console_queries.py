"""What only a console asks: pages of pairs in every order, days, and what the bot says of its chats."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from storage.console_queries import by_day, standing_alerts, waiting_pairs
from storage.database import Database
from storage.home import Home
from storage.pair_filters import PairFilter
from storage.pair_queries import Order, count_pairs, pair_page
from storage.presence import Connection, path_of, publish, read
from storage.settings import StorageSettings
from tests.admin.console import seeding

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def test_days_and_counts_are_the_same_on_both_databases(database: Database) -> None:
    seeding.seed(database)
    with database.read() as session:
        days = by_day(session=session, since=seeding.NOW - timedelta(days=30))
        assert (waiting_pairs(session=session), standing_alerts(session=session)) == (14, 2)
        assert count_pairs(session=session, wanted=PairFilter(state="pending", origin="blind")) == 3
        assert count_pairs(session=session, wanted=PairFilter(text="SUPPORT shift")) > 0
        assert count_pairs(session=session, wanted=PairFilter(text="100%_\\")) == 0
    assert days[-1].day == date(2026, 5, 4)
    assert all(day.summaries >= day.corrected for day in days)
    assert sum(day.thumbs_up for day in days) > sum(day.thumbs_down for day in days) > 0


@pytest.mark.parametrize("order", ["newest", "oldest", "author", "largest", "smallest"])
def test_pages_grow_without_changing_what_was_on_them(database: Database, order: Order) -> None:
    seeding.seed(database)
    with database.read() as session:
        short = pair_page(session=session, wanted=PairFilter(), order=order, limit=20)
        long = pair_page(session=session, wanted=PairFilter(), order=order, limit=60)
    assert len(long) == 60
    assert list(long[:20]) == list(short)
    changed = [1.0 if line.distance is None else line.distance for line in long]
    times = [line.created_at for line in long]
    expected = {
        "largest": lambda: changed == sorted(changed, reverse=True),
        "smallest": lambda: changed == sorted(changed),
        "oldest": lambda: times == sorted(times),
        "newest": lambda: times == sorted(times, reverse=True),
        "author": lambda: [line.author_id for line in long] == sorted(line.author_id for line in long),
    }
    assert expected[order]()


def test_word_of_a_bot_that_is_gone_is_down_since_it_was_heard_of(own_home) -> None:  # type: ignore[no-untyped-def]
    home = Home.create(StorageSettings.load())
    assert read(home) == {}
    said = {"slack": Connection("degraded", NOW, "It reconnects."), "discord": Connection("off", NOW)}
    publish(home, said, now=NOW + timedelta(minutes=1))
    assert read(home, now=NOW + timedelta(minutes=1, seconds=20)) == said
    late = read(home, now=NOW + timedelta(minutes=9))
    assert late["slack"] == Connection("down", NOW + timedelta(minutes=1), "The bot does not run.")
    assert late["discord"].state == "off"
    assert path_of(home).stat().st_mode & 0o077 == 0
    path_of(home).write_text('{"chats": 3}')
    assert read(home) == {}
