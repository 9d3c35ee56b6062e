"""The local Discord's gateway: connections, sessions, what is dispatched to them, and everything that can befall them.

Each connection is a real WebSocket, compressed as it was asked for. A session outlives its connections: what happens
meanwhile is kept and replayed when it is resumed, by the address that READY named for that.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import time
import uuid
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.discord_server import objects
from tests.discord_server.payloads import GUILD_MEMBERS, KNOWN, MESSAGE_CONTENT, PAYLOADS, PRESENCES
from tests.discord_server.values import Broken, integer, nullable
from tests.discord_server.values import check as check_fields
from tests.discord_server.world import Guild, User

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME, RECONNECT, MEMBERS, INVALID, HELLO, ACK = (
    0,
    1,
    2,
    3,
    6,
    7,
    8,
    9,
    10,
    11,
)
#: Payloads that an app may send in a minute.
SENDS = 120
#: Nothing is waited for longer, in seconds.
PATIENCE_S = 30.0


class Zlib:
    """``zlib-stream``: one stream for the connection's life, flushed after each payload."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj()

    def __call__(self, data: bytes) -> bytes:
        return self._stream.compress(data) + self._stream.flush(zlib.Z_SYNC_FLUSH)


class Zstd:
    """``zstd-stream``, where this Python can: discord.py asks for it only where it can as well."""

    def __init__(self) -> None:
        try:
            self._flush = importlib.import_module("compression.zstd").ZstdCompressor.FLUSH_BLOCK
            self._stream = importlib.import_module("compression.zstd").ZstdCompressor()
        except ImportError:
            self._flush = None
            self._stream = importlib.import_module("zstandard").ZstdCompressor().compressobj()

    def __call__(self, data: bytes) -> bytes:
        if self._flush is not None:
            return bytes(self._stream.compress(data, mode=self._flush))
        block = importlib.import_module("zstandard").COMPRESSOBJ_FLUSH_BLOCK
        return bytes(self._stream.compress(data) + self._stream.flush(block))


@dataclass(eq=False)
class Connection:
    socket: web.WebSocketResponse
    transport: asyncio.Transport | None
    pack: Callable[[bytes], bytes] | None
    session: Session | None = None
    #: Has this side ended it?
    dismissed: bool = False
    #: A mute connection takes what is sent and says nothing any more, not even that it is over.
    mute: bool = False
    #: When heartbeats came, and what else was sent, by this process's monotonic clock.
    heartbeats: list[float] = field(default_factory=list)
    sends: list[float] = field(default_factory=list)

    @property
    def open(self) -> bool:
        return not self.socket.closed and self.transport is not None and not self.transport.is_closing()

    async def send(self, op: int, data: Any, name: str | None = None, number: int | None = None) -> None:
        if self.mute:
            return
        raw = json.dumps({"op": op, "d": data, "s": number, "t": name}).encode()
        try:
            if self.pack is None:
                await self.socket.send_str(raw.decode())
            else:
                await self.socket.send_bytes(self.pack(raw))
        except ConnectionError:
            pass

    async def close(self, code: int) -> None:
        self.dismissed = True
        await self.socket.close(code=code)

    def cut(self) -> None:
        self.dismissed = True
        if self.transport is not None:
            self.transport.abort()


@dataclass(eq=False)
class Session:
    id: str
    shard: tuple[int, int]
    intents: int
    connection: Connection | None = None
    log: list[tuple[str, Any]] = field(default_factory=list)
    ended: bool = False
    resumes: int = 0

    def serves(self, guild: int | None) -> bool:
        return ((guild or 0) >> 22) % self.shard[1] == self.shard[0] if guild else self.shard[0] == 0

    async def dispatch(self, name: str, data: Any) -> None:
        self.log.append((name, data))
        if self.connection is not None and self.connection.open:
            await self.connection.send(DISPATCH, data, name, len(self.log))


class Gateway:
    """The part of the server that is the gateway."""

    base: str
    token: str
    app: User
    guilds: dict[int, Guild]
    broken: list[str]
    until: Callable[..., Any]
    notify: Callable[[], Any]
    privileged: int
    application_flags: Callable[[], int]

    def __init__(self) -> None:
        self.connections: list[Connection] = []
        self.sessions: dict[str, Session] = {}
        #: How many shards ``GET /gateway/bot`` recommends, and how often a heartbeat is to come, in milliseconds.
        self.shards = 1
        self.heartbeat_ms = 41_250
        #: How late a heartbeat may be before the connection is closed, in seconds, beside one that is lost.
        self.heartbeat_grace_s = 5.0
        #: How far apart identifications must be, in seconds (Discord's are 5); one that comes earlier is answered by
        #: opcode 9.
        self.identify_apart_s = 0.0
        #: Codes to close the next connections with as soon as they identify or resume.
        self.close_next: list[int] = []
        #: How many of the next connections are refused before they are WebSockets, with 503.
        self.refuse_sockets = 0
        self.identifies: list[dict[str, Any]] = []
        self._identified = float("-inf")
        #: Every heartbeat of every connection, by this process's monotonic clock.
        self.heartbeats: list[float] = []

    # What a test waits for and does --------------------------------------------------------------------------------

    @property
    def open_connections(self) -> list[Connection]:
        return [one for one in self.connections if one.open and one.session is not None]

    async def connected(self, shards: int = 1, patience: float = PATIENCE_S) -> None:
        """Wait until so many shards have a session and a connection."""
        await self.until(lambda: len(self.open_connections) >= shards, "the app is connected", patience)

    async def dispatch(self, name: str, data: Any, *, guild: int | None = None, intents: int = 0) -> None:
        """Tell every session that it concerns, by its shard and intents. ``data``: or what makes it of a session."""
        for session in tuple(self.sessions.values()):
            if not session.ended and session.serves(guild) and (not intents or session.intents & intents):
                await session.dispatch(name, data(session) if callable(data) else data)

    def cut(self) -> None:
        """Reset every connection without a word; the sessions can be resumed."""
        for one in self.connections:
            one.cut()

    def silence(self) -> None:
        """Every connection stays, and says nothing any more: heartbeats are taken and not acknowledged."""
        for one in self.open_connections:
            one.mute = True

    async def ask_to_reconnect(self) -> None:
        """Opcode 7, on every connection."""
        for one in self.open_connections:
            await one.send(RECONNECT, None)

    async def invalidate(self, *, resumable: bool = False) -> None:
        """Opcode 9, on every connection; unless they are resumable, the sessions are gone."""
        for one in self.open_connections:
            if not resumable and one.session is not None:
                one.session.ended = True
            await one.send(INVALID, resumable)

    async def close(self, code: int) -> None:
        for one in self.open_connections:
            await one.close(code)

    async def ask_for_heartbeat(self) -> None:
        for one in self.open_connections:
            await one.send(HEARTBEAT, None)

    @property
    def resumes(self) -> int:
        return sum(session.resumes for session in self.sessions.values())

    # The connection ------------------------------------------------------------------------------------------------

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        resuming = request.path.endswith("/resume")
        query = dict(request.query)
        how = query.pop("compress", None)
        if self.refuse_sockets:
            self.refuse_sockets -= 1
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse(autoping=True, max_msg_size=4096)
        await socket.prepare(request)
        transport = request.transport
        pack = {None: None, "zlib-stream": Zlib, "zstd-stream": Zstd}.get(how, False)
        if query != {"v": "10", "encoding": "json"} or pack is False:
            self.broken.append(f"gateway: {dict(request.query)}")
            await socket.close(code=4012)
            return socket
        one = Connection(socket, transport, pack() if pack else None)  # type: ignore[operator]
        self.connections.append(one)
        await one.send(HELLO, {"heartbeat_interval": self.heartbeat_ms, "_trace": []})
        watch = asyncio.create_task(self._watch(one))
        try:
            async for message in socket:
                if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                    await self._heard(one, message.data, resuming)
                    await self.notify()
        finally:
            watch.cancel()
            # An app that says goodbye ends its session; one that is cut off, or closes by another code, may come back.
            if one.session is not None and socket.close_code in (1000, 1001) and not one.dismissed:
                one.session.ended = True
            await self.notify()
        return socket

    async def _watch(self, one: Connection) -> None:
        """Close a connection whose heartbeats stay away."""
        limit = self.heartbeat_ms / 1000 * 2 + self.heartbeat_grace_s
        began = time.monotonic()
        while True:
            last = one.heartbeats[-1] if one.heartbeats else began
            if (left := last + limit - time.monotonic()) <= 0:
                self.broken.append("gateway: the heartbeats stayed away")
                await one.close(4009)
                return
            await asyncio.sleep(left)

    async def _heard(self, one: Connection, raw: str | bytes, resuming: bool) -> None:
        now = time.monotonic()
        try:
            given = json.loads(raw)
            op = given.get("op")
            if set(given) - {"op", "d", "s", "t"} or op not in PAYLOADS:
                raise Broken(f"gateway: a payload of {sorted(given)} with opcode {op}")
            if (known := PAYLOADS[op]) is not None:
                check_fields(f"gateway opcode {op}", given.get("d"), known)
            if op == HEARTBEAT and not nullable(integer(0))(given.get("d")):
                raise Broken(f"gateway: a heartbeat of {given.get('d')!r}")
        except (ValueError, AttributeError, TypeError, Broken) as error:
            self.broken.append(str(error) if isinstance(error, Broken) else "gateway: no JSON object")
            await one.close(4002)
            return
        one.sends = [at for at in one.sends if now - at < 60] + [now]
        if len(one.sends) > SENDS:
            self.broken.append("gateway: more than 120 payloads in a minute")
            await one.close(4008)
            return
        if op == HEARTBEAT:
            one.heartbeats.append(now)
            self.heartbeats.append(now)
            if one.session is not None and (given.get("d") or 0) > len(one.session.log):
                self.broken.append(f"gateway: a heartbeat of {given['d']} after {len(one.session.log)} events")
            await one.send(ACK, None)
        elif op in (IDENTIFY, RESUME):
            if self.close_next:
                await one.close(self.close_next.pop(0))
            elif one.session is not None:
                self.broken.append("gateway: identified twice")
                await one.close(4005)
            elif op == IDENTIFY:
                await self._identify(one, given["d"])
            else:
                await self._resume(one, given["d"], resuming)
        elif one.session is None:
            self.broken.append(f"gateway: opcode {op} before identifying")
            await one.close(4003)
        elif op == MEMBERS:
            await self._members(one.session, given["d"])

    async def _identify(self, one: Connection, given: dict[str, Any]) -> None:
        self.identifies.append(given)
        shard = tuple(given.get("shard", (0, 1)))
        if given["token"] != self.token:
            code = 4004
        elif given["intents"] & ~KNOWN:
            code = 4013
        elif given["intents"] & (GUILD_MEMBERS | PRESENCES | MESSAGE_CONTENT) & ~self.privileged:
            code = 4014
        elif not 0 <= shard[0] < shard[1]:
            code = 4010
        elif shard[1] < self.shards:
            code = 4011
        else:
            code = 0
        if code:
            await one.close(code)
            return
        early = time.monotonic() - self._identified < self.identify_apart_s
        self._identified = time.monotonic()
        if early:
            await one.send(INVALID, False)
            return
        session = Session(uuid.uuid4().hex, (shard[0], shard[1]), given["intents"], one)
        one.session = self.sessions[session.id] = session
        mine = [guild for guild in self.guilds.values() if guild.with_app and session.serves(guild.id)]
        await session.dispatch("READY", {
            "v": 10, "user": objects.user(self.app) | {"verified": True, "mfa_enabled": True, "flags": 0},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in mine], "session_id": session.id,
            "resume_gateway_url": f"{self.base.replace('http', 'ws')}/gateway/resume", "shard": list(shard),
            "application": {"id": str(self.app.id), "flags": self.application_flags()}, "private_channels": [],
            "session_type": "normal", "_trace": [], "geo_ordered_rtc_regions": [], "presences": [], "relationships": [],
        })  # fmt: skip
        for guild in mine:
            if guild.available:
                await session.dispatch("GUILD_CREATE", objects.guild_create(guild, self.app.id))
            else:
                await session.dispatch("GUILD_DELETE", {"id": str(guild.id), "unavailable": True})

    async def _resume(self, one: Connection, given: dict[str, Any], resuming: bool) -> None:
        session = self.sessions.get(given["session_id"])
        if given["token"] != self.token:
            await one.close(4004)
            return
        if session is None or session.ended:
            await one.send(INVALID, False)
            return
        if not resuming:
            self.broken.append("gateway: resumed elsewhere than at resume_gateway_url")
        if not 0 <= given["seq"] <= len(session.log):
            session.ended = True
            await one.close(4007)
            return
        if session.connection is not None:
            session.connection.cut()
        session.connection = None
        # What happens during the replay is replayed as well: nothing overtakes it.
        sent = given["seq"]
        while sent < len(session.log):
            name, data = session.log[sent]
            sent += 1
            await one.send(DISPATCH, data, name, sent)
        one.session, session.connection = session, one
        session.resumes += 1
        await session.dispatch("RESUMED", {"_trace": []})

    async def _members(self, session: Session, given: dict[str, Any]) -> None:
        guild = self.guilds[int(given["guild_id"])]
        asked = {int(an_id) for an_id in given.get("user_ids", ())}
        if not asked and given.get("query") == "" and not session.intents & GUILD_MEMBERS:
            self.broken.append("gateway: all members asked for without the intent")
            return
        found = [
            one for one in guild.members.values()
            if one.user.id in asked or (not asked and one.user.name.startswith(given.get("query", "")))
        ]  # fmt: skip
        if given.get("limit"):
            found = found[: given["limit"]]
        await session.dispatch("GUILD_MEMBERS_CHUNK", {
            "guild_id": str(guild.id), "members": [objects.member(one) for one in found], "chunk_index": 0,
            "chunk_count": 1, "not_found": [str(an_id) for an_id in asked - set(guild.members)],
            "nonce": given.get("nonce"),
        })  # fmt: skip
