"""Which rows go into the next batch: oldest request first, nobody starves, rows of similar length together.

A plain data structure with no threads, clocks or model in it; :mod:`engine.batching` guards it with its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the queue needs to know of a row."""

    @property
    def tokens(self) -> int:
        """Length of its prompt, in tokens."""
        ...

    @property
    def wanted(self) -> bool:
        """False once it was cancelled; it is then passed over and let go."""
        ...


W = TypeVar("W", bound=Waiting)


class FairQueue(Generic[W]):
    """Rows that wait, request by request.

    The request whose turn it is gives the leading row of a batch and goes to the end of the line, so that among n
    requests each leads at least every n-th batch, however many rows the others have. The rest of the batch are rows of
    a length near the leader's, first one of every request, then the second of every request, and so on.

    Args:
        max_rows: most rows in a batch.
        max_tokens: most prompt tokens in a batch, padding included; a single longer row goes alone.
        max_padding: largest share of padding among those tokens, 0 to 1.
    """

    def __init__(self, max_rows: int, max_tokens: int, max_padding: float) -> None:
        self._max_rows = max_rows
        self._max_tokens = max_tokens
        self._max_padding = max_padding
        # The order of the keys is the order of turns. The rows are the submitter's own objects, never copies: a long
        # thread's prompts are in memory once.
        self._lines: dict[str, deque[W]] = {}

    def __bool__(self) -> bool:
        return any(row.wanted for line in self._lines.values() for row in line)

    def add(self, key: str, rows: Iterable[W]) -> None:
        """Append rows of a request; a request that had none waiting goes to the end of the line."""
        self._lines.setdefault(key, deque()).extend(rows)

    def clear(self) -> list[W]:
        """Take everything out."""
        rows = [row for line in self._lines.values() for row in line if row.wanted]
        self._lines.clear()
        return rows

    def take(self) -> list[W]:
        """The rows of the next batch, the leader first; empty when none wait."""
        self._forget_unwanted()
        if not self._lines:
            return []
        key = next(iter(self._lines))
        line = self._lines.pop(key)
        leader = line.popleft()
        if line:
            self._lines[key] = line
        batch = [leader]
        taken = {id(leader)}
        longest = total = max(1, leader.tokens)
        for row in self._candidates(leader.tokens):
            if len(batch) >= self._max_rows:
                break
            tokens = max(1, row.tokens)
            padded = max(longest, tokens) * (len(batch) + 1)
            if padded > self._max_tokens or padded - (total + tokens) > self._max_padding * padded:
                continue
            batch.append(row)
            taken.add(id(row))
            longest, total = max(longest, tokens), total + tokens
        for key, line in list(self._lines.items()):
            if any(id(row) in taken for row in islice(line, self._max_rows)):
                rest = deque(row for row in line if id(row) not in taken)
                if rest:
                    self._lines[key] = rest
                else:
                    del self._lines[key]
        return batch

    def _candidates(self, near: int) -> list[W]:
        """Rows that may join a leader of ``near`` tokens: first rows, nearest first, then second ones ..."""
        ranked = [
            (turn, abs(row.tokens - near), position, row)
            for position, line in enumerate(self._lines.values())
            for turn, row in enumerate(islice(line, self._max_rows))
        ]
        return [row for *_, row in sorted(ranked, key=lambda item: item[:3])]

    def _forget_unwanted(self) -> None:
        for key, line in list(self._lines.items()):
            if not all(row.wanted for row in line):
                line = deque(row for row in line if row.wanted)
                self._lines[key] = line
            if not line:
                del self._lines[key]
