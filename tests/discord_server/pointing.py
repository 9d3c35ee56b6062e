"""How discord.py is pointed at a server other than Discord's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route


@contextmanager
def pointed(base: str) -> Iterator[None]:
    """discord.py in this process talks to ``base`` (``http://127.0.0.1:PORT``) for the time of a block.

    Two class attributes say where it goes: ``Route.BASE`` for REST, interactions' webhooks included, and
    ``DiscordWebSocket.DEFAULT_GATEWAY`` for a session begun anew after opcode 9, where the library no longer asks
    ``GET /gateway/bot``.
    """
    before = Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    Route.BASE = f"{base}/api/v10"
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(f"{base}/gateway".replace("http", "ws", 1))
    try:
        yield
    finally:
        Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before
