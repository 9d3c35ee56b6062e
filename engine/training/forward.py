"""The loss of one forward pass: nats over the target tokens alone, summed; the caller divides.

Encoder-decoder models shift the labels themselves into what their decoder reads. Decoder-only models are asked for the
scores at the places of the answers only: over a large vocabulary those of the prompt would take more memory than all
the rest.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn

from engine.training.batches import IGNORED, Batch


class Forward:
    """Computes losses with one model.

    Args:
        model: peft's, over a transformers model.
        encoder_decoder: whether it has an encoder.
        pad: token id for padding.
        device: where it is, ``cpu`` or ``cuda``.
        low_precision: compute in bfloat16.
    """

    def __init__(self, model: Any, *, encoder_decoder: bool, pad: int, device: str, low_precision: bool) -> None:
        self.encoder_decoder = encoder_decoder
        self.pad = pad
        self.device = device
        self._low_precision = low_precision
        self._model = model
        self._inner = model.get_base_model()
        takes = inspect.signature(self._inner.forward).parameters
        self._keeps = "logits_to_keep" in takes
        self._global_attention = "global_attention_mask" in takes

    def __call__(self, batch: Batch) -> torch.Tensor:
        """Summed cross-entropy over the labels that are to be learned, in nats; a scalar in fp32."""
        logits, labels = self._scores(batch)
        wanted = labels != IGNORED
        return nn.functional.cross_entropy(logits[wanted].float(), labels[wanted], reduction="sum")

    def _scores(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (rows, places, vocabulary) and the labels of those places."""
        with torch.autocast(self.device, torch.bfloat16, enabled=self._low_precision):
            return self._both(batch) if self.encoder_decoder else self._one(batch)

    def _both(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        more: dict[str, Any] = {}
        if self._global_attention:
            # As when it writes; see engine.model.generation.
            more["global_attention_mask"] = torch.zeros_like(batch.attention_mask)
            more["global_attention_mask"][:, 0] = 1
        out = self._model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            decoder_input_ids=self._inner.prepare_decoder_input_ids_from_labels(labels=batch.labels),
            use_cache=False,
            **more,
        )
        return out.logits, batch.labels

    def _one(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores and labels of the stretch that holds all answers; each score is for the token after its place."""
        places = (batch.labels != IGNORED).any(dim=0).nonzero()
        first, last = int(places[0]), int(places[-1])
        kept = torch.arange(first - 1, last, device=batch.labels.device)
        more = {"logits_to_keep": kept} if self._keeps else {}
        out = self._model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False, **more)
        logits = out.logits if self._keeps else out.logits[:, kept]
        return logits, batch.labels[:, first : last + 1]

    @torch.no_grad()
    def begins_answers(self, batch: Batch, token: int) -> bool:
        """Whether the model would begin most answers with this token; encoder-decoder only."""
        self._model.eval()
        try:
            logits, _ = self._scores(batch)
        finally:
            self._model.train()
        return bool((logits[:, 0].argmax(-1) == token).float().mean() > 0.5)
