"""Slack's Socket Mode: one WebSocket that envelopes come by and acknowledgements go by, for as long as the bot runs.

The SDK's own client compares wall clocks, goes on for ever with a token that was revoked, and logs addresses that hold
a ticket; this one watches pongs by the monotonic clock, asks for a fresh address each time, ends where the token is
refused, and logs no address. A `disconnect` that Slack announces is answered by a new connection; the old one is read
and acknowledged on until Slack has said hello on the new one. Handlers are bolt's; deliveries that were not
acknowledged come again, and are known by their keys.
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
        connected: whether there is a connection on which Slack has said hello.
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


class Line:
    """One connection of the socket's: read until it ends, watched meanwhile.

    Attributes:
        hello: set once Slack has said hello.
        going: set once Slack has asked for a new one in its place.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, heard_at: float) -> None:
        self.socket, self.heard_at = socket, heard_at
        self.hello, self.going = asyncio.Event(), asyncio.Event()
        self.reading: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it is read, and Slack delivers on it."""
        return self.hello.is_set() and self.reading is not None and not self.reading.done()

    async def first_of(self, event: asyncio.Event) -> None:
        """Return when something has happened to it, or it has ended.

        Raises:
            Exception: what ended the reading.
        """
        assert self.reading is not None
        waiting = asyncio.create_task(event.wait())
        try:
            await asyncio.wait((waiting, self.reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self.reading.done():
            self.reading.result()


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
        #: Connections that are read, the newest last; there are two while one takes the other's place.
        self._lines: list[Line] = []
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
                    line = await self._opened()
                    await self._retire(but=line)
                    failures = 0
                    await line.first_of(line.going)
                except TokenRefused:
                    raise
                except Exception as error:
                    failures += 1
                    self.state.detail = type(error).__name__
                    reason = error.message if isinstance(error, RedraftError) else type(error).__name__
                    self._log.warning("not connected", failures=failures, reason=reason)
                self._tell()
                if failures:
                    wait = min(_MOST_WAIT_S, 0.5 * 2.0 ** min(failures, 10)) * (0.5 + self._chance() / 2)
                    self.state.backoffs.append(wait)
                    del self.state.backoffs[:-100]
                    await self._sleep(wait)
        finally:
            await asyncio.shield(self._retire())
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

    async def _opened(self) -> Line:
        """A new connection on which Slack has said hello; those before it are read all the while.

        Raises:
            TokenRefused: Slack does not take the token.
            Exception: there is none.
        """
        address = await self._address()
        async with asyncio.timeout(_CONNECT_S):
            # aiohttp's own answering of pings would keep the pongs from us, which our watchdog goes by.
            socket = await self._session.ws_connect(
                address, proxy=self._proxy, autoping=False, heartbeat=None, max_msg_size=2**24
            )
        self.state.connections += 1
        self.state.last_heard = self._clock()
        line = Line(socket, self.state.last_heard)
        self._lines.append(line)
        line.reading = asyncio.create_task(self._read(line))
        line.reading.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            async with asyncio.timeout(_CONNECT_S):
                await line.first_of(line.hello)
            if not line.hello.is_set():
                raise ConnectionError("it ended before Slack said hello")
        except BaseException:
            line.reading.cancel()
            raise
        return line

    async def _retire(self, but: Line | None = None) -> None:
        """Let go of the connections in whose place another is."""
        old = [line for line in self._lines if line is not but and line.reading is not None]
        if not old:
            return
        # What was taken is still to be acknowledged on them.
        await self.settle()
        for line in old:
            if line.reading is not None:
                line.reading.cancel()
        await asyncio.gather(*(line.reading for line in old if line.reading), return_exceptions=True)

    def _tell(self) -> None:
        self.state.connected = any(line.alive for line in self._lines)

    async def _read(self, line: Line) -> None:
        """Take what comes until the connection ends."""
        watchdog = asyncio.create_task(self._watch(line))
        try:
            while True:
                message = await line.socket.receive()
                line.heard_at = self.state.last_heard = self._clock()
                if message.type is aiohttp.WSMsgType.PONG:
                    continue
                if message.type is aiohttp.WSMsgType.PING:
                    await line.socket.pong(message.data)
                    continue
                if message.type is not aiohttp.WSMsgType.TEXT:
                    self._log.info("connection ended", code=line.socket.close_code)
                    return
                self._hear(line, _parsed(message.data))
        finally:
            self._lines.remove(line)
            self._tell()
            watchdog.cancel()
            await asyncio.gather(watchdog, return_exceptions=True)
            with contextlib.suppress(Exception):
                async with asyncio.timeout(2.0):
                    await line.socket.close()

    def _hear(self, line: Line, envelope: dict[str, Any]) -> None:
        """What Slack says on a connection.

        Raises:
            TokenRefused: Socket Mode was switched off.
        """
        kind = envelope.get("type")
        if kind == "hello":
            line.hello.set()
            self.state.connected, self.state.detail = True, ""
            self.ready.set()
            self._log.info("connected", connections=self.state.connections)
        elif kind == "disconnect":
            if envelope.get("reason") == "link_disabled":
                raise TokenRefused(
                    "Socket Mode is switched off for the Slack app.", "Switch it on in the app's settings."
                )
            # A `warning` comes some seconds before its `refresh_requested`: a new one can be there by then.
            line.going.set()
        elif envelope.get("envelope_id"):
            self.state.envelopes += 1
            task = asyncio.create_task(self._take(line, envelope))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _watch(self, line: Line) -> None:
        """Ping, and cut a connection on which nothing is heard any more."""
        while not line.socket.closed:
            await self._sleep(self._ping_s)
            if (silent := self._clock() - line.heard_at) > self._silence_s:
                self._log.warning("silence", seconds=round(silent))
                self.state.detail = "silence"
                # Closing by the book waits for an answer, which is what fails to come.
                _abort(line.socket)
                return
            with contextlib.suppress(Exception):
                await line.socket.ping(b"redraft")

    async def _take(self, line: Line, envelope: dict[str, Any]) -> None:
        try:
            payload = await self._handle(envelope)
        except Exception as error:
            self._log.error("an envelope was not taken", kind=envelope.get("type"), exc_info=error)
            return
        answer: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
        if payload is not None:
            answer["payload"] = payload
        for on in (line, *reversed(self._lines)):
            if not on.socket.closed:
                with contextlib.suppress(Exception):
                    await on.socket.send_str(json.dumps(answer))
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
