"""Slack's Socket Mode: one WebSocket that envelopes come by and acknowledgements go by, for as long as the bot runs.

The SDK's own client compares wall clocks, goes on for ever with a token that was revoked, and logs addresses that hold
a ticket; this one watches pongs by the monotonic clock, asks for a fresh address each time, ends where the token is
refused, and logs no address. A `disconnect` that Slack announces is answered by a new connection before the old one
goes. Handlers are bolt's; deliveries that were not acknowledged come again, and are known by their keys.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import structlog

from bot.slack.client import TokenRefused
from storage.errors import RedraftError

#: Seconds between pings, and of silence after which a connection is given up.
PING_S, SILENCE_S = 8.0, 25.0
_CONNECT_S = 20.0
#: Longest wait before another attempt; the first ones come sooner.
_MOST_WAIT_S = 60.0

Handle = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]


@dataclass(slots=True)
class State:
    """How the connection is, for health and metrics.

    Attributes:
        connected: whether Slack has said hello on the present connection.
        connections: how many there were.
        last_heard: by the monotonic clock, in seconds.
        detail: why there is none, in a word.
    """

    connected: bool = False
    connections: int = 0
    envelopes: int = 0
    last_heard: float = 0.0
    detail: str = ""
    backoffs: list[float] = field(default_factory=list)


class Socket:
    """The connection.

    Args:
        session: makes WebSockets.
        address: asks Slack for a fresh address.
        handle: takes an envelope's payload with its type, and gives what is acknowledged with it (None or a payload);
            where it raises, nothing is acknowledged and Slack delivers again.
        proxy: of the environment, or None.
        clock, sleep, chance: for tests.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        address: Callable[[], Awaitable[str]],
        handle: Handle,
        *,
        proxy: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
        ping_s: float = PING_S,
        silence_s: float = SILENCE_S,
    ) -> None:
        self._session, self._address, self._handle, self._proxy = session, address, handle, proxy
        self._clock, self._sleep, self._chance = clock, sleep, chance
        self._ping_s, self._silence_s = ping_s, silence_s
        self._tasks: set[asyncio.Task[None]] = set()
        self._current: aiohttp.ClientWebSocketResponse | None = None
        self.state = State()
        self.ready = asyncio.Event()
        self._log = structlog.get_logger("slack.socket")

    async def run(self) -> None:
        """Stay connected until cancelled.

        Raises:
            TokenRefused: Slack does not take the token.
        """
        failures = 0
        try:
            while True:
                try:
                    socket = await self._connected()
                    heard = await self._serve(socket)
                    failures = 0 if heard else failures + 1
                except TokenRefused:
                    raise
                except Exception as error:
                    failures += 1
                    self.state.detail = type(error).__name__
                    reason = error.message if isinstance(error, RedraftError) else type(error).__name__
                    self._log.warning("not connected", failures=failures, reason=reason)
                self.state.connected = False
                if failures:
                    wait = min(_MOST_WAIT_S, 0.5 * 2.0 ** min(failures, 10)) * (0.5 + self._chance() / 2)
                    self.state.backoffs.append(wait)
                    del self.state.backoffs[:-100]
                    await self._sleep(wait)
        finally:
            self.state.connected = False
            for task in tuple(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def silence(self) -> float:
        """Seconds since anything was heard, by the monotonic clock."""
        return self._clock() - self.state.last_heard

    async def settle(self, grace_s: float = 2.0) -> None:
        """Wait for envelopes that are being taken."""
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=grace_s)

    async def _connected(self) -> aiohttp.ClientWebSocketResponse:
        address = await self._address()
        async with asyncio.timeout(_CONNECT_S):
            # aiohttp's own answering of pings would keep the pongs from us, which our watchdog goes by.
            socket = await self._session.ws_connect(
                address, proxy=self._proxy, autoping=False, heartbeat=None, max_msg_size=2**24
            )
        self.state.connections += 1
        self.state.last_heard = self._clock()
        return socket

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Take what comes until the connection ends or is replaced; whether Slack said hello."""
        self._current = socket
        watchdog = asyncio.create_task(self._watch(socket))
        hello = False
        try:
            while True:
                message = await socket.receive()
                self.state.last_heard = self._clock()
                if message.type is aiohttp.WSMsgType.PONG:
                    continue
                if message.type is aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                    continue
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self._log.info("connection ended", code=socket.close_code)
                    return hello
                envelope = _parsed(message.data)
                kind = envelope.get("type")
                if kind == "hello":
                    hello = True
                    self.state.connected, self.state.detail = True, ""
                    self.ready.set()
                    self._log.info("connected", connections=self.state.connections)
                elif kind == "disconnect":
                    if envelope.get("reason") == "link_disabled":
                        raise TokenRefused(
                            "Socket Mode is switched off for the Slack app.", "Switch it on in the app's settings."
                        )
                    if envelope.get("reason") == "warning":
                        continue  # a `refresh_requested` follows shortly
                    return hello
                elif envelope.get("envelope_id"):
                    self.state.envelopes += 1
                    task = asyncio.create_task(self._take(socket, envelope))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)
        finally:
            watchdog.cancel()
            await asyncio.gather(watchdog, return_exceptions=True)
            # What was taken is still to be acknowledged on it.
            await self.settle()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2.0):
                    await socket.close()

    async def _watch(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Ping, and cut a connection on which nothing is heard any more."""
        while not socket.closed:
            await self._sleep(self._ping_s)
            if self._clock() - self.state.last_heard > self._silence_s:
                self._log.warning("silence", seconds=round(self._clock() - self.state.last_heard))
                self.state.detail = "silence"
                # Closing by the book waits for an answer, which is what fails to come.
                _abort(socket)
                return
            with contextlib.suppress(Exception):
                await socket.ping(b"redraft")

    async def _take(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        try:
            payload = await self._handle(envelope)
        except Exception as error:
            self._log.error("an envelope was not taken", kind=envelope.get("type"), exc_info=error)
            return
        answer: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
        if payload is not None:
            answer["payload"] = payload
        for on in (socket, self._current):
            if on is not None and not on.closed:
                with contextlib.suppress(Exception):
                    await on.send_str(json.dumps(answer))
                    return


def _parsed(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _abort(socket: aiohttp.ClientWebSocketResponse) -> None:
    connection = socket._response.connection
    transport = connection.transport if connection is not None else None
    if transport is not None:
        transport.abort()
