"""Writing: rows in, texts out, one batch at a time, greedily, each row by its adapter and told the moment it ends.

:class:`LoadedModel` is :class:`engine.protocols.TextModel` over a transformers model. It knows nothing of requests,
queues or prompts' meaning; who calls ``generate`` sees to it that only one thread does.
"""

from __future__ import annotations

import copy
import gc
import inspect
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.modeling_outputs import BaseModelOutput

from engine.failures import ModelLost
from engine.model.adapter_files import read_checked, refusal
from engine.model.adapters import BASE, Adapters, Prepared
from engine.model.allocator import give_back
from engine.model.steps import Batch, BatchStreamer, Finite, NotBefore, RowsStop
from engine.model.tokens import Tokens
from engine.protocols import Generated, Listener, Row
from engine.requests import ModelInfo
from engine.text.prompts import PROMPT_VERSION
from storage.errors import EngineError

log = logging.getLogger(__name__)

#: Prompts are read by the encoder together while the shorter is at least this part of the longest.
_NEAR = 0.85
#: Most tokens, padding included, that the encoder reads at once: what it holds meanwhile grows with them.
_READ_TOKENS = 4096
#: Prompt tokens, padding included, from which on a batch's memory is given back to the system after it.
_LARGE = 2048
#: A new adapter has to write so many tokens of this before it serves; text of our own.
_TRIAL, _TRIAL_TOKENS = "Ana: The export failed at 14:30. Tomas: I will look at it before lunch.", 8


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
        self._adapters = Adapters(model)
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

    @cached_property
    def tokenizer_sha256(self) -> str:
        """See :meth:`engine.model.tokens.Tokens.sha256`; safe from any thread."""
        return self._tokens.sha256()

    # Adapters ------------------------------------------------------------------------------------------------------

    @property
    def attached(self) -> tuple[str, ...]:
        """Ids of the attached adapters."""
        return self._adapters.attached

    def prepare(self, directory: Path) -> Prepared:
        """Read an adapter and check that it fits this model; safe from any thread, and the model is not touched.

        Raises:
            AdapterError: anything is off; the sentence says what.
        """
        checked = read_checked(
            directory, info=self.info, tokenizer_sha256=self.tokenizer_sha256, prompt_version=PROMPT_VERSION
        )
        return self._adapters.prepare(checked)

    def attach(self, prepared: Prepared) -> None:
        """Attach an adapter and have it write a few tokens beside the base before it may serve.

        Raises:
            AdapterError: it could not be attached, or what it writes is no text; the model is as it was.
            ModelLost: the model is not as it was.
        """
        if prepared.id in self.attached:
            return
        self._adapters.attach(prepared)
        try:
            self._try(prepared.id)
        except BaseException:
            self._adapters.detach(prepared.id)
            raise

    def detach(self, name: str) -> None:
        """Take an adapter off; harmless when repeated.

        Raises:
            ModelLost: the model is not as it should be afterwards.
        """
        self._adapters.detach(name)

    def _try(self, name: str) -> None:
        tokens = min(_TRIAL_TOKENS, self.info.max_new_tokens)
        finite = Finite()
        try:
            rows = [Row(_TRIAL, tokens, tokens, adapter) for adapter in (name, BASE)]
            self._write(rows, _Nobody(), finite)
        except ModelLost:
            raise
        except EngineError as error:
            raise refusal(name, "the model failed when it was to write a few words with it") from error
        if not finite.held:
            raise refusal(name, "what the model writes with it is not text (its scores are not finite)")

    def unload(self) -> None:
        """Let go of the weights and give their memory back; tokens can still be counted, and nothing be written."""
        self._adapters = self._model = None  # type: ignore[assignment]
        gc.collect()
        if self.info.device == "cuda":
            torch.cuda.empty_cache()
        give_back()

    # Writing -------------------------------------------------------------------------------------------------------

    def generate(self, rows: Sequence[Row], listener: Listener) -> None:
        """Write the rows as one batch, each by its own adapter.

        Raises:
            EngineError: an adapter is asked for that is not attached, a prompt is longer than the model reads, memory
                ran out or the native code failed; the model can be used again. Rows that had ended have been told so.
            ModelLost: something of this batch was left in the model and could not be removed.
        """
        self._write(rows, listener)

    def _write(self, rows: Sequence[Row], listener: Listener, finite: Finite | None = None) -> None:
        if not rows:
            return
        if self._model is None:
            raise EngineError("The engine has let go of its model.", "Try again in a minute.")
        prompts = self._tokens.encode([row.prompt for row in rows])
        for row, prompt in zip(rows, prompts, strict=True):
            self._check(row, len(prompt))
        batch = Batch(rows, [len(prompt) for prompt in prompts], self._ends, self._tokens, listener)
        try:
            with torch.inference_mode():
                arguments = self._arguments(rows, prompts, batch)
                if finite is not None:
                    arguments.setdefault("logits_processor", []).insert(0, finite)
                self._adapters.generate([row.adapter for row in rows], arguments)
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
        if row.adapter != BASE and row.adapter not in self.attached:
            raise EngineError(f"There is no adapter {row.adapter[:80]} in this engine.", "Ask for the base model.")
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

    def _arguments(self, rows: Sequence[Row], prompts: list[list[int]], batch: Batch) -> dict[str, Any]:
        """The call of ``generate`` for a batch."""
        ids, mask = self._padded(prompts)
        arguments: dict[str, Any] = {
            "input_ids": ids,
            "attention_mask": mask,
            "max_new_tokens": max(row.max_new_tokens for row in rows),
            "num_beams": 1,
            "stopping_criteria": [RowsStop(batch, ids.device)],
            "streamer": BatchStreamer(batch),
        }
        groups = self._encoder_groups(prompts)
        if len(groups) > 1:
            arguments["encoder_outputs"] = self._encoded(groups, [row.adapter for row in rows], ids, mask)
        minimum = [min(row.min_new_tokens or self._shortest, row.max_new_tokens) for row in rows]
        if any(minimum) and self._ends:
            arguments["logits_processor"] = [NotBefore(minimum, sorted(self._ends), ids.device)]
        if self._global_attention:
            # Longformer's attention is local but for tokens named here; its summarisers were trained with the first.
            first = torch.zeros_like(mask)
            first[:, 0] = 1
            arguments["global_attention_mask"] = first
        return arguments

    def _encoder_groups(self, prompts: list[list[int]]) -> list[list[int]]:
        """Rows whose prompts are read together, by length; none where one reading of all is right.

        On a CPU, reading costs by the token, padding included, and is half of the work for a large batch. A GPU reads
        one padded batch faster than several.
        """
        if not self.info.encoder_decoder or self._global_attention or self.info.device != "cpu":
            return []
        groups: list[list[int]] = []
        for i in sorted(range(len(prompts)), key=lambda i: -len(prompts[i])):
            longest = len(prompts[groups[-1][0]]) if groups else 0
            if groups and len(prompts[i]) >= _NEAR * longest and (len(groups[-1]) + 1) * longest <= _READ_TOKENS:
                groups[-1].append(i)
            else:
                groups.append([i])
        return groups

    def _encoded(
        self, groups: list[list[int]], adapters: Sequence[str], ids: torch.Tensor, mask: torch.Tensor
    ) -> BaseModelOutput:
        """What the encoder makes of each group, put together as if read at once; padding is zero and masked.

        Rows of one group may be of several adapters; each is read by its own.
        """
        encoder = self._model.get_encoder()
        whole: torch.Tensor | None = None
        for group in groups:
            longest = int(mask[group[0]].sum())
            with self._adapters.routed([adapters[row] for row in group]):
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


class _Nobody:
    """A listener for a batch that nobody waits for."""

    def cancelled(self, row: int) -> bool:
        """Never."""
        return False

    def wrote(self, row: int, text: str) -> None:
        """Forgotten."""

    def finished(self, row: int, generated: Generated) -> None:
        """Forgotten."""


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
