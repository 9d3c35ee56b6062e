"""What is posted to Slack stands there once, whatever fails between two messages or between posting and remembering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from bot.jobs import Intake, Job, Later, Runner, Working
from bot.slack.client import Pace, Slack
from bot.slack.messages import Messages, Origin, Waiting
from storage import chat_queries as queries
from storage.database import Database
from storage.settings import StorageSettings
from tests.bot.slack_team import ANA, GENERAL, people
from tests.bot.test_slack_blocks import a_summary
from tests.slack_server.server import BOT_TOKEN, SlackServer, texts

#: Three messages in Slack.
LONG = " ".join(f"Sentence number {number} says that job {number} is done and dusted." for number in range(400))


class Poster:
    """A runner whose clock runs fast, and the local Slack that it posts to."""

    def __init__(self, server: SlackServer, database: Database, messages: Messages) -> None:
        self.server, self.messages, self._database = server, messages, database
        self.dies_saving: list[str] = []
        self._now = datetime.now(UTC)

    def _clock(self) -> datetime:
        self._now += timedelta(seconds=5)
        return self._now

    async def does(self, do: Callable[[Working], Awaitable[object]]) -> int:
        """Do a job to its end, however often it breaks; how often it was begun."""
        begun = []
        poster = self

        class Dying(Runner):
            def store(self, key: str, values: dict[str, Any]) -> bool:
                saved = str(values.get("progress", ""))
                if poster.dies_saving and poster.dies_saving[0] in saved:
                    poster.dies_saving.pop(0)
                    raise RuntimeError("as if killed before it was stored")
                return super().store(key, values)

        async def handle(working: Working) -> None:
            begun.append(working.attempts)
            await do(working)

        runner = Dying(
            self._database, {("slack", "post"): handle}, lanes={"summary": 1, "light": 1}, now=self._clock
        )  # fmt: skip
        runner.start()
        await Intake(self._database, runner.wake).accept(Job("job", "slack", "post", "light"))

        def state() -> str:
            with self._database.read() as session:
                row = queries.get_job(session=session, key="job")
            return row.state if row is not None else ""

        async with asyncio.timeout(30):
            while (found := await asyncio.to_thread(state)) not in ("done", "failed"):
                runner.wake()
                await asyncio.sleep(0.01)
        await runner.stop()
        assert found == "done"
        return len(begun)

    def stands(self) -> str:
        return "".join("".join(texts(post["blocks"]).split()) for post in self.server.posts)


@pytest_asyncio.fixture
async def poster(own_home: Any) -> AsyncIterator[Poster]:
    server = SlackServer()
    people(server)
    await server.start()
    slack = Slack(BOT_TOKEN, f"{server.base}/api/", Pace(1000))
    database = Database.open(StorageSettings.load())
    yield Poster(server, database, Messages(slack))
    await slack.close()
    await server.stop()
    database.close()
    assert server.broken == []


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_failure_between_two_messages_of_an_answer_posts_none_of_them_again(
    poster: Poster, threaded: bool
) -> None:
    thread = poster.server.write(GENERAL, ANA, "Where are we?") if threaded else ""
    shown = a_summary(LONG)
    # One answer is lost on the way after Slack had posted; then Slack refuses for a while; then the process dies
    # before it has remembered what it posted.
    poster.server.lost["chat.postMessage"] = 1
    poster.dies_saving = ["'posting': 1, 'posted': ['1", "'posting': 2"]

    async def do(working: Working) -> None:
        assert await poster.messages.post(working, GENERAL, shown, thread=thread)

    assert await poster.does(do) >= 3
    assert poster.dies_saving == []
    assert len(poster.server.posts) == 3
    assert "".join(LONG.split()) in poster.stands()


async def test_slack_being_away_between_two_messages_posts_none_of_them_again(poster: Poster) -> None:
    shown = a_summary(LONG)

    async def do(working: Working) -> None:
        if working.progress.get("posted") and not working.progress.get("away"):
            poster.server.instead["chat.postMessage"] += [(503, {}, {})]
            await working.save(away=True)
        await poster.messages.post(working, GENERAL, shown)

    async def in_the_middle(working: Working) -> None:
        first = poster.messages.say

        async def say(*given: Any, **more: Any) -> str:
            if len(poster.server.posts) == 1:
                poster.messages.say = first  # type: ignore[method-assign]
                raise RuntimeError("broken between two messages")
            return await first(*given, **more)

        if working.attempts == 1:
            poster.messages.say = say  # type: ignore[method-assign]
        await do(working)

    assert await poster.does(in_the_middle) >= 3
    assert len(poster.server.posts) == 3
    assert "".join(LONG.split()) in poster.stands()


async def test_a_private_answer_of_several_messages_goes_on_where_it_was_broken_off(poster: Poster) -> None:
    shown = a_summary(LONG + " " + LONG)
    refusal = (200, {}, {"ok": False, "error": "internal_error"})

    async def may_read() -> None: ...

    async def do(working: Working) -> None:
        await poster.messages.answer(Origin(ANA, GENERAL), shown, may_read, working)

    real = poster.server._chat_postEphemeral

    def ephemeral(given: dict[str, Any]) -> dict[str, Any]:
        answer = real(given)
        if len(poster.server.ephemerals) == 2:
            poster.server.instead["chat.postEphemeral"].append(refusal)
        return answer

    poster.server._chat_postEphemeral = ephemeral  # type: ignore[method-assign]
    assert await poster.does(do) == 2
    told = ["".join(texts(one["blocks"]).split()) for one in poster.server.ephemerals]
    assert len(told) == len(set(told)) > 3
    assert "".join(shown.text.split()) in "".join(told)


async def test_a_line_longer_than_usual_is_told_once_and_the_usual_one_is_not(poster: Poster) -> None:
    told = poster.server.ephemerals

    async def do(working: Working) -> None:
        waiting = Waiting(poster.messages, Origin(ANA, GENERAL), working, None, 8)
        await waiting.queued(7, "")
        assert len(told) == (working.progress.get("told") is True)
        for ahead in (12, 11, 9):
            await waiting.queued(ahead, "")
        await waiting.sentence("x")
        if len(told) == 1 and not working.progress.get("again"):
            await working.save(again=True)
            raise Later(1)

    assert await poster.does(do) == 2
    assert [one["text"] for one in told] == ["Your summary waits. 12 requests are before yours; you are number 13."]
