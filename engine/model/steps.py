"""What happens at each step of a batch: tokens taken, listeners told, rows ended one by one, early ends forbidden.

These are the parts that transformers' ``generate`` is given. They know tokens and rows, nothing of weights or adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer

from engine.model.tokens import TextWriter, Tokens
from engine.protocols import Generated, Listener, Row


@dataclass(slots=True)
class Answer:
    """One row while it is written."""

    limit: int
    prompt: int
    writer: TextWriter
    count: int = 0
    text: str = ""
    ended: bool = False


@dataclass(slots=True)
class Batch:
    """The rows of a running batch: takes their tokens and tells the listener."""

    rows: Sequence[Row]
    lengths: Sequence[int]
    ends: frozenset[int]
    tokens: Tokens
    listener: Listener
    answers: list[Answer] = field(init=False)

    def __post_init__(self) -> None:
        self.answers = [
            Answer(row.max_new_tokens, length, self.tokens.writer())
            for row, length in zip(self.rows, self.lengths, strict=True)
        ]

    def cancel(self) -> list[int]:
        """End the rows that nobody waits for; which ones."""
        gone = [i for i, a in enumerate(self.answers) if not a.ended and self.listener.cancelled(i)]
        for i in gone:
            self._end(i, "cancelled")
        return gone

    def take(self, tokens: Sequence[int]) -> None:
        """One new token for each row; those of ended rows are padding."""
        for i, token in enumerate(tokens):
            answer = self.answers[i]
            if answer.ended:
                continue
            answer.count += 1
            ends = token in self.ends
            if not ends:
                text = answer.writer.add(token)
                if text != answer.text:
                    answer.text = text
                    self.listener.wrote(i, text)
            if ends or answer.count >= answer.limit:
                self._end(i, "end" if ends else "length")

    def _end(self, row: int, stopped: Literal["end", "length", "cancelled"]) -> None:
        answer = self.answers[row]
        answer.ended = True
        self.listener.finished(row, Generated(answer.text, answer.prompt, answer.count, stopped))


class RowsStop(StoppingCriteria):  # type: ignore[misc]
    """Row by row: cancelled, or as long as it may get. Asked after a token was chosen, before the streamer has it."""

    def __init__(self, batch: Batch, device: torch.device) -> None:
        self._batch = batch
        self._step = 0
        self._done = torch.zeros(len(batch.rows), dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        """Which rows have ended, (rows,)."""
        self._step += 1
        full = [i for i, row in enumerate(self._batch.rows) if row.max_new_tokens == self._step]
        stopped = full + self._batch.cancel()
        if stopped:  # on most steps nothing is copied to the device
            self._done[stopped] = True
        return self._done


class BatchStreamer(BaseStreamer):  # type: ignore[misc]
    """Hands on each step's tokens, (rows,); transformers' own streamers refuse more than one row."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """The first call brings the prompt, or a decoder's start tokens; those are nobody's answer."""
        if self._prompt_seen:
            self._batch.take(value.tolist())
        self._prompt_seen = True

    def end(self) -> None:
        """Every row has been told of its own end."""


class NotBefore(LogitsProcessor):  # type: ignore[misc]
    """No end of text before a row's own shortest length."""

    def __init__(self, minimum: Sequence[int], ends: Sequence[int], device: torch.device) -> None:
        self._minimum = torch.tensor(minimum, device=device)
        self._longest = max(minimum)
        self._ends = torch.tensor(ends, device=device)
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores, (rows, vocabulary), with ends forbidden."""
        if self._step < self._longest:
            early = (self._minimum > self._step).unsqueeze(1)
            scores[:, self._ends] = scores[:, self._ends].masked_fill(early, float("-inf"))
        self._step += 1
        return scores


class Finite(LogitsProcessor):  # type: ignore[misc]
    """Looks whether every step's scores are numbers; ``-inf`` is how a token is forbidden, so it may stand.

    Attributes:
        held: whether they have been so far.
    """

    def __init__(self) -> None:
        self.held = True

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The scores, (rows, vocabulary), as they are."""
        highest = scores.max(dim=-1).values  # NaN where any is
        self.held = self.held and bool(torch.isfinite(highest).all())
        return scores
