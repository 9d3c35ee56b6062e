"""An HTTP proxy on loopback: it passes requests for one made-up host on to the local Slack, and counts them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

_HOST = "slack.example"
_REQUEST = re.compile(rf"(GET|POST) (?:http|ws)://{re.escape(_HOST)}(/\S*) HTTP/1.1\r\n")


class Proxy:
    """What came by, as `METHOD path`; ``host`` is known to nobody else."""

    host = _HOST

    def __init__(self, port: int) -> None:
        self._port = port
        self.seen: list[str] = []
        self.address = ""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_pipe(reader, back, self._look), _pipe(there, writer))

    def _look(self, piece: bytes) -> None:
        """One connection carries several requests; each names the host in full, as only a proxy is asked."""
        self.seen += [f"{method} {path}".split("?")[0] for method, path in _REQUEST.findall(piece.decode("latin-1"))]


async def _pipe(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None] | None = None
) -> None:
    try:
        while piece := await reader.read(65_536):
            if look is not None:
                look(piece)
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        return
    finally:
        writer.close()


@asynccontextmanager
async def proxy(port: int) -> AsyncIterator[Proxy]:
    """A proxy before a port of this machine, for the time of a block."""
    made = Proxy(port)
    listening = await asyncio.start_server(made.take, "127.0.0.1", 0)
    made.address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        listening.close()
