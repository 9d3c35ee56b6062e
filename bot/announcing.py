"""Tells consoles how this process's chat connections are, through a file in the data directory; see its reader.

Knows states and times, no platform and nobody's words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from bot.health import Figures
from storage.home import Home
from storage.presence import Connection, State, publish

PLATFORMS = ("slack", "discord")
#: Seconds between two looks, and after which the word is renewed although nothing has changed.
_EVERY_S, _RENEW_S = 1.0, 10.0
_TRIED = "It is not connected; it is tried again and again."


class Announcer:
    """Says how each platform is, at every change and every few seconds.

    Args:
        home: where the file is.
        figures: of the platforms that are configured; the others are off.
        now: the time, aware.
    """

    def __init__(
        self, home: Home, figures: Callable[[], Figures], *, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._home, self._figures, self._now = home, figures, now
        self._known: dict[str, Connection] = {}
        self._told: datetime | None = None
        self._log = structlog.get_logger("chats")

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(_EVERY_S)

    def look(self) -> None:
        """Look once, and write where something has changed or the word grows old."""
        figures, now = self._figures(), self._now()
        changed = False
        for name in PLATFORMS:
            found = figures.get(name)
            state: State = "off" if found is None else "up" if found.get("connected") else "down"
            before = self._known.get(name)
            if before is None or before.state != state:
                self._known[name] = Connection(state, now, _TRIED if state == "down" else "")
                changed = True
        if changed or self._told is None or (now - self._told).total_seconds() >= _RENEW_S:
            try:
                publish(self._home, self._known, now=now)
            except OSError as error:
                self._log.warning("the state of the chats could not be written", reason=type(error).__name__)
            self._told = now
