"""What the sweep and the events make of messages that are not there: deleted, hidden by a plan, or out of reach."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from sqlmodel import select

from bot.jobs import Runner, Working
from bot.slack.changes import Changes
from bot.slack.client import Pace, Slack, TokenRefused
from bot.slack.history import History
from bot.slack.people import People
from engine import records
from engine.requests import SummaryRequest
from storage.chat_tables import ChatJobRow
from storage.database import Database
from storage.settings import StorageSettings
from storage.tables import ConversationRow, MessageRow
from tests.bot.slack_team import ANA, GENERAL, PRIYA, TOMAS, people
from tests.slack_server.server import BOT, BOT_TOKEN, HOST, TEAM, SlackServer
from tests.storage.samples import result

DAY = 86_400.0


class Swept:
    """What is stored of the local Slack, and the sweep over it."""

    def __init__(self, server: SlackServer, slack: Slack, database: Database) -> None:
        self.server, self.database = server, database
        self.people = People(slack, TEAM, "redraft")
        self.history = History(slack, self.people, database, team=TEAM, host=HOST, bot_user=BOT, limit=1000)
        self.changes = Changes(database, slack, self.history, self.people)

    async def reads(self, thread: str = "", **stretch: Any) -> None:
        """Read and store a thread or a stretch."""
        channel = await self.people.channel(GENERAL)
        read = await (self.history.thread(channel, thread) if thread else self.history.stretch(channel, **stretch))
        assert read.conversation.messages
        request, now = SummaryRequest(conversation=read.conversation), datetime.now(UTC)
        written = result()
        object.__setattr__(written, "sentences", ())
        records.store_summary(self.database, request, written, now=now)

    def stored(self) -> set[str]:
        with self.database.read() as session:
            return {row.id for row in session.scalars(select(MessageRow))}

    async def happens(self, ts: str, *, deleted: bool = False) -> None:
        """What an event makes of a message."""
        row = ChatJobRow(key="x", platform="slack", kind="changed", lane="light", payload={
            "channel": GENERAL, "ts": ts, "deleted": deleted}, accepted_at=datetime.now(UTC), due_at=datetime.now(UTC),
        )  # fmt: skip
        await self.changes.changed(Working(Runner(self.database, {}, lanes={}), row))


@pytest_asyncio.fixture
async def swept(own_home: Any) -> AsyncIterator[Swept]:
    server = SlackServer()
    people(server)
    await server.start()
    slack = Slack(BOT_TOKEN, f"{server.base}/api/", Pace(1000))
    database = Database.open(StorageSettings.load())
    yield Swept(server, slack, database)
    await slack.close()
    await server.stop()
    database.close()
    assert server.broken == []


def months(server: SlackServer) -> list[str]:
    """Messages 120, 100, 80 and 60 days old, the first and the last with a reply; then their replies."""
    ages = (120, 100, 80, 60)
    tops = [
        server.write(GENERAL, (ANA, TOMAS)[n % 2], f"News of {age} days ago.", ago=DAY * age)
        for n, age in enumerate(ages)
    ]
    replies = [server.write(GENERAL, PRIYA, "A reply.", ago=DAY * 50, thread=tops[n]) for n in (0, 3)]
    return [*tops, *replies]


async def test_what_a_free_plan_hides_is_kept_and_what_was_deleted_goes(swept: Swept) -> None:
    server = swept.server
    first, second, third, fourth, old_reply, young_reply = months(server)
    await swept.reads(count=10)
    assert swept.stored() == {first, second, third, fourth, old_reply, young_reply}
    server.hidden_before = time.time() - 90 * DAY
    assert await swept.changes.sweep() == 0
    assert swept.stored() == {first, second, third, fourth, old_reply, young_reply}
    # Of what is shown, what was deleted goes; of what is hidden nobody can tell.
    messages = server.channels[GENERAL].messages
    for gone in (second, fourth, young_reply):
        del messages[gone]
    assert await swept.changes.sweep() == 2
    assert swept.stored() == {first, second, third, old_reply}
    # Without a limit, all that is not there was deleted.
    server.hidden_before = 0.0
    assert await swept.changes.sweep() == 1
    assert swept.stored() == {first, third, old_reply}


async def test_threads_that_are_hidden_are_kept_too_and_looking_costs_few_calls(swept: Swept) -> None:
    server = swept.server
    first, *_, fourth, _, young_reply = months(server)
    for thread in (first, fourth):
        await swept.reads(thread=thread)
    for number in range(30):
        server.write(GENERAL, ANA, f"Old news {number}.", ago=DAY * 110 - number)
    await swept.reads(count=100)
    everything = swept.stored()
    server.hidden_before = time.time() - 90 * DAY
    calls = len(server.calls)
    assert await swept.changes.sweep() == 0
    assert swept.stored() == everything
    assert sum(name == "conversations.history" for name, _ in server.calls[calls:]) <= 12
    del server.channels[GENERAL].messages[young_reply]
    assert await swept.changes.sweep() >= 1
    assert everything - swept.stored() == {young_reply}


async def test_an_event_on_a_hidden_message_deletes_nothing_unless_it_says_deleted(swept: Swept) -> None:
    server = swept.server
    first, second, _, fourth, old_reply, young_reply = months(server)
    await swept.reads(count=10)
    server.hidden_before = time.time() - 90 * DAY
    everything = swept.stored()
    for ts in (first, old_reply):
        await swept.happens(ts)
    assert swept.stored() == everything
    for ts in (young_reply, fourth):
        del server.channels[GENERAL].messages[ts]
        await swept.happens(ts)
    await swept.happens(second, deleted=True)
    assert everything - swept.stored() == {young_reply, fourth, second}


@pytest.mark.parametrize("error", ["token_revoked", "missing_scope", "fatal_error"])
@pytest.mark.parametrize("method", ["conversations.info", "conversations.history", "conversations.replies"])
async def test_a_sweep_that_is_refused_deletes_nothing(swept: Swept, method: str, error: str) -> None:
    months(swept.server)
    await swept.reads(count=10)
    everything = swept.stored()
    swept.server.instead[method] += [(200, {}, {"ok": False, "error": error})] * 20
    swept.changes._sleep = lambda _: asyncio.sleep(0)  # type: ignore[assignment]
    with contextlib.suppress(TokenRefused):
        await swept.changes.sweep()
    assert swept.stored() == everything


async def test_after_the_app_was_removed_what_is_stored_stays_and_its_channel_counts_as_private(swept: Swept) -> None:
    months(swept.server)
    await swept.reads(count=10)
    everything = swept.stored()
    channel = swept.server.channels[GENERAL]
    # Slack does not tell a private channel without us from none at all.
    channel.with_bot = False
    channel.private = True
    await swept.changes.sweep()
    for ts in everything:
        await swept.happens(ts)
    assert swept.stored() == everything
    with swept.database.read() as session:
        [row] = session.scalars(select(ConversationRow))
    assert row.public is False


@pytest.mark.parametrize("seed", range(4))
async def test_events_in_any_order_and_four_times_end_at_the_same(swept: Swept, seed: int) -> None:
    server = swept.server
    edited = server.write(GENERAL, ANA, "The party is on Friday.", ago=900)
    deleted = server.write(GENERAL, TOMAS, "The gift is a surprise.", ago=800)
    kept = server.write(GENERAL, PRIYA, "Noted.", ago=700)
    await swept.reads(count=10)
    messages = server.channels[GENERAL].messages
    messages[edited] |= {"text": "The party is on Saturday.", "edited": {"user": ANA, "ts": f"{time.time():.6f}"}}
    del messages[deleted]
    # Both were edited twice before the one was deleted.
    events = [(edited, False), (edited, False), (deleted, False), (deleted, False), (deleted, True)] * 4
    random.Random(seed).shuffle(events)
    for ts, gone in events:
        await swept.happens(ts, deleted=gone)
    with swept.database.read() as session:
        stored = {row.id: row.text for row in session.scalars(select(MessageRow))}
    assert stored == {edited: "The party is on Saturday.", kept: "Noted."}
