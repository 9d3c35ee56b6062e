"""The two seams of the engine: the client protocol above it and the model protocol under it.

:class:`EngineClient` is what the command line, the bot and the console hold; it has an in-process and an HTTP
implementation, held to one contract test. :class:`TextModel` is what the summariser and the batcher need of a
loaded model; the torch code implements it and tests may use a small hand-written one. Between the two,
:class:`RowSubmitter` is how the summariser reaches the batcher. None of them knows torch or the database.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

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
    """A loaded model; what writes or changes it belongs to one worker thread, the rest to any."""

    info: ModelInfo

    @property
    def attached(self) -> tuple[str, ...]:
        """Ids of the adapters that rows may name."""
        ...

    def prepare(self, directory: Path) -> Any:
        """Read an adapter and check that it fits; what :meth:`attach` takes. From any thread.

        Raises:
            AdapterError: anything is off; the sentence says what.
        """
        ...

    def attach(self, prepared: Any) -> None:
        """Attach an adapter, after it has written a few tokens; harmless when repeated. The worker's thread.

        Raises:
            AdapterError: it may not serve; the model is as it was.
        """
        ...

    def detach(self, name: str) -> None:
        """Take an adapter off; harmless when repeated. The worker's thread."""
        ...

    def unload(self) -> None:
        """Let go of the weights; tokens can still be counted. The worker's thread."""
        ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text in tokens of the served model's own tokenizer, special tokens included."""
        ...

    def render_chat(self, system: str, user: str) -> str:
        """The prompt for a chat model by its own template, thinking switched off where it knows of it."""
        ...

    def generate(self, rows: Sequence[Row], listener: Listener) -> None:
        """Write the rows as one batch, greedily, telling ``listener`` of every step.

        Raises:
            EngineError: out of memory or a failure in the native code, as a sentence.
        """
        ...


class RowHandle(Protocol):
    """One submitted row as the event loop sees it; belongs to the loop that submitted it.

    Attributes:
        ahead: unfinished requests that came before this row's when it was submitted; 0 when it runs at once.
    """

    ahead: int

    def texts(self) -> AsyncIterator[str]:
        """The row's text so far (whole, not a delta) each time it has grown; steps may be skipped.

        Ends when the row has ended, also by an error or a cancellation, and raises nothing itself. Iterated at
        most once; a row that nobody iterates costs nothing more.
        """
        ...

    async def result(self) -> Generated:
        """Wait until the row has ended, and its answer; may be awaited without iterating, and more than once.

        A cancelled row answers ``stopped="cancelled"`` with what it had written.

        Raises:
            EngineError: the batch failed, or the engine is going down; as a sentence.
        """
        ...

    def cancel(self) -> None:
        """Nobody waits for this row any more: it leaves the queue or its batch. Harmless on an ended one."""
        ...


class RowSubmitter(Protocol):
    """Where the summariser hands its prompts in: a bounded queue in front of the model's worker."""

    async def submit(self, rows: Sequence[Row], request_key: str) -> Sequence[RowHandle]:
        """Queue the rows together, one handle each in their order; returns once queued, not once they ran.

        ``request_key`` names the request that they belong to: a request counts once in the queue however many
        rows it submits, and the later rows of one that was admitted (its merges) are never refused as busy.

        Raises:
            EngineBusy: the queue is full and the key is new.
            EngineError: the engine is draining or down.
        """
        ...


@dataclass(frozen=True, slots=True)
class ServingTable:
    """Which adapter serves which scope, and which may be asked for by id.

    Attributes:
        active: adapter id by scope (see :mod:`engine.scopes`); a scope without one is served by the next wider.
        available: directory by adapter id: the active ones, the candidates, and those taken out that are still there.
        before: by scope the adapters that stand in, in this order, where its active one is refused: those that served
            it before, as far as they may serve again. After them it is the next wider scope's turn.
    """

    active: Mapping[str, str] = field(default_factory=dict)
    available: Mapping[str, str] = field(default_factory=dict)
    before: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def serving(self, scope: str) -> tuple[str, ...]:
        """What may serve a scope itself, in the order in which it is tried; nothing where none is active."""
        active = self.active.get(scope)
        return () if active is None else (active, *self.before.get(scope, ()))


class AdapterSource(Protocol):
    """Where an engine learns what to serve; :mod:`engine.learning.registry` reads it from the database."""

    def serving(self) -> ServingTable:
        """The table as it is now; called about once a second, from a thread.

        Raises:
            StorageError: it cannot be read; whoever asked goes on with the last one.
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
