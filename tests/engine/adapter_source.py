"""A hand-written :class:`engine.protocols.AdapterSource` that a test changes while an engine follows it."""

from __future__ import annotations

from pathlib import Path

from engine.protocols import ServingTable
from storage.errors import RedraftError


class Table:
    """What is to serve, as a test wants it.

    Args:
        folder: directories of the adapters, named by their ids.
        available: their ids.
        active: id by scope.

    ``before`` has the ids of what served a scope before, as :class:`ServingTable` wants them.
    """

    def __init__(self, folder: Path, *available: str, **active: str) -> None:
        self.folder = folder
        self.available = list(available)
        self.active = dict(active)
        self.before: dict[str, list[str]] = {}
        self.problem: RedraftError | None = None
        self.looks = 0

    def serving(self) -> ServingTable:
        self.looks += 1
        if self.problem is not None:
            raise self.problem
        available = {name: str(self.folder / name) for name in self.available}
        return ServingTable(dict(self.active), available, dict(self.before))
