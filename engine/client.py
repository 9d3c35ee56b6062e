"""How other processes ask the engine: the HTTP client, and the choice between a running engine and this process.

Connection trouble and an engine that dies in the middle become :class:`storage.errors.EngineUnavailable` with a clear
sentence. It imports neither torch nor, before it is used, httpx (200 ms): it is on the way of every command.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING

from engine.address import Address, alive, hold_file, published, read_token, supervised
from engine.requests import Event, Finished, Health, SummaryRequest
from storage.errors import EngineUnavailable, RedraftError, StorageError

if TYPE_CHECKING:
    import httpx

    from engine.protocols import AdapterSource, EngineClient
    from engine.settings import EngineSettings
    from storage.home import Home

#: An engine that sends nothing for this long, in seconds, not even its sign of life every few, hangs.
_SILENCE_S = 60.0
_CONNECT_S = 5.0
_HEALTH_S = 5.0
#: How long an engine may take to let go of its model, and how often it is asked, in seconds.
_HOLD_S = 600.0
_LOOK_S = 0.1
#: How often an engine that loads its model, or has just gone, is looked at before it is taken as it is, and the pause.
_LOADING_LOOKS, _DOWN_LOOKS, _SETTLE_S = 600, 10, 1.0
_AGAIN = "Try again in a minute; `redraft up` starts the engine again by itself."


def find_client(
    settings: EngineSettings,
    home: Home,
    tell: Callable[[str], None] | None = None,
    *,
    adapters: AdapterSource | None = None,
) -> EngineClient:
    """The engine that runs for this data directory, if there is one; otherwise one in this process.

    The model of an in-process one is loaded when the first summary is asked for; ``tell`` then hears, in another
    thread, a sentence before each step of that which takes time. ``adapters`` says what serves in it; a running engine
    has its own source. Close the client after use.
    """
    if running(home):
        return HttpClient(home)
    from engine.local import LocalClient

    return LocalClient(settings, home, adapters=adapters, tell=tell)


@contextlib.asynccontextmanager
async def held(home: Home, *, wait_s: float = _HOLD_S) -> AsyncIterator[bool]:
    """Have a running engine let go of its model for the time of the block; its requests wait and are served after.

    The hold is a lock on a file: it ends with the block, and when this process dies, however it does. An engine that
    starts meanwhile does not load before it has ended. Only one process holds at a time; another waits.

    Args:
        home: the engine's data directory.
        wait_s: how long to wait for another's hold, and for the batch that the engine is at.

    Yields:
        whether an engine has let go of its model; False where none runs.

    Raises:
        EngineUnavailable: it did not within that time.
        StorageError: the data directory cannot be written.
    """
    import asyncio
    import fcntl
    import time

    until = time.monotonic() + wait_s
    try:
        descriptor = os.open(hold_file(home), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"{hold_file(home)} cannot be written.", "Run `redraft doctor`, which checks it.") from error
    client = HttpClient(home)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:  # another's hold, or an engine that looks whether there is one
                if time.monotonic() > until:
                    raise EngineUnavailable("Another fine-tune has the engine's memory.", _AGAIN) from error
            await asyncio.sleep(_LOOK_S)
        while alive(home) and not (await client.health()).held:
            if time.monotonic() > until:
                raise EngineUnavailable("The engine did not let go of its model.", _AGAIN)
            await asyncio.sleep(_LOOK_S)
        yield alive(home)
    finally:
        # Unlocked by word: a child of this process may hold a copy of the descriptor.
        fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
        await client.close()


async def settled(client: EngineClient, pause: Callable[[float], Awaitable[object]]) -> Health:
    """How an engine is, once one in another process has the model that it serves: only then is it known which.

    One in this process loads when it is first asked, and what it is told to: it is not waited for.

    Args:
        client: see :func:`find_client`.
        pause: waits for so many seconds.
    """
    looks = {"loading": _LOADING_LOOKS, "down": _DOWN_LOOKS}
    while True:
        health = await client.health()
        if not isinstance(client, HttpClient) or not looks.get(health.state):
            return health
        looks[health.state] -= 1
        await pause(_SETTLE_S)


def running(home: Home) -> bool:
    """Whether an engine answers for this data directory; what a dead one has left behind does not count."""
    address = published(home)
    if address is None or not alive(home):
        return False
    import httpx

    from engine import wire

    transport = httpx.HTTPTransport(uds=address.socket) if address.socket else None
    try:
        with httpx.Client(transport=transport, timeout=_HEALTH_S, trust_env=False) as client:
            answer = client.get(f"{address.url}/health", headers=_authorisation(home))
    except httpx.TimeoutException:
        return True  # busy beyond answering, but there: a second model beside it would make it worse
    except httpx.HTTPError:
        return False
    try:
        return answer.status_code == 200 and wire.decode_health(answer.content).state in ("loading", "up")
    except EngineUnavailable:
        return False


def _authorisation(home: Home) -> dict[str, str]:
    token = read_token(home)
    return {"Authorization": f"Bearer {token}"} if token else {}


class HttpClient:
    """An :class:`engine.protocols.EngineClient` for an engine in another process.

    Where the engine is and its token are read anew for each request, so that a client outlives an engine's restart.

    Args:
        home: the data directory in which the engine says where it is.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._client: tuple[Address, httpx.AsyncClient] | None = None

    async def summarize(self, request: SummaryRequest) -> AsyncGenerator[Event, None]:
        """See :meth:`engine.protocols.EngineClient.summarize`."""
        import httpx

        from engine import wire

        body = wire.encode_request(request)
        client, url = await self._connected()
        headers = {**_authorisation(self._home), "Content-Type": "application/json"}
        try:
            async with client.stream("POST", f"{url}/v1/summaries", content=body, headers=headers) as answer:
                if answer.status_code != 200:
                    raise wire.decode_error(await _bounded(answer))
                async with contextlib.aclosing(_lines(answer)) as lines:
                    async for line in lines:
                        event = wire.decode_line(line)
                        if event is not None:
                            yield event
                            if isinstance(event, Finished):
                                return
            raise _went_away()
        except httpx.ConnectError as error:
            raise _not_running(self._home) from error
        except httpx.TimeoutException as error:
            raise EngineUnavailable("The engine has stopped answering.", _AGAIN) from error
        except httpx.HTTPError as error:
            raise _went_away() from error

    async def health(self) -> Health:
        """See :meth:`engine.protocols.EngineClient.health`."""
        import httpx

        from engine import wire

        try:
            client, url = await self._connected()
            answer = await client.get(f"{url}/health", headers=_authorisation(self._home), timeout=_HEALTH_S)
            if answer.status_code != 200:
                raise wire.decode_error(answer.content)
            return wire.decode_health(answer.content)
        except httpx.TimeoutException:
            return Health("down", detail="The engine has stopped answering.")
        except httpx.HTTPError:
            return Health("down", detail=_not_running(self._home).message)
        except RedraftError as error:
            return Health("down", detail=error.message)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            (_, client), self._client = self._client, None
            await client.aclose()

    async def _connected(self) -> tuple[httpx.AsyncClient, str]:
        import httpx

        address = published(self._home)
        if address is None or not alive(self._home):
            raise _not_running(self._home)
        if self._client is None or self._client[0] != address:
            await self.close()
            # Proxies of the environment are for other machines; the engine is on this one.
            client = httpx.AsyncClient(
                transport=httpx.AsyncHTTPTransport(uds=address.socket or None),
                timeout=httpx.Timeout(_SILENCE_S, connect=_CONNECT_S),
                trust_env=False,
            )
            self._client = (address, client)
        return self._client[1], address.url


async def _lines(answer: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Lines of a stream, none longer than the protocol allows."""
    from engine import wire

    rest = b""
    async for chunk in answer.aiter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line
        if len(rest) > wire.MAX_LINE_BYTES:
            raise EngineUnavailable("What answered is not a Redraft engine of this version.", "Restart the engine.")


async def _bounded(answer: httpx.Response) -> bytes:
    """A refusal's body, cut where it is longer than a sentence could be."""
    body = b""
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > 65536:
            break
    return body


def _not_running(home: Home) -> EngineUnavailable:
    if supervised(home):
        return EngineUnavailable("The engine is down and is being started again by `redraft up`.", _AGAIN)
    return EngineUnavailable("No engine is running.", "Start one with `redraft up`.")


def _went_away() -> EngineUnavailable:
    return EngineUnavailable("The engine went away in the middle of the request.", _AGAIN)
