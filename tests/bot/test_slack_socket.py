"""The socket against a real WebSocket server: cuts, silence, refreshes, and a token that is refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from bot.slack.client import TokenRefused
from bot.slack.socket import Socket
from tests.slack_server.server import SlackServer


class Line:
    """A socket to the local Slack whose sleeps take no time, and what came by it."""

    def __init__(self, server: SlackServer, session: aiohttp.ClientSession) -> None:
        self.server, self.taken, self.slept = server, [], []  # type: ignore[var-annotated]
        self.now, self.refuse = 0.0, False
        self.gate, self.watching = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.socket = Socket(
            session, self._address, self._take, clock=lambda: self.now, sleep=self._sleep, chance=lambda: 1.0,
            ping_s=10.0, silence_s=25.0,
        )  # fmt: skip

    async def _address(self) -> str:
        if self.refuse:
            raise TokenRefused("Slack does not take the token any more.")
        return str(self.server._apps_connections_open({})["url"])

    async def _take(self, envelope: dict[str, Any]) -> dict[str, Any] | None:
        await self.gate.wait()
        self.taken.append(envelope["payload"])
        return {"text": "taken"}

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        # The watchdog's sleeps pass by the clock that the test turns, backoffs at once.
        if seconds == 10.0:
            before = self.now
            self.watching.set()
            while self.now < before + seconds:
                await asyncio.sleep(0.002)


@pytest_asyncio.fixture
async def line() -> AsyncIterator[Line]:
    server = SlackServer()
    await server.start()
    async with aiohttp.ClientSession() as session:
        made = Line(server, session)
        task = asyncio.create_task(made.socket.run())
        try:
            await server.connected()
            await made.watching.wait()
            await made.socket.ready.wait()
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await server.stop()


async def test_what_comes_is_taken_and_acknowledged_with_what_was_answered(line: Line) -> None:
    assert await line.server.ack(await line.server.send("slash_commands", {"n": 1})) == {"text": "taken"}
    assert line.taken == [{"n": 1}]


async def test_a_hundred_cuts_are_survived_with_a_fresh_address_each_and_no_long_waits(line: Line) -> None:
    for number in range(100):
        line.server.cut()
        await line.server.until(lambda n=number: line.server.connections >= n + 2, "it is back")
        await line.server.connected()
        await line.server.ack(await line.server.send("slash_commands", {"n": number}))
    assert [one["n"] for one in line.taken] == list(range(100))
    assert line.socket.state.connections == 101
    # Each connection had said hello, so that none counts as a failure.
    assert line.socket.state.backoffs == []


async def test_waits_grow_while_slack_is_away_and_end_with_it(line: Line) -> None:
    real = line._address
    failures = [aiohttp.ClientConnectionError()] * 12

    async def away() -> str:
        if failures:
            raise failures.pop()
        return await real()

    line.socket._address = away
    line.server.cut()
    await line.server.until(lambda: line.server.connections >= 2, "it is back")
    waits = line.socket.state.backoffs
    assert waits[:4] == [1.0, 2.0, 4.0, 8.0] and max(waits) == 60.0 and len(waits) == 12


async def test_silence_by_the_monotonic_clock_is_answered_by_a_fresh_connection(line: Line) -> None:
    # The server goes on reading, and answers no ping any more.
    line.server.deaf = True
    line.server.cut()
    await line.server.until(lambda: line.server.connections >= 2, "it is back")
    line.server.deaf = False
    for _ in range(4):
        line.now += 11.0
        await asyncio.sleep(0.02)
    await line.server.until(lambda: line.server.connections >= 3, "the silent one is given up")
    await line.server.ack(await line.server.send("slash_commands", {"n": 1}))


async def test_a_connection_that_answers_pings_stays(line: Line) -> None:
    for _ in range(20):
        heard = line.socket.state.last_heard
        line.now += 10.5
        async with asyncio.timeout(5):
            while line.socket.state.last_heard == heard:
                await asyncio.sleep(0.002)
    assert line.server.connections == 1


async def test_a_refresh_is_followed_by_a_new_connection_and_what_was_taken_is_acknowledged(line: Line) -> None:
    line.gate.clear()
    envelope = await line.server.send("slash_commands", {"n": 1})
    await line.server.disconnect("warning")
    await line.server.disconnect("refresh_requested")
    asyncio.get_running_loop().call_later(0.1, line.gate.set)
    assert await line.server.ack(envelope) == {"text": "taken"}
    await line.server.until(lambda: line.server.connections >= 2, "there is a new one")


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_the_old_connection_is_served_until_there_is_a_new_one(line: Line, reason: str) -> None:
    server, real = line.server, line._address
    may_connect = asyncio.Event()
    failures = [aiohttp.ClientConnectionError()] * 2

    async def slow() -> str:
        if failures:
            raise failures.pop()
        await may_connect.wait()
        return await real()

    line.socket._address = slow
    await server.disconnect(reason)
    # However long the new one takes, and however often it fails, nothing is missed on the old one.
    for number in range(3):
        await server.ack(await server.send("slash_commands", {"n": number}))
        assert line.socket.state.connected
    assert server.connections == 1 and len(server.open_sockets) == 1
    # What is being taken while the new one comes is acknowledged, too.
    line.gate.clear()
    late = await server.send("slash_commands", {"n": 3})
    connected = [line.socket.state.connected]
    may_connect.set()
    await server.until(lambda: server.connections == 2, "there is a new one")
    asyncio.get_running_loop().call_later(0.05, line.gate.set)
    assert await server.ack(late) == {"text": "taken"}
    async with asyncio.timeout(10):
        while len(server.open_sockets) != 1:
            connected.append(line.socket.state.connected)
            await asyncio.sleep(0.005)
    assert all(connected) and line.socket.state.connected
    await server.ack(await server.send("slash_commands", {"n": 4}))
    assert [one["n"] for one in line.taken] == list(range(5))
    assert server.connections == 2


async def test_an_old_connection_that_ends_before_there_is_a_new_one_is_an_outage_and_no_more(line: Line) -> None:
    real, may_connect = line._address, asyncio.Event()

    async def slow() -> str:
        await may_connect.wait()
        return await real()

    line.socket._address = slow
    await line.server.disconnect()
    line.server.cut()
    async with asyncio.timeout(10):
        while line.socket.state.connected:
            await asyncio.sleep(0.005)
    may_connect.set()
    await line.server.until(lambda: line.server.connections == 2, "it is back")
    await line.server.ack(await line.server.send("slash_commands", {"n": 1}))


@pytest.mark.parametrize("how", ["address", "link_disabled"])
async def test_a_token_that_is_refused_is_the_end_and_no_loop(how: str) -> None:
    server = SlackServer()
    await server.start()
    async with aiohttp.ClientSession() as session:
        line = Line(server, session)
        line.refuse = how == "address"
        task = asyncio.create_task(line.socket.run())
        if how == "link_disabled":
            await server.connected()
            await server.disconnect("link_disabled")
        with pytest.raises(TokenRefused):
            await asyncio.wait_for(task, 10)
    await server.stop()


async def test_what_is_not_taken_is_not_acknowledged(line: Line) -> None:
    async def broken(_envelope: dict[str, Any]) -> dict[str, Any] | None:
        raise RuntimeError("what Priya wrote")

    line.socket._handle, before = broken, line.socket._handle
    refused = await line.server.send("slash_commands", {"n": 1})
    await asyncio.sleep(0.05)  # it has no way to say that it took nothing
    line.socket._handle = before
    await line.server.ack(await line.server.send("slash_commands", {"n": 2}))
    assert refused not in line.server.acks


async def test_noise_on_the_line_is_passed_over(line: Line) -> None:
    for noise in ("no json", "[]", '{"type": "unheard"}', "{}"):
        await line.server.open_sockets[-1].send_str(noise)
    await line.server.ack(await line.server.send("slash_commands", {"n": 1}))
    assert line.server.connections == 1
