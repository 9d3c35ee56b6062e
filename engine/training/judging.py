"""What a fine-tune's validation slice is for: the model writes summaries of it, and they are held against people's.

The validation loss says how far the model writes as people do, not whether it says what they say: it falls on while
content is lost (figures in docs/log.md). The score is the mean of ROUGE-L and content F1, in points. Knows the model
and examples; nothing of steps.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

import torch

from engine.model.allocator import give_back
from engine.model.generation import greedy
from engine.model.tokens import Tokens
from engine.requests import ModelInfo
from engine.scoring.metrics import content_f1, house_stems, rouge
from engine.training.examples import Example

#: Examples that are written of at once, and how much longer than the longest of people's an answer may get.
_TOGETHER, _LONGER = 16, 1.25


class Judge:
    """Scores what a model writes of some examples.

    Args:
        model: peft's, over a transformers model.
        generation: the base's own settings of generation.
        tokens: its tokenizer.
        info: the base.
        examples: to write of; the best of their references counts.
        style: summaries whose commonest words are the house style.
        low_precision: compute in bfloat16.
    """

    def __init__(
        self,
        model: Any,
        generation: Any,
        tokens: Tokens,
        info: ModelInfo,
        *,
        examples: Sequence[Example],
        style: Sequence[str],
        low_precision: bool,
    ) -> None:
        self._model = model
        self._settings = greedy(generation)
        # `generate` fills what a call leaves open from the model's own settings.
        model.generation_config = model.get_base_model().generation_config = self._settings
        self._tokens = tokens
        self._info = info
        self._examples = sorted(examples, key=lambda example: -len(example.source))
        self._house = house_stems(style)
        self._low_precision = low_precision
        longest = max((len(example.target) for example in examples), default=1)
        self._limit = min(info.max_new_tokens, int(_LONGER * longest) + 1)
        ends = self._settings.eos_token_id
        self._ends = {ends} if isinstance(ends, int) else set(ends or ())
        self._global_attention = "global_attention_mask" in inspect.signature(model.get_base_model().forward).parameters

    def scores(self) -> Iterator[float]:
        """The score of each example, 0 to 100, in batches: whoever stops taking them stops the writing."""
        for at in range(0, len(self._examples), _TOGETHER):
            part = self._examples[at : at + _TOGETHER]
            for example, text in zip(part, self._written(part), strict=True):
                people = example.references or (example.answer,)
                yield fmean((rouge(text, people)["rougeL"], content_f1(text, people, self._house)))

    def _written(self, part: Sequence[Example]) -> list[str]:
        """The model's answers, greedily."""
        ids, mask = self._padded(part)
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self._global_attention:
            arguments["global_attention_mask"] = torch.zeros_like(mask)
            arguments["global_attention_mask"][:, 0] = 1
        with torch.no_grad(), torch.autocast(self._info.device, torch.bfloat16, enabled=self._low_precision):
            out = self._model.generate(**arguments, max_new_tokens=self._limit, num_beams=1, use_cache=True)
        if self._info.device == "cpu":
            give_back()
        start = 0 if self._info.encoder_decoder else ids.shape[1]
        return [self._text(row[start:].tolist()) for row in out]

    def _text(self, ids: Sequence[int]) -> str:
        writer, text = self._tokens.writer(), ""
        # The first of an encoder-decoder's is the token that its decoder starts with, which may be its end as well.
        for token in ids[1:] if self._info.encoder_decoder else ids:
            if token in self._ends:
                break
            text = writer.add(token)
        return text

    def _padded(self, part: Sequence[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask, (rows, longest): padded on the left where writing goes on behind the prompt."""
        longest = max(len(example.source) for example in part)
        ids = torch.full((len(part), longest), int(self._settings.pad_token_id))
        mask = torch.zeros((len(part), longest), dtype=torch.long)
        for row, example in enumerate(part):
            n = len(example.source)
            place = slice(0, n) if self._info.encoder_decoder else slice(longest - n, longest)
            ids[row, place] = torch.tensor(example.source)
            mask[row, place] = 1
        return ids.to(self._info.device), mask.to(self._info.device)
