"""What the bot's process says of its chat connections, for the console: ``chats.json`` in the data directory.

It is written anew at every change and every few seconds; what is older than :data:`STALE_S` is the word of a process
that is gone. It holds states and times, never a name, a token or a text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from storage.home import Home

#: A word that was not renewed for so long, in seconds, no longer holds.
STALE_S = 30.0

State = Literal["up", "degraded", "down", "off"]


@dataclass(frozen=True, slots=True)
class Connection:
    """One platform's connection.

    Attributes:
        state: ``off`` where it is not configured.
        since: since when it is so (aware).
        detail: a sentence of ours on what is not as it should be, or empty.
    """

    state: State
    since: datetime
    detail: str = ""


def path_of(home: Home) -> Path:
    """Where it is kept."""
    return home.root / "chats.json"


def publish(home: Home, connections: Mapping[str, Connection], *, now: datetime | None = None) -> None:
    """Say how the connections are, whole or not at all.

    Args:
        connections: by platform: ``slack``, ``discord``.

    Raises:
        OSError: the data directory cannot be written.
    """
    from storage.files import replace_private

    document = {
        "at": (now or datetime.now(UTC)).astimezone(UTC).isoformat(),
        "pid": os.getpid(),
        "chats": {
            name: {"state": one.state, "since": one.since.astimezone(UTC).isoformat(), "detail": one.detail}
            for name, one in connections.items()
        },
    }
    replace_private(path_of(home), json.dumps(document).encode())


def read(home: Home, *, now: datetime | None = None) -> dict[str, Connection]:
    """How the connections are; of a process that is gone, down since it was heard of. Empty where none ever was."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    try:
        document = json.loads(path_of(home).read_text(encoding="utf-8"))
        at = datetime.fromisoformat(document["at"])
        found = {
            str(name): Connection(one["state"], datetime.fromisoformat(one["since"]), str(one["detail"]))
            for name, one in document["chats"].items()
            if one["state"] in ("up", "degraded", "down", "off")
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    if (moment - at).total_seconds() <= STALE_S:
        return found
    return {
        name: one if one.state == "off" else Connection("down", at, "The bot does not run.")
        for name, one in found.items()
    }
