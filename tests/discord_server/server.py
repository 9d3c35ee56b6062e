"""The local Discord itself: HTTP and WebSocket on a port of loopback; see :mod:`tests.discord_server` for its use."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from aiohttp import web

from tests.discord_server import objects
from tests.discord_server.gateway import PATIENCE_S, Gateway
from tests.discord_server.happenings import Happenings
from tests.discord_server.interactions import Interactions
from tests.discord_server.limits import Limits, too_many
from tests.discord_server.payloads import APP_FLAGS, MESSAGE_CONTENT
from tests.discord_server.people import People
from tests.discord_server.places import Places
from tests.discord_server.routes import BY_NAME, USER_AGENT, Route, find
from tests.discord_server.seeds import Seeds
from tests.discord_server.values import UNAUTHORISED, Broken, Refused, check
from tests.discord_server.world import Message

VERSION = "/api/v10"
#: Seconds between two looks at what does not happen here.
LOOK_S = 0.05
#: Status, headers, and a body: an object, or text as a proxy in between would send it.
Instead = tuple[int, dict[str, str], Any]


@dataclass(frozen=True)
class Call:
    """One request that Discord understood: by its route's name, and how it was answered."""

    name: str
    params: dict[str, str]
    query: dict[str, str]
    body: Any
    status: int
    #: By this process's monotonic clock.
    at: float


class DiscordServer(Seeds, People, Happenings, Interactions, Places, Gateway):
    """One Discord with one app on it; start it within a running loop."""

    def __init__(self) -> None:
        Seeds.__init__(self)
        Interactions.__init__(self)
        Places.__init__(self)
        Gateway.__init__(self)
        self.token = (
            f"{base64.b64encode(str(self.app.id).encode()).decode().rstrip('=')}.GloopB.for-tests-on-loopback-only"
        )
        #: What broke the rules; it must be empty at the end.
        self.broken: list[str] = []
        #: Well-formed requests that were refused: (route's name, error code).
        self.refused: list[tuple[str, int]] = []
        self.calls: list[Call] = []
        self.limits = Limits()
        #: Answers to give in place of a route's own, in order, by the route's name. A status of 0 drops the connection.
        self.instead: dict[str, list[Instead]] = defaultdict(list)
        #: Seconds by which a route's answers are late, by the route's name.
        self.slow: dict[str, float] = {}
        #: Privileged intents that are switched on in the developers' portal.
        self.privileged = MESSAGE_CONTENT
        #: Has the app's token been reset in the portal?
        self.revoked = False
        #: Seconds that this Discord's clock is ahead: what a test adds, tokens age by.
        self.ahead = 0.0
        self.base = ""
        self._port = 0
        self._runner: web.AppRunner | None = None
        self._changed = asyncio.Condition()
        self._transports: WeakSet[asyncio.Transport] = WeakSet()

    def now(self) -> float:
        """The time here, in seconds since 1970."""
        return time.time() + self.ahead

    @property
    def api(self) -> str:
        """The API's base address, as discord.py's ``Route.BASE`` wants it."""
        return self.base + VERSION

    def application_flags(self) -> int:
        return sum(flags[1] for intent, flags in APP_FLAGS.items() if self.privileged & intent)

    # Starting and ending -------------------------------------------------------------------------------------------

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        for path in ("/gateway", "/gateway/", "/gateway/resume", "/gateway/resume/"):
            app.router.add_get(path, self._gateway)
        app.router.add_route("*", "/{path:.*}", self._request)
        self._runner = web.AppRunner(app, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        self.base = f"http://127.0.0.1:{self._port}"

    async def go_away(self) -> None:
        """Nothing listens any more, and every connection ends."""
        assert self._runner is not None
        for site in tuple(self._runner.sites):
            await site.stop()
        self.cut()
        for transport in tuple(self._transports):
            transport.abort()

    async def come_back(self) -> None:
        """Listen where it listened before."""
        assert self._runner is not None
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()

    async def stop(self) -> None:
        for one in self.connections:
            one.dismissed = True
            await one.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def until(self, holds: Callable[[], Any], what: str, patience: float = PATIENCE_S) -> Any:
        """Wait until something holds, looked at whenever something has happened here, and now and then: what the app
        stores happens elsewhere.
        """
        async with self._changed:
            try:
                async with asyncio.timeout(patience):
                    while not (found := holds()):
                        with contextlib.suppress(TimeoutError):
                            async with asyncio.timeout(LOOK_S):
                                await self._changed.wait()
            except TimeoutError:
                recent = [f"{call.name} {call.status}" for call in self.calls[-12:]]
                raise AssertionError(f"waited in vain until {what}; calls: {recent}; broken: {self.broken}") from None
        return found

    async def notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # What can go wrong ---------------------------------------------------------------------------------------------

    def limit_next(self, name: str, seconds: float = 0.1, *, everywhere: bool = False, shared: bool = False) -> None:
        """Answer a route's next request with 429."""
        headers, body = too_many(seconds, everywhere=everywhere, shared=shared)
        self._instead(name, 429, headers, body)

    def fail_next(self, name: str, status: int = 500, times: int = 1) -> None:
        """Answer a route's next requests with 500, or with the proxy's 502 or 503; 0 drops the connection."""
        for _ in range(times):
            if status == 500:
                self._instead(name, 500, {}, {"message": "500: Internal Server Error", "code": 0})
            else:
                self._instead(name, status, {}, f"<html><title>{status}</title></html>")

    def refuse_next(self, name: str, refusal: Refused) -> None:
        """Answer a route's next request with an error of Discord's, as in :mod:`tests.discord_server.values`."""
        self._instead(name, refusal.status, {}, {"message": refusal.message, "code": refusal.code})

    def _instead(self, name: str, status: int, headers: dict[str, str], body: Any) -> None:
        assert name in BY_NAME, f"there is no route {name!r}"
        self.instead[name].append((status, headers, body))

    # Requests ------------------------------------------------------------------------------------------------------

    async def _request(self, request: web.Request) -> web.StreamResponse:
        method, path = request.method, request.path.removeprefix(VERSION)
        if request.transport is not None:
            self._transports.add(request.transport)
        found = find(method, path) if request.path.startswith(VERSION) else None
        if found is None:
            self.broken.append(f"unknown route {method} {request.path}")
            await self.notify()
            return _answer(404, {"message": "404: Not Found", "code": 0})
        route, params = found
        headers: dict[str, str] = {}
        body: Any = None
        try:
            body, files = await self._body(request, route)
            if self.instead[route.name]:
                status, headers, answer = self.instead[route.name].pop(0)
                if status == 0 and request.transport is not None:
                    request.transport.abort()
            else:
                headers, excess = self.limits.take(route, params)
                if excess is not None:
                    status, (headers, answer) = 429, excess
                else:
                    self._allowed(request, route)
                    answer = await self._handled(request, route, params, body, files)
                    status = 204 if answer is None else 201 if route.handler == "add_command" else 200
        except Broken as error:
            self.broken.append(f"{route.name}: {error}")
            status, answer = 400, {"message": "Invalid Form Body", "code": 50035, "errors": {"what": str(error)}}
        except Refused as error:
            # The same error is raised again and again: it is not to gather where it has been.
            error.with_traceback(None).__context__ = None
            self.refused.append((route.name, error.code))
            status, answer = error.status, {"message": error.message, "code": error.code}
        if self.slow.get(route.name):
            await asyncio.sleep(self.slow[route.name])
        self.calls.append(Call(route.name, params, dict(request.query), body, status, time.monotonic()))
        await self.notify()
        return _answer(status, answer, headers)

    async def _handled(
        self, request: web.Request, route: Route, params: dict[str, str], body: Any, files: int
    ) -> Any:  # fmt: skip
        check("query", dict(request.query), route.query)
        if len(request.query) != len(set(request.query)):
            raise Broken("query: a parameter twice")
        if route.body is not None and not route.body(body):
            raise Broken("no JSON object")
        if route.body is None and (body is not None or files):
            raise Broken("a body where there is none")
        return await getattr(self, f"_{route.handler}")(params, dict(request.query), body, files)

    def _allowed(self, request: web.Request, route: Route) -> None:
        given = request.headers.get("Authorization")
        if not route.bot:
            return
        if given is not None and not given.startswith("Bot "):
            raise Broken("Authorization is no bot's")
        if given is None or given.removeprefix("Bot ") != self.token or self.revoked:
            raise UNAUTHORISED
        if not USER_AGENT(request.headers.get("User-Agent", "")):
            raise Broken("User-Agent is not as documented")

    async def _body(self, request: web.Request, route: Route) -> tuple[Any, int]:
        """The body as JSON, and how many files came beside it."""
        if request.content_type.startswith("multipart/"):
            parts = await request.post()
            files = [name for name in parts if name != "payload_json"]
            if any(not name.startswith("files[") for name in files) or len(files) > 10:
                raise Broken(f"multipart: {sorted(parts)}")
            return json.loads(str(parts.get("payload_json", "{}"))), len(files)
        raw = await request.read()
        if not raw:
            return None, 0
        if request.content_type != "application/json":
            raise Broken(f"a body of {request.content_type}")
        try:
            return json.loads(raw), 0
        except ValueError:
            raise Refused(400, 50109, "The request body contains invalid JSON.") from None

    # What a test looks at ------------------------------------------------------------------------------------------

    def called(self, name: str) -> list[Call]:
        """The requests of a route, in order."""
        assert name in BY_NAME, f"there is no route {name!r}"
        return [call for call in self.calls if call.name == name]

    @property
    def loud(self) -> list[Message]:
        """Messages of the app's that pinged somebody, or that Discord showed link previews of."""
        return [one for one in self.posts if one.pinged or objects.unfurled(one)]

    @property
    def invalid_requests(self) -> int:
        """Requests of the kind of which Discord takes 10,000 in ten minutes before it bans an address."""
        return sum(call.status in (401, 403, 429) for call in self.calls)

    async def posted(self, channel: Any, number: int = 1) -> Message:
        """Wait for the so-manieth message of the app's that all see in a channel, thread or direct messages."""

        def there() -> list[Message]:
            return [one for one in self.posts if one.channel is channel and one.seen_by is None][number - 1 :]

        found: list[Message] = await self.until(there, f"something is posted in {channel.name or 'direct messages'}")
        return found[0]


def _answer(status: int, body: Any, headers: dict[str, str] | None = None) -> web.Response:
    # discord.py reads JSON only where the type is given without a charset, as Discord gives it.
    if body is None:
        return web.Response(status=204, headers=headers)
    if isinstance(body, str):
        return web.Response(status=status, body=body.encode(), content_type="text/html", headers=headers)
    return web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json", headers=headers)
