"""What the use cases ask of a chat platform, and what they hand it: places, access, reading, and what is shown.

Plain dataclasses and protocols; :mod:`bot.slack` and :mod:`bot.discord` implement them. A person is ``slack:U01AB``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from engine.conversation import Conversation
from storage.errors import NotPermitted, RedraftError


class NotThere(RedraftError):
    """The app cannot read or post there: it is no member, or the place is gone. Fit to show in a chat."""


class MessageGone(NotThere):
    """The place can be read, and the message or thread is not in it any more. Only this says that something is gone."""


class Forbidden(NotPermitted):
    """The person may not read that place. Fit to show in a chat."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation is; ``thread`` is empty for a stretch of a channel."""

    platform: str
    workspace: str
    channel: str
    thread: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """Messages as they were read.

    Attributes:
        conversation: without anybody who opted out.
        older: messages of the stretch that were left out for the limit; ``more`` says there may be further ones.
        began: when reading began: what was edited later is not in it.
    """

    conversation: Conversation
    older: int = 0
    more: bool = False
    began: datetime | None = None


class Access(Protocol):
    """The asker's right to read a place, asked of the platform each time."""

    async def require(self, person: str, place: Place) -> None:
        """Return if the person may read the place now.

        Raises:
            Forbidden: they may not.
            NotThere: it is gone, or the app is not in it.
        """
        ...


class Sink(Protocol):
    """Hears a summary while it is written."""

    async def queued(self, ahead: int, message: str) -> None:
        """Waiting."""
        ...

    async def progress(self, done: int, total: int) -> None:
        """Parts of a long conversation were read."""
        ...

    async def sentence(self, text: str) -> None:
        """One more sentence, filtered, not escaped."""
        ...


class Quiet:
    """A sink for whoever waits for the end."""

    async def queued(self, ahead: int, message: str) -> None:
        """Nothing."""

    async def progress(self, done: int, total: int) -> None:
        """Nothing."""

    async def sentence(self, text: str) -> None:
        """Nothing."""
