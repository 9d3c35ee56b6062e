"""The listener of benchmarks that drive a model themselves: it counts tokens and keeps no text."""

from __future__ import annotations

from engine.protocols import Generated


class Counting:
    """An :class:`engine.protocols.Listener`.

    Attributes:
        tokens: written by all rows that have ended.
    """

    def __init__(self) -> None:
        self.tokens = 0

    def cancelled(self, row: int) -> bool:
        """Never: every row is written to its end."""
        return False

    def wrote(self, row: int, text: str) -> None:
        """A step that nobody reads."""

    def finished(self, row: int, generated: Generated) -> None:
        """Count what the row has written."""
        self.tokens += generated.output_tokens
