"""A listener that writes down what a batch tells it, and cancels rows when asked to."""

from __future__ import annotations

from collections.abc import Sequence

from engine.model.generation import LoadedModel
from engine.protocols import Generated, Row


class Heard:
    """Everything a batch said, in order.

    Args:
        cancel_after: row to the number of texts after which nobody waits for it.
    """

    def __init__(self, cancel_after: dict[int, int] | None = None) -> None:
        self.texts: dict[int, list[str]] = {}
        self.ended: dict[int, Generated] = {}
        self.order: list[tuple[str, int]] = []
        self._cancel_after = cancel_after or {}

    def cancelled(self, row: int) -> bool:
        assert row not in self.ended, "asked about a row that has ended"
        return row in self._cancel_after and len(self.texts.get(row, [])) >= self._cancel_after[row]

    def wrote(self, row: int, text: str) -> None:
        assert row not in self.ended, "a row went on after its end"
        self.texts.setdefault(row, []).append(text)
        self.order.append(("wrote", row))

    def finished(self, row: int, generated: Generated) -> None:
        assert row not in self.ended, "a row ended twice"
        self.ended[row] = generated
        self.order.append(("finished", row))


def write(model: LoadedModel, rows: Sequence[Row], cancel_after: dict[int, int] | None = None) -> Heard:
    """Generate, and check that every row was answered."""
    heard = Heard(cancel_after)
    model.generate(rows, heard)
    assert sorted(heard.ended) == list(range(len(rows)))
    return heard
