"""Scopes: whose pairs train an adapter, and whom it serves.

Written ``default``, ``slack:T01`` (a workspace) or ``slack:T01/C01`` (one channel); the narrowest active one wins. Pure
text: it knows nothing of adapters, pairs or the database.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, Protocol

from storage.errors import InputError

DEFAULT = "default"
_SCOPE = re.compile(r"(?P<platform>slack|discord):(?P<workspace>[^\s/:]+)(?:/(?P<channel>[^\s/:]+))?")


class Place(Protocol):
    """Where a conversation or a pair comes from."""

    @property
    def platform(self) -> str:
        """``file``, ``slack`` or ``discord``."""
        ...

    @property
    def workspace(self) -> str:
        """Slack team or Discord guild id, or an empty string."""
        ...

    @property
    def channel(self) -> str:
        """Channel id, or an empty string."""
        ...


@dataclass(frozen=True, slots=True)
class Scope:
    """A scope, taken apart; ``platform`` is empty for ``default``, ``channel`` for a workspace."""

    platform: Literal["", "slack", "discord"] = ""
    workspace: str = ""
    channel: str = ""

    def __str__(self) -> str:
        if not self.platform:
            return DEFAULT
        return f"{self.platform}:{self.workspace}" + (f"/{self.channel}" if self.channel else "")


def parse(text: str) -> Scope:
    """The scope that a text names.

    Raises:
        InputError: it names none.
    """
    if text == DEFAULT:
        return Scope()
    found = _SCOPE.fullmatch(text)
    if found is None:
        raise InputError(
            f"{text[:80]!r} is no scope.", "Write default, slack:TEAM, slack:TEAM/CHANNEL, or the same with discord."
        )
    platform: Literal["slack", "discord"] = "slack" if found["platform"] == "slack" else "discord"
    return Scope(platform, found["workspace"], found["channel"] or "")


def serving(place: Place) -> tuple[str, ...]:
    """The scopes that may serve a conversation, the narrowest first; ``default`` always is the last."""
    found = []
    if place.platform in ("slack", "discord") and place.workspace:
        workspace = f"{place.platform}:{place.workspace}"
        if place.channel:
            found.append(f"{workspace}/{place.channel}")
        found.append(workspace)
    return (*found, DEFAULT)
