"""What crosses the engine's client protocol: requests, results, events and health. Serialisable, free of torch.

A summary is asked for with a :class:`SummaryRequest` and answered with a stream of events that ends in exactly one
:class:`Finished`, or in an error from :mod:`storage.errors`. The joined text of the :class:`SentenceWritten` events is
the final summary, sentence for sentence: what was streamed is what is final.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from engine.conversation import Conversation

Style = Literal["standard", "brief", "detailed", "actions"]


@dataclass(frozen=True, slots=True)
class SummaryRequest:
    """One summary to write.

    Attributes:
        conversation: what to summarise.
        style: ``standard`` is the model's own length; ``brief`` one or two sentences; ``detailed`` goes through
            the conversation part by part; ``actions`` lists who is to do what.
        focus: a topic to concentrate on, or an empty string.
        output_language: an English language name or BCP 47 code, or an empty string for the conversation's own.
        adapter: id of the adapter to write with; None is the one in service for the conversation's scope,
            ``base`` the model without one.
        include_bots: also take messages of bots and of the system.
    """

    conversation: Conversation
    style: Style = "standard"
    focus: str = ""
    output_language: str = ""
    adapter: str | None = None
    include_bots: bool = False


@dataclass(frozen=True, slots=True)
class SummarySentence:
    """One sentence of a summary, after the output filter, tied by code to what it rests on.

    Attributes:
        text: the sentence (for ``actions``, one item).
        sources: ids of the messages it rests on, strongest first; empty when none supports it.
        supported: False marks a sentence that no message supports.
        flagged: numbers and names in it that the conversation does not contain, as written.
    """

    text: str
    sources: tuple[str, ...] = ()
    supported: bool = True
    flagged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a summary covers, so that the answer can say so.

    Attributes:
        messages: messages that went into the prompt.
        left_out: messages that did not (bots, joins, empty ones, or, with a focus, ones that are not about it).
        authors: how many people wrote the covered messages.
        first: ISO 8601 time of the first covered message, or an empty string where unknown.
        last: ISO 8601 time of the last covered message, or an empty string where unknown.
        parts: how many parts the conversation was cut into (1 when it fitted).
    """

    messages: int
    left_out: int
    authors: int
    first: str
    last: str
    parts: int


@dataclass(frozen=True, slots=True)
class SummaryResult:
    """A finished summary with the model, adapter and prompt that made it.

    Attributes:
        summary: the whole text; sentences joined as they were streamed.
        model: the model's id or directory name, with ``@`` and its revision where known.
        adapter: the adapter's id, or ``base``.
        input_tokens: tokens read by the model, over all parts and merges.
        output_tokens: tokens written by the model, over all parts and merges.
        seconds: from acceptance to the last sentence.
        demonstration: True for the starter model; every surface then says so.
        notes: one sentence each on what code did to the model's text (a repeated tail cut off, an answer that ran
            into its length limit), fit to show.
    """

    summary: str
    sentences: tuple[SummarySentence, ...]
    coverage: Coverage
    model: str
    adapter: str
    prompt_version: str
    style: Style
    focus: str
    input_tokens: int
    output_tokens: int
    seconds: float
    demonstration: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Queued:
    """Waiting; ``ahead`` requests come before this one.

    ``message`` is a sentence on what it waits for beside those, fit to show, or an empty string.
    """

    ahead: int
    event: Literal["queued"] = "queued"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` parts of the conversation have been read (the final merge counts as one)."""

    done: int
    total: int
    event: Literal["progress"] = "progress"


@dataclass(frozen=True, slots=True)
class SentenceWritten:
    """One more sentence of the final summary, already filtered."""

    sentence: SummarySentence
    event: Literal["sentence"] = "sentence"


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a summary that was written."""

    result: SummaryResult
    event: Literal["finished"] = "finished"


Event = Queued | Progress | SentenceWritten | Finished


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the rest of the program may know of a loaded model.

    Attributes:
        name: Hugging Face id or directory name as configured.
        revision: commit it is pinned to, or an empty string for a directory.
        model_type: ``model_type`` of its config (``t5``, ``bart``, ``llama``, ``qwen3`` ...).
        encoder_decoder: whether it reads with an encoder (True) or is decoder-only (False).
        chat: whether its tokenizer has a chat template.
        context_tokens: longest prompt, in tokens (decoder-only: prompt and answer together).
        max_new_tokens: longest answer, in tokens, that the model and the settings allow.
        uncased: whether its tokenizer lowercases, so that case has to be restored from the conversation.
        focus_line: whether it was trained on a first line ``Focus: ...``.
        demonstration: True for the starter model.
        device: ``cpu`` or ``cuda``.
        representation: ``nf4``, ``nf4-expanded`` or ``full``.
        fingerprint: see :func:`engine.model.checkpoint.fingerprint`; what an adapter was trained on, beside the name.
    """

    name: str
    revision: str
    model_type: str
    encoder_decoder: bool
    chat: bool
    context_tokens: int
    max_new_tokens: int
    uncased: bool = False
    focus_line: bool = False
    demonstration: bool = False
    device: str = "cpu"
    representation: str = "nf4"
    fingerprint: str = ""

    @property
    def label(self) -> str:
        """The name as results and rows carry it: ``name@revision``, or the name alone."""
        return f"{self.name}@{self.revision[:12]}" if self.revision else self.name


@dataclass(frozen=True, slots=True)
class Health:
    """How an engine is.

    Attributes:
        state: ``loading``, ``up``, ``draining`` or ``down``.
        model: the loaded model, or None while loading.
        running: requests being worked on.
        waiting: requests in the queue.
        uptime_s: seconds since the process started.
        restarts: how many times the supervisor has started it again; 0 without one.
        detail: one sentence each on anything that is not as it should be, or an empty string.
        adapters: ids of the adapters that are attached and can write at once.
        held: whether the engine has let go of its model while a fine-tune runs; requests wait.
    """

    state: Literal["loading", "up", "draining", "down"]
    model: ModelInfo | None = None
    running: int = 0
    waiting: int = 0
    uptime_s: float = 0.0
    restarts: int = 0
    detail: str = ""
    adapters: tuple[str, ...] = field(default=())
    held: bool = False
