"""The two seams of the engine: the client protocol above it and the model protocol under it.

:class:`EngineClient` is what the command line, the bot and the console hold; it has an in-process and an HTTP
implementation, held to one contract test. :class:`TextModel` is what the summariser and the batcher need of a loaded
model; the torch code implements it and tests may use a small hand-written one. Neither knows torch or the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from engine.requests import Event, Health, ModelInfo, SummaryRequest


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt of a batch.

    Attributes:
        prompt: rendered text, chat template applied.
        max_new_tokens: longest answer, in tokens.
        min_new_tokens: shortest answer, in tokens; 0 leaves it to the model's own generation settings.
        adapter: adapter id, or ``base``.
        prompt_tokens: length of ``prompt`` in tokens, as the model's ``count_tokens`` says.
    """

    prompt: str
    max_new_tokens: int
    min_new_tokens: int = 0
    adapter: str = "base"
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """The answer to one :class:`Row`: its whole text and why it ended."""

    text: str
    input_tokens: int
    output_tokens: int
    stopped: Literal["end", "length", "cancelled"]


class Listener(Protocol):
    """Hears a batch as it is written; called on the worker's thread."""

    def cancelled(self, row: int) -> bool:
        """Whether nobody waits for this row any more; asked once a step."""
        ...

    def wrote(self, row: int, text: str) -> None:
        """The row's text so far (whole, not a delta), after a step that changed it."""
        ...

    def finished(self, row: int, generated: Generated) -> None:
        """The row has ended, perhaps long before its batch; called exactly once a row."""
        ...


class TextModel(Protocol):
    """A loaded model. ``generate`` belongs to one worker thread; ``count_tokens`` and ``render_chat`` to any."""

    info: ModelInfo

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text in tokens of the served model's own tokenizer, special tokens included."""
        ...

    def render_chat(self, system: str, user: str) -> str:
        """The prompt for a chat model, by its own template, thinking switched off where the template knows it."""
        ...

    def generate(self, rows: Sequence[Row], listener: Listener) -> None:
        """Write the rows as one batch, greedily, telling ``listener`` of every step.

        Raises:
            EngineError: out of memory or a failure in the native code, as a sentence.
        """
        ...


class EngineClient(Protocol):
    """How everything outside the engine's process asks for summaries."""

    def summarize(self, request: SummaryRequest) -> AsyncIterator[Event]:
        """Events of one summary, ending in one ``Finished``; closing the iterator cancels the request.

        Raises:
            EngineBusy: the queue is full.
            EngineUnavailable: no engine answers, or it went away.
            OptionNotHonoured: the model cannot do what an option asks for.
            InputError: nothing in the conversation can be summarised.
            EngineError: anything else, as a sentence.
        """
        ...

    async def health(self) -> Health:
        """How the engine is; never raises for an engine that is down."""
        ...

    async def close(self) -> None:
        """Let go of connections, and in-process of the model."""
        ...


ProgressListener = Callable[[int, int], None]
