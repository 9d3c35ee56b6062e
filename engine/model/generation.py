"""Writing: rows in, texts out, one batch at a time, greedily, each row told the moment it ends.

:class:`LoadedModel` is :class:`engine.protocols.TextModel` over a transformers model. It knows nothing of requests,
queues or prompts' meaning; who calls ``generate`` sees to it that only one thread does.
"""

from __future__ import annotations

import copy
import gc
import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from transformers import GenerationConfig, LogitsProcessor, StoppingCriteria
from transformers.generation.streamers import BaseStreamer
from transformers.modeling_outputs import BaseModelOutput

from engine.model.allocator import give_back
from engine.model.tokens import TextWriter, Tokens
from engine.protocols import Generated, Listener, Row
from engine.requests import ModelInfo
from storage.errors import EngineError

log = logging.getLogger(__name__)

BASE = "base"
#: Prompts are read by the encoder together while the shorter is at least this part of the longest.
_NEAR = 0.85
#: Most tokens, padding included, that the encoder reads at once: what it holds meanwhile grows with them.
_READ_TOKENS = 4096
#: Prompt tokens, padding included, from which on a batch's memory is given back to the system after it.
_LARGE = 2048


class LoadedModel:
    """A model in memory, ready to write; see :class:`engine.protocols.TextModel` for the contract.

    Args:
        model: a transformers model on its device, in evaluation mode; never moved from there.
        tokens: its tokenizer.
        info: what the rest of the program may know of it.
    """

    def __init__(self, model: Any, tokens: Tokens, info: ModelInfo) -> None:
        self.info = info
        self._model = model
        self._tokens = tokens
        self._settings = greedy(model.generation_config)
        # `generate` fills what a call leaves open from the model's own settings, beams and sampling included.
        model.generation_config = self._settings
        ends = self._settings.eos_token_id
        self._ends = frozenset([ends] if isinstance(ends, int) else ends or [])
        self._pad = int(self._settings.pad_token_id)
        self._shortest = _own_minimum(self._settings, encoder_decoder=info.encoder_decoder)
        self._global_attention = "global_attention_mask" in inspect.signature(model.forward).parameters

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Length of each text in tokens, special tokens included; safe from any thread."""
        return [len(ids) for ids in self._tokens.encode(texts)]

    def render_chat(self, system: str, user: str) -> str:
        """The prompt by the model's own template; safe from any thread."""
        return self._tokens.render_chat(system, user)

    def generate(self, rows: Sequence[Row], listener: Listener) -> None:
        """Write the rows as one batch.

        Raises:
            EngineError: an adapter is asked for, a prompt is longer than the model reads, memory ran out or the
                native code failed; the model can be used again. Rows that had ended have been told so.
        """
        if not rows:
            return
        prompts = self._tokens.encode([row.prompt for row in rows])
        for row, prompt in zip(rows, prompts, strict=True):
            self._check(row, len(prompt))
        batch = _Batch(rows, [len(prompt) for prompt in prompts], self._ends, self._tokens, listener)
        try:
            with torch.inference_mode():
                arguments = self._arguments(rows, prompts, batch)
                self._model.generate(**arguments)
        except (torch.OutOfMemoryError, MemoryError) as error:
            raise self._out_of_memory(len(rows)) from error
        except RuntimeError as error:
            if "allocate memory" in str(error) or "out of memory" in str(error):
                raise self._out_of_memory(len(rows)) from error
            log.exception("generation failed")
            raise EngineError(
                "The model failed while writing.", "Try again; if it happens again, the engine's log has the reason."
            ) from error
        if self.info.device == "cpu" and len(prompts) * max(len(prompt) for prompt in prompts) >= _LARGE:
            give_back()

    def _check(self, row: Row, length: int) -> None:
        """Refuse what cannot be written; nothing is ever cut silently."""
        if row.adapter != BASE:
            raise EngineError(f"There is no adapter {row.adapter} in this engine.", "Ask for the base model.")
        answer = 0 if self.info.encoder_decoder else row.max_new_tokens
        if length + answer > self.info.context_tokens:
            raise EngineError(
                f"The prompt has {length} tokens"
                + (f" and the answer may have {answer}" if answer else "")
                + f", and the model reads {self.info.context_tokens}.",
                "Summarise a shorter stretch.",
            )
        if not 0 < row.max_new_tokens <= self.info.max_new_tokens:
            raise EngineError(
                f"An answer of {row.max_new_tokens} tokens was asked for, and the model writes 1 to"
                f" {self.info.max_new_tokens}.",
                "Ask for a shorter one.",
            )

    def _arguments(self, rows: Sequence[Row], prompts: list[list[int]], batch: _Batch) -> dict[str, Any]:
        """The call of ``generate`` for a batch; later, which adapter writes which row."""
        ids, mask = self._padded(prompts)
        arguments: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "max_new_tokens": max(row.max_new_tokens for row in rows),
            "num_beams": 1,
            "stopping_criteria": [_RowsStop(batch, ids.device)],
            "streamer": _BatchStreamer(batch),
        }
        groups = self._encoder_groups(rows, prompts)
        if len(groups) > 1:
            arguments["encoder_outputs"] = self._encoded(groups, ids, mask)
        minimum = [min(row.min_new_tokens or self._shortest, row.max_new_tokens) for row in rows]
        if any(minimum) and self._ends:
            arguments["logits_processor"] = [_NotBefore(minimum, sorted(self._ends), ids.device)]
        if self._global_attention:
            # Longformer's attention is local but for tokens named here; its summarisers were trained with the first.
            first = torch.zeros_like(mask)
            first[:, 0] = 1
            arguments["global_attention_mask"] = first
        return arguments

    def _encoder_groups(self, rows: Sequence[Row], prompts: list[list[int]]) -> list[list[int]]:
        """Rows whose prompts are read together, by length; none where one reading of all is right.

        On a CPU, reading costs by the token, padding included, and is half of the work for a large batch. A GPU reads
        one padded batch faster than several. Adapters are applied around the whole call, so only base rows are grouped.
        """
        plain = self.info.encoder_decoder and not self._global_attention and self.info.device == "cpu"
        if not plain or any(row.adapter != BASE for row in rows):
            return []
        groups: list[list[int]] = []
        for i in sorted(range(len(prompts)), key=lambda i: -len(prompts[i])):
            longest = len(prompts[groups[-1][0]]) if groups else 0
            if groups and len(prompts[i]) >= _NEAR * longest and (len(groups[-1]) + 1) * longest <= _READ_TOKENS:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _encoded(self, groups: list[list[int]], ids: torch.Tensor, mask: torch.Tensor) -> BaseModelOutput:
        """What the encoder makes of each group, put together as if read at once; padding is zero and masked."""
        encoder = self._model.get_encoder()
        whole: torch.Tensor | None = None
        for group in groups:
            longest = int(mask[group[0]].sum())
            part = encoder(input_ids=ids[group, :longest], attention_mask=mask[group, :longest])[0]
            if whole is None:
                whole = part.new_zeros(*ids.shape, part.shape[-1])
            whole[group, :longest] = part
        return BaseModelOutput(last_hidden_state=whole)

    def _padded(self, prompts: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, (rows, longest): padded on the right for an encoder, on the left where writing goes on."""
        longest = max(len(prompt) for prompt in prompts)
        ids = torch.full((len(prompts), longest), self._pad)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            place = slice(0, len(prompt)) if self.info.encoder_decoder else slice(longest - len(prompt), longest)
            ids[i, place] = torch.tensor(prompt)
            mask[i, place] = 1
        return ids.to(self._model.device), mask.to(self._model.device)

    def _out_of_memory(self, count: int) -> EngineError:
        """Let go of what the failed batch left behind; the sentence for it."""
        gc.collect()
        if self.info.device == "cuda":
            torch.cuda.empty_cache()
        prompts = "this prompt" if count == 1 else f"{count} prompts at once"
        return EngineError(
            f"The model ran out of memory on {prompts}.",
            "Try again with a shorter conversation, or lower ENGINE_MAX_BATCH_TOKENS.",
        )


def greedy(found: GenerationConfig) -> GenerationConfig:
    """The model's own generation settings with one way of choosing: the likeliest token, one beam.

    Lengths are left out: they come with each row.
    """
    settings = copy.deepcopy(found)
    settings.do_sample, settings.num_beams, settings.num_return_sequences = False, 1, 1
    for name in ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff"):
        setattr(settings, name, None)
    for name in ("length_penalty", "early_stopping", "max_length", "max_new_tokens"):
        setattr(settings, name, None)
    if settings.pad_token_id is None:
        ends = settings.eos_token_id
        settings.pad_token_id = (ends if isinstance(ends, int) else ends[0]) if ends else 0
    return settings


def _own_minimum(settings: GenerationConfig, *, encoder_decoder: bool) -> int:
    """The shortest answer by the model's own settings, in new tokens, taken out of them: rows may have their own.

    ``min_length`` counts the start token of a decoder; for a decoder-only model it counts the prompt and says nothing.
    """
    new = settings.min_new_tokens or 0
    if encoder_decoder and settings.min_length:
        new = max(new, settings.min_length - 1)
    settings.min_new_tokens = settings.min_length = None
    return int(new)


@dataclass(slots=True)
class _Answer:
    """One row while it is written."""

    limit: int
    prompt: int
    writer: TextWriter
    count: int = 0
    text: str = ""
    ended: bool = False


@dataclass(slots=True)
class _Batch:
    """The rows of a running batch: takes their tokens and tells the listener."""

    rows: Sequence[Row]
    lengths: Sequence[int]
    ends: frozenset[int]
    tokens: Tokens
    listener: Listener
    answers: list[_Answer] = field(init=False)

    def __post_init__(self) -> None:
        self.answers = [
            _Answer(row.max_new_tokens, length, self.tokens.writer())
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


class _RowsStop(StoppingCriteria):  # type: ignore[misc]
    """Row by row: cancelled, or as long as it may get. Asked after a token was chosen, before the streamer has it."""

    def __init__(self, batch: _Batch, device: torch.device) -> None:
        self._batch = batch
        self._step = 0
        self._done = torch.zeros(len(batch.rows), dtype=torch.bool, device=device)

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        self._step += 1
        full = [i for i, row in enumerate(self._batch.rows) if row.max_new_tokens == self._step]
        stopped = full + self._batch.cancel()
        if stopped:  # on most steps nothing is copied to the device
            self._done[stopped] = True
        return self._done


class _BatchStreamer(BaseStreamer):  # type: ignore[misc]
    """Hands on each step's tokens, (rows,); transformers' own streamers refuse more than one row."""

    def __init__(self, batch: _Batch) -> None:
        self._batch = batch
        self._prompt_seen = False

    def put(self, value: torch.Tensor) -> None:
        """The first call brings the prompt, or a decoder's start tokens; those are nobody's answer."""
        if self._prompt_seen:
            self._batch.take(value.tolist())
        self._prompt_seen = True

    def end(self) -> None:
        """Every row has been told of its own end."""


class _NotBefore(LogitsProcessor):  # type: ignore[misc]
    """No end of text before a row's own shortest length."""

    def __init__(self, minimum: Sequence[int], ends: Sequence[int], device: torch.device) -> None:
        self._minimum = torch.tensor(minimum, device=device)
        self._longest = max(minimum)
        self._ends = torch.tensor(ends, device=device)
        self._step = 0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._step < self._longest:
            early = (self._minimum > self._step).unsqueeze(1)
            scores[:, self._ends] = scores[:, self._ends].masked_fill(early, float("-inf"))
        self._step += 1
        return scores
