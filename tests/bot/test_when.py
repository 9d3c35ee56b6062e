"""What people type after the command: each form is read, nothing else is guessed."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import texts
from bot.slack.words import Words
from bot.when import (
    LONGEST,
    Ask,
    ChannelRef,
    MessageRef,
    NotUnderstood,
    Reference,
    When,
    parse,
    parse_since,
    since,
)

BERLIN = ZoneInfo("Europe/Berlin")
#: A Wednesday.
NOW = datetime(2026, 3, 11, 15, 30, tzinfo=BERLIN)


def word(text: str) -> Reference | None:
    if text.startswith("#"):
        return ChannelRef(text[1:])
    return MessageRef("C1", text[5:]) if text.startswith("link:") else None


@pytest.mark.parametrize(
    ("text", "ask"),
    [
        ("", Ask()),
        ("2h", Ask(When(timedelta(hours=2)))),
        ("2 Hours", Ask(When(timedelta(hours=2)))),
        ("last 3d brief", Ask(When(timedelta(days=3)), style="brief")),
        ("since 90min", Ask(When(timedelta(minutes=90)))),
        ("since Monday 9:00", Ask(When(day="monday", clock=time(9)))),
        ("monday at 9", Ask(When(day="monday", clock=time(9)))),
        ("since 9am", Ask(When(clock=time(9)))),
        ("since 12:30", Ask(When(clock=time(12, 30)))),
        ("yesterday 5pm", Ask(When(day="yesterday", clock=time(17)))),
        ("2026-03-01", Ask(When(day="2026-03-01"))),
        ("50", Ask(count=50)),
        ("monday 50", None),
        ("50 messages detailed", Ask(count=50, style="detailed")),
        ("new", Ask(new=True)),
        ("#ops 1d", Ask(When(timedelta(days=1)), channel="ops")),
        ("link:7 link:8 link:7", Ask(links=(MessageRef("C1", "7"), MessageRef("C1", "8")))),
        ("link:7 about money actions", Ask(links=(MessageRef("C1", "7"),), focus="money actions")),
        ("2d about “unpaid bills” actions", Ask(When(timedelta(days=2)), focus="unpaid bills", style="actions")),
        ("ABOUT money", Ask(focus="money")),
        ("help", Ask(help=True)),
        ("?", Ask(help=True)),
    ],
)
def test_each_form_is_read(text: str, ask: Ask | None) -> None:
    if ask is None:
        with pytest.raises(NotUnderstood):
            parse(text, word)
    else:
        assert parse(text, word) == ask


@pytest.mark.parametrize(
    "text",
    [
        "everything", "2", "since", "since 9", "since noon", "9:00 9:00", "25:00", "since 24:01", "13pm", "0h", "0",
        "2h 3h", "2h 50", "new 50", "new 1d", "#a #b", "link:1 2h", "link:1 #a", "link:1 new", "brief detailed",
        "about", "about ?!", "2h help", "2026-02-30", "since last",
        "last monday", "400d", "99999999h", "²h", "٣", "-5", "1.5h",
        "link:1 link:2 link:3 link:4 link:5 link:6", "at 9", "monday at", "2h, 3 people",
    ],
)  # fmt: skip
def test_what_is_no_such_form_is_refused_with_examples(text: str) -> None:
    if text == "2":
        assert parse(text).count == 2
        return
    with pytest.raises(NotUnderstood) as refused:
        parse(text, word)
    assert refused.value.hint == texts.EXAMPLES


@pytest.mark.parametrize(
    ("when", "moment"),
    [
        (When(timedelta(hours=2)), "2026-03-11 13:30"),
        (When(day="monday", clock=time(9)), "2026-03-09 09:00"),
        (When(day="wednesday"), "2026-03-11 00:00"),
        (When(day="wednesday", clock=time(16)), "2026-03-04 16:00"),
        (When(day="thursday"), "2026-03-05 00:00"),
        (When(day="yesterday"), "2026-03-10 00:00"),
        (When(clock=time(9)), "2026-03-11 09:00"),
        (When(clock=time(23)), "2026-03-10 23:00"),
        (When(day="today", clock=time(9)), "2026-03-11 09:00"),
        (When(day="2026-03-01", clock=time(8, 15)), "2026-03-01 08:15"),
    ],
)
def test_a_moment_is_the_askers_own_and_in_the_past(when: When, moment: str) -> None:
    assert since(when, NOW).strftime("%Y-%m-%d %H:%M") == moment


def test_the_same_words_mean_other_moments_elsewhere() -> None:
    new_york = NOW.astimezone(ZoneInfo("America/New_York"))
    there = since(When(day="monday", clock=time(9)), new_york)
    assert there - since(When(day="monday", clock=time(9)), NOW) == timedelta(hours=5)


@pytest.mark.parametrize("when", [When(day="2026-03-12"), When(day="today", clock=time(16)), When(day="2024-01-01")])
def test_the_future_and_the_far_past_are_refused(when: When) -> None:
    with pytest.raises(NotUnderstood):
        since(when, NOW)


def test_an_option_that_is_a_moment_is_read_alone() -> None:
    assert parse_since("since yesterday") == When(day="yesterday")
    assert parse_since("monday 9:00") == When(day="monday", clock=time(9))
    for text in ("", "50", "new", "2h brief", "soon"):
        with pytest.raises(NotUnderstood):
            parse_since(text)


WORDS = st.sampled_from(
    ["2h", "3", "d", "since", "last", "monday", "at", "9", "9:00", "pm", "50", "new", "about", '"', "brief", "actions",
     "#c", "link:1", "help", "yesterday", "2026-03-01", "messages", "hours", "x", "\u202e", "🦊"]
)  # fmt: skip


@given(st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=7).map(" ".join)))
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        ask = parse(text, word)
    except NotUnderstood as refused:
        assert refused.message.endswith((".", "?")) and refused.hint == texts.EXAMPLES
        assert len(refused.message) < 200
        return
    assert sum((ask.when is not None, ask.count > 0, ask.new, bool(ask.links))) <= 1
    if ask.when is not None:
        try:
            moment = since(ask.when, NOW)
        except NotUnderstood:
            return
        assert timedelta() <= NOW - moment <= LONGEST + timedelta(hours=1)


@given(
    st.integers(0, 600 * 86_400).map(lambda seconds: datetime(2025, 6, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    st.sampled_from(["monday", "sunday", "yesterday", "today", ""]),
    st.one_of(st.none(), st.times()),
)
def test_a_day_and_a_time_of_day_lie_within_the_last_week_whatever_the_clock(
    utc: datetime, zone: str, day: str, clock: time | None
) -> None:
    now = utc.astimezone(ZoneInfo(zone))
    try:
        moment = since(When(day=day, clock=clock), now)
    except NotUnderstood:
        assert day == "today"
        return
    assert timedelta() <= now - moment <= timedelta(days=8)


# Slack's words ------------------------------------------------------------------------------------------------------

SLACK = Words("acme.slack.com")


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("<#C0AB12|general>", ChannelRef("C0AB12")),
        ("<#C0AB12>", ChannelRef("C0AB12")),
        ("<https://acme.slack.com/archives/C0AB12/p1700000000000100>", MessageRef("C0AB12", "1700000000.000100")),
        ("https://acme.slack.com/archives/C0AB12/p1700000000000100", MessageRef("C0AB12", "1700000000.000100")),
        (
            "<https://acme.slack.com/archives/C0AB12/p1700000000000100?thread_ts=1600000000.000100&amp;cid=C0AB12>",
            MessageRef("C0AB12", "1700000000.000100", "1600000000.000100"),
        ),
        ("https://acme.slack.com/archives/C0AB12", None),
        ("https://example.com/archives", None),
        ("general", None),
        ("http://[::1", None),
    ],
)
def test_slacks_channels_and_permalinks_are_read(text: str, reference: Reference | None) -> None:
    assert SLACK.read(text) == reference


@pytest.mark.parametrize("text", ["#general", "https://evil.slack.com/archives/C0AB12/p1700000000000100"])
def test_a_channel_that_slack_did_not_recognise_and_a_link_elsewhere_are_refused(text: str) -> None:
    with pytest.raises(NotUnderstood):
        SLACK.read(text)


@given(st.text(alphabet="<>#@|CGpT0123456789:/.?=&[]% httpsackivme", max_size=80))
def test_any_word_is_read_or_refused(text: str) -> None:
    try:
        found = SLACK.read(text)
    except NotUnderstood:
        return
    assert found is None or isinstance(found, ChannelRef | MessageRef)
